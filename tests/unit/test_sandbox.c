/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "vmm/sandbox.h"

static char dir[] = "/tmp/segue-sandbox-XXXXXX";
static char readable[64], outside[64];

/* What a child returns when a step went wrong: which line, as far as eight bits tell. */
#define STEP(condition)                                                                        \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,          \
				strerror(errno));                                              \
			return 1;                                                              \
		}                                                                              \
	} while (0)

static int enter(void)
{
	const char *const files[] = {readable, "/nowhere/at/all", NULL};
	struct sandbox_options options = {.state_dir = dir, .readable = files};
	struct error err = {0};

	if (sandbox_enter(&options, &err) < 0) {
		dprintf(2, "%s\n", err.text);
		return -1;
	}
	return 0;
}

/* Runs CHILD in a process of its own; its wait status. */
static int run(int (*child)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(child());
	CU_ASSERT_FATAL(pid > 0);
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	return status;
}

static void passes(int (*child)(void))
{
	int status = run(child);

	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static void dies(int (*child)(void))
{
	int status = run(child);

	CU_ASSERT(WIFSIGNALED(status));
	CU_ASSERT_EQUAL(WTERMSIG(status), SIGSYS);
}

static int files(void)
{
	char path[96], to[96];
	int fd;

	STEP(!enter());
	snprintf(path, sizeof(path), "%s/web1.journal.new", dir);
	snprintf(to, sizeof(to), "%s/web1.journal", dir);
	STEP((fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600)) >= 0);
	STEP(write(fd, "x", 1) == 1 && !fdatasync(fd) && !ftruncate(fd, 0) && !close(fd));
	STEP(!rename(path, to) && !unlink(to));
	STEP((fd = open(readable, O_RDONLY)) >= 0 && !close(fd));
	STEP((fd = open("/proc/self/statm", O_RDONLY)) >= 0 && !close(fd));
	return 0;
}

static int files_elsewhere(void)
{
	STEP(!enter());
	if (sandbox_notice() && strstr(sandbox_notice(), "no Landlock"))
		return 77;
	STEP(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
	STEP(open(outside, O_WRONLY) < 0 && errno == EACCES);
	STEP(open(readable, O_WRONLY) < 0 && errno == EACCES);
	STEP(unlink(outside) < 0 && errno == EACCES);
	STEP(open("/tmp/segue-sandbox-new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EACCES);
	return 0;
}

static void *thread_works(void *arg)
{
	*(int *)arg = 42;
	return NULL;
}

static void fs_done(uv_fs_t *request)
{
	*(ssize_t *)request->data = request->result;
}

static void timer_done(uv_timer_t *timer)
{
	++*(int *)timer->data;
	uv_close((uv_handle_t *)timer, NULL);
}

static int loop_and_threads(void)
{
	ssize_t opened = -1;
	int ticks = 0, answer = 0;
	uv_fs_t request = {.data = &opened};
	uv_timer_t timer = {.data = &ticks};
	char path[96];
	pthread_t thread;
	uv_loop_t loop;

	STEP(!uv_loop_init(&loop));
	STEP(!enter());
	snprintf(path, sizeof(path), "%s/log", dir);
	STEP(!uv_timer_init(&loop, &timer) && !uv_timer_start(&timer, timer_done, 1, 0));
	/* The pool's threads are made here, inside. */
	STEP(!uv_fs_open(&loop, &request, path, O_CREAT | O_WRONLY, 0600, fs_done));
	STEP(!uv_run(&loop, UV_RUN_DEFAULT));
	STEP(opened >= 0 && ticks == 1);
	uv_fs_req_cleanup(&request);
	STEP(!pthread_create(&thread, NULL, thread_works, &answer));
	pthread_setname_np(thread, "worker"); /* may be refused, must not kill */
	STEP(!pthread_join(thread, NULL) && answer == 42);
	STEP(!unlink(path) && !uv_loop_close(&loop));
	return 0;
}

static int tcp(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list;
	int listener, client, server;
	char byte = 0, host[64], port[16];

	STEP(!enter());
	/* Addresses in figures ask nobody. */
	STEP(!getaddrinfo("127.0.0.1", "7000", &hints, &list));
	STEP(!getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof(host), port,
			  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV));
	freeaddrinfo(list);
	STEP(!getaddrinfo("fe80::1", "7000", &hints, &list));
	freeaddrinfo(list);
	STEP((listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	STEP(!bind(listener, (struct sockaddr *)&at, len) && !listen(listener, 4));
	STEP(!getsockname(listener, (struct sockaddr *)&at, &len));
	STEP((client = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	STEP(!connect(client, (struct sockaddr *)&at, len));
	STEP((server = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0);
	STEP(send(client, "y", 1, MSG_NOSIGNAL) == 1 && recv(server, &byte, 1, 0) == 1);
	STEP(byte == 'y');
	return 0;
}

static int memory(void)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);
	char *at;

	STEP(fd >= 0 && !ftruncate(fd, 1 << 20));
	at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	STEP(at != MAP_FAILED);
	STEP(!enter());
	at[4096] = 1;
	STEP(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
	STEP(!at[4096] && !madvise(at, 4096, MADV_DONTNEED));
	STEP(lseek(fd, 0, SEEK_HOLE) >= 0);
	STEP(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return 0;
}

static int kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
	struct kvm_clock_data clock;

	if (kvm < 0)
		return 77;
	STEP((vm = ioctl(kvm, KVM_CREATE_VM, 0)) >= 0);
	STEP(!enter());
	STEP(!ioctl(vm, KVM_GET_CLOCK, &clock));
	ioctl(kvm, KVM_CREATE_VM, 0); /* not after the start */
	return 1;
}

/* A thread that is there before the sandbox is bound as well. */
static atomic_bool go;

static void *old_thread(void *arg)
{
	int *failed = arg;

	while (!go)
		usleep(1000);
	*failed = open("/etc/passwd", O_RDONLY) >= 0 &&
		  !(sandbox_notice() && strstr(sandbox_notice(), "no Landlock"));
	return NULL;
}

static int old_threads(void)
{
	int failed = 1;
	pthread_t thread;

	STEP(!pthread_create(&thread, NULL, old_thread, &failed));
	STEP(!enter());
	go = true;
	STEP(!pthread_join(thread, NULL));
	STEP(!failed);
	return 0;
}

static int capabilities(void)
{
	char status[4096];
	const char *at;
	ssize_t n;
	int fd;

	STEP(!enter());
	STEP((fd = open("/proc/self/status", O_RDONLY)) >= 0);
	STEP((n = read(fd, status, sizeof(status) - 1)) > 0);
	status[n] = '\0';
	STEP((at = strstr(status, "CapEff:")) && !strncmp(at, "CapEff:\t0000000000000000", 24));
	STEP((at = strstr(status, "CapPrm:")) && !strncmp(at, "CapPrm:\t0000000000000000", 24));
	STEP((at = strstr(status, "NoNewPrivs:")) && !strncmp(at, "NoNewPrivs:\t1", 13));
	STEP((at = strstr(status, "Seccomp:")) && !strncmp(at, "Seccomp:\t2", 10));
	return 0;
}

static int do_execve(void)
{
	char *const argv[] = {"true", NULL};

	return enter() ? 1 : execve("/bin/true", argv, argv + 1);
}

static int do_fork(void)
{
	return enter() ? 1 : fork() < 0;
}

static int do_packet(void)
{
	return enter() ? 1 : socket(AF_PACKET, SOCK_RAW, 0) < 0;
}

static int do_unix(void)
{
	return enter() ? 1 : socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int do_ptrace(void)
{
	return enter() ? 1 : ptrace(PTRACE_ATTACH, getppid(), 0, 0) < 0;
}

static int do_executable(void)
{
	return enter() ? 1
		       : mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0) == MAP_FAILED;
}

static int do_kill(void)
{
	pid_t parent = getppid();

	return enter() ? 1 : syscall(SYS_tgkill, parent, parent, 0) < 0;
}

static int do_bpf(void)
{
	return enter() ? 1 : syscall(SYS_bpf, 0, 0, 0) < 0;
}

static int logged(void)
{
	int pipe_fd[2];
	char said[128] = "";

	STEP(!pipe(pipe_fd) && dup2(pipe_fd[1], STDERR_FILENO) >= 0);
	setenv("SEGUE_SANDBOX", "log", 1);
	STEP(!enter());
	STEP(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS);
	STEP(read(pipe_fd[0], said, sizeof(said) - 1) > 0);
	STEP(!strcmp(said, "sandbox: refused socket\n"));
	return 0;
}

static void test_allowed(void)
{
	passes(files);
	passes(loop_and_threads);
	passes(tcp);
	passes(memory);
	passes(capabilities);
	passes(old_threads);
}

static void test_files(void)
{
	int status = run(files_elsewhere);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		fprintf(stderr, "(no Landlock here: not tested) ");
	else
		CU_ASSERT_EQUAL(status, 0);
}

static void test_forbidden(void)
{
	dies(do_execve);
	dies(do_fork);
	dies(do_packet);
	dies(do_unix);
	dies(do_ptrace);
	dies(do_executable);
	dies(do_kill);
	dies(do_bpf);
}

static void test_kvm(void)
{
	int status = run(kvm);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		fprintf(stderr, "(no /dev/kvm here: not tested) ");
	else
		CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void test_log(void)
{
	passes(logged);
}

int main(void)
{
	int fd;

#ifdef __SANITIZE_THREAD__
	puts("skipped: the thread sanitizer holds back the signal that binds threads, and makes "
	     "system calls of its own; the other builds run this");
	return 77;
#endif
	if (!mkdtemp(dir))
		return 1;
	snprintf(readable, sizeof(readable), "%s.readable", dir);
	snprintf(outside, sizeof(outside), "%s.outside", dir);
	fd = open(readable, O_CREAT | O_WRONLY, 0600);
	close(fd);
	fd = open(outside, O_CREAT | O_WRONLY, 0600);
	close(fd);
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("sandbox", NULL, NULL);

	CU_add_test(s, "what a monitor needs works", test_allowed);
	CU_add_test(s, "files elsewhere are out of reach", test_files);
	CU_add_test(s, "what it must not do ends it", test_forbidden);
	CU_add_test(s, "KVM's ioctls are picked", test_kvm);
	CU_add_test(s, "SEGUE_SANDBOX=log names the call", test_log);
	CU_basic_run_tests();
	unlink(readable);
	unlink(outside);
	rmdir(dir);
	return CU_get_number_of_failures() != 0;
}
