// SPDX-License-Identifier: Apache-2.0
/* Processes, threads, their memory, tracing, time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "linux_check.h"

/* ---- processes and threads ---- */

bool case_fork(void)
{
	int *private = pages(16, PROT_READ | PROT_WRITE), status;
	_Atomic int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*private = 1;
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		EXPECT(pid >= 0);
		if (!pid) {
			*private += i;
			atomic_fetch_add(shared, *private);
			_exit(i);
		}
		EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i);
		EXPECT(*private == 1);
	}
	EXPECT(*shared == 20 + 190);
	return true;
}

bool case_exec(void)
{
	char *arguments[] = {"/proc/self/exe", "--answer", NULL}, text[8] = "";
	int ends[2], status;
	pid_t pid;

	EXPECT(!pipe(ends));
	pid = vfork();
	if (!pid) {
		dup2(ends[1], 1);
		execv(arguments[0], arguments);
		_exit(1);
	}
	close(ends[1]);
	EXPECT(read(ends[0], text, sizeof(text)) == 6 && !strcmp(text, "answer"));
	EXPECT(waitpid(pid, &status, 0) == pid && !status);
	close(ends[0]);
	return true;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_over = PTHREAD_COND_INITIALIZER;
static __thread int own;
static int turn, sum;

static void *count(void *argument)
{
	int me = (int)(intptr_t)argument;

	for (own = 0; own < 200; own++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&turn_over, &mutex);
		turn = (turn + 1) % 8;
		sum += me;
		pthread_cond_broadcast(&turn_over);
		pthread_mutex_unlock(&mutex);
	}
	return (void *)(intptr_t)own;
}

bool case_threads(void)
{
	pthread_t threads[8];
	void *ret;

	turn = sum = 0;
	for (intptr_t i = 0; i < 8; i++)
		EXPECT(!pthread_create(&threads[i], NULL, count, (void *)i));
	for (int i = 0; i < 8; i++)
		EXPECT(!pthread_join(threads[i], &ret) && (intptr_t)ret == 200);
	EXPECT(sum == 200 * 28);
	return true;
}

static void *unmap_later(void *at)
{
	usleep(20000);
	munmap(at, PAGE);
	return NULL;
}

/* What one thread takes away is gone for the others. */
bool case_shared_tables(void)
{
	volatile char *p = pages(1, PROT_READ | PROT_WRITE);
	pthread_t thread;

	*p = 1;
	EXPECT(!pthread_create(&thread, NULL, unmap_later, (void *)p));
	fault_signal = 0;
	if (!sigsetjmp(fault_back, 1))
		for (;;)
			*p = 2;
	EXPECT(fault_signal == SIGSEGV);
	EXPECT(!pthread_join(thread, NULL));
	return true;
}

/* ---- memory ---- */

bool case_big_memory(void)
{
	const size_t n = 16384;
	uint64_t *p = pages(n, PROT_READ | PROT_WRITE), seed = 1;

	EXPECT((void *)p != MAP_FAILED);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[(seed >> 33) % n * (PAGE / 8)] += 1;
	}
	for (size_t i = 0; i < n; i++)
		seed += p[i * (PAGE / 8)];
	EXPECT(!madvise(p, n * PAGE, MADV_DONTNEED) && !p[0]);
	p[0] = 77;
	p = mremap(p, n * PAGE, 2 * n * PAGE, MREMAP_MAYMOVE);
	EXPECT((void *)p != MAP_FAILED && p[0] == 77);
	EXPECT(!munmap(p, 2 * n * PAGE));
	return true;
}

static int deep(int level)
{
	volatile char room[PAGE];

	room[0] = (char)level;
	return level ? deep(level - 1) + room[0] : 0;
}

bool case_stack(void)
{
	deep(1000); /* 4 MiB */
	return true;
}

/* ---- tracing ---- */

bool case_trace(void)
{
	struct user_regs_struct regs;
	int status, steps = 0;
	pid_t pid = fork();

	EXPECT(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		syscall(SYS_getppid);
		_exit(9);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	EXPECT(!ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
	for (int i = 0; i < 20; i++, steps++) {
		EXPECT(!ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
		EXPECT(waitpid(pid, &status, 0) == pid && WSTOPSIG(status) == SIGTRAP);
	}
	EXPECT(steps == 20);
	do {
		EXPECT(!ptrace(PTRACE_SYSCALL, pid, 0, 0));
		EXPECT(waitpid(pid, &status, 0) == pid && WSTOPSIG(status) == (SIGTRAP | 0x80));
		EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &regs));
	} while (regs.orig_rax != SYS_getppid);
	EXPECT(!ptrace(PTRACE_SYSCALL, pid, 0, 0) && waitpid(pid, &status, 0) == pid);
	EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &regs) && (pid_t)regs.rax == getpid());
	EXPECT(!ptrace(PTRACE_DETACH, pid, 0, 0));
	EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
	return true;
}

/* ---- time ---- */

bool case_time(void)
{
	struct timespec before, after, nap = {0, 30000000};

	for (int i = 0; i < 10; i++) {
		int64_t ns;

		clock_gettime(CLOCK_MONOTONIC, &before);
		EXPECT(!nanosleep(&nap, NULL));
		clock_gettime(CLOCK_MONOTONIC, &after);
		ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec -
		     before.tv_nsec;
		EXPECT(ns >= 30000000 && ns < 2000000000);
	}
	EXPECT(time(NULL) > 1700000000);
	return true;
}
