/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

#define ASK_MS 5000 /* the zygote is ours; only a host in trouble takes long */
#define END_MS 5000

/* ---- in the child ---- */

/*
 * The kernel writes to it whenever the thread has been preempted, and ends the process if it
 * cannot. Which length libc registered is not to be had in all versions.
 */
static int leave_rseq(void)
{
#if __has_include(<sys/rseq.h>)
	extern const ptrdiff_t __rseq_offset __attribute__((weak));
	extern const unsigned int __rseq_size __attribute__((weak));
	static const unsigned flag_unregister = 1, signature = 0x53053053;
	char *area;

	if (!&__rseq_offset || !&__rseq_size || !__rseq_size)
		return 0;
	area = (char *)__builtin_thread_pointer() + __rseq_offset;
	for (unsigned len = 256; len; len -= 4)
		if (!syscall(SYS_rseq, area, len, flag_unregister, signature))
			return 0;
	return -EBUSY;
#else
	return 0;
#endif
}

/* In high places first, so that none overwrites another that is still to be moved. */
static int set_descriptors(const int *fds)
{
	int moved[4];

	for (int i = 0; i < 4; i++) {
		moved[i] = fcntl(fds[i], F_DUPFD, 64);
		if (moved[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 4; i++)
		if (dup2(moved[i], PV_FD_SOCKET + i) < 0)
			return -errno;
	close(0);
	close(1);
	close(2);
	return syscall(SYS_close_range, PV_FD_SHIM + 1, ~0u, 0) < 0 ? -errno : 0;
}

static int drop_rights(pid_t monitor)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {0};
	const struct rlimit no_core = {0, 0};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != monitor)
		return -ESRCH;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/*
	 * A terminal's signals are the monitor's. But no session of its own: its scheduling
	 * group (autogroup) makes each switch between it and the monitor a quarter dearer.
	 * No personality under which reading means executing.
	 */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setpgid(0, 0) < 0 ||
	    syscall(SYS_capset, &header, none) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0 ||
	    personality(0) < 0)
		return -errno;
	/* Domains open their own pagemap; what is the monitor's must not hinder it. */
	return prctl(PR_SET_DUMPABLE, 1) < 0 ? -errno : 0;
}

/* The monitor's handlers will not be there. */
static void default_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	for (int signal = 1; signal < 65; signal++)
		sigaction(signal, &action, NULL);
}

static void become_zygote(const int *fds, pid_t monitor)
{
	long code, stack;

	default_signals();
	if (drop_rights(monitor) < 0 || set_descriptors(fds) < 0 || leave_rseq() < 0)
		return;
	syscall(SYS_set_robust_list, NULL, 3 * sizeof(void *));
	syscall(SYS_set_tid_address, NULL);
	prctl(PR_SET_NAME, "segue-pv");
	/*
	 * Over what a sanitizer may have there, and not by its library: all else goes in a
	 * moment anyhow.
	 */
	code = syscall(SYS_mmap, PV_SHIM, PV_SHIM_MAX, PROT_READ | PROT_EXEC,
		       MAP_SHARED | MAP_FIXED, PV_FD_SHIM, 0);
	stack = syscall(SYS_mmap, PV_STACK, PV_STACK_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (code != PV_SHIM || stack != PV_STACK)
		return;
	__asm__ volatile("mov %0, %%rsp\n\tjmp *%1"
			 :
			 : "r"(stack + PV_STACK_SIZE), "r"(pv_shim_address(shim_zygote_entry))
			 : "memory");
	__builtin_unreachable();
}

/* ---- in the monitor ---- */

/* A copy that nobody can change. */
static int make_shim(struct error *err)
{
	size_t len = (size_t)(__stop_pvshim - __start_pvshim);
	int fd = memfd_create("segue-pv-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return error_system(err, -errno, "pv: memfd");
	if (pv_shim_address(shim_gate) != SEGUE_PV_GATE || len > PV_SHIM_MAX || ftruncate(fd, PV_SHIM_MAX) < 0 ||
	    write(fd, __start_pvshim, len) != (ssize_t)len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) {
		close(fd);
		return error_set(err, -EIO, "pv: cannot make the shim");
	}
	return fd;
}

static int fork_zygote(struct pv_host *host, const int *fds, struct error *err)
{
	pid_t monitor = getpid();

	/* Not by libc: nobody's atfork handlers, which may leave threads in what must be empty.
	 */
	host->zygote = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (host->zygote < 0)
		return error_system(err, -errno, "pv: cannot fork");
	if (!host->zygote) {
		become_zygote(fds, monitor);
		_exit(1);
	}
	return 0;
}

int pv_zygote_start(struct pv_host *host, int ram_fd, struct error *err)
{
	const struct timeval limit = {.tv_sec = ASK_MS / 1000};
	int pair[2], shim = make_shim(err), r;

	if (shim < 0)
		return shim;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		r = error_system(err, -errno, "pv: socket pair");
	} else {
		host->socket = pair[0];
		setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		r = fork_zygote(host, (int[]){pair[1], ram_fd, host->areas_fd, shim}, err);
		close(pair[1]);
	}
	close(shim);
	return r;
}

/* Every process of ours has the socket's other end open. */
static void await_last(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t end = pv_now_ms() + END_MS, now;
	uint8_t byte;

	while ((now = pv_now_ms()) < end) {
		if (poll(&poll_fd, 1, (int)(end - now)) <= 0)
			continue;
		if (poll_fd.revents & (POLLHUP | POLLERR) ||
		    recv(fd, &byte, 1, MSG_DONTWAIT) <= 0)
			return;
	}
}

/* By its descriptor: a sandbox lets the monitor signal nothing that it has only the id of. */
static void end_process(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		kill(pid, SIGKILL);
	if (pidfd >= 0)
		close(pidfd);
}

void pv_zygote_end(struct pv_host *host)
{
	if (host->zygote > 0) {
		end_process(host->zygote);
		while (waitpid(host->zygote, NULL, 0) < 0 && errno == EINTR)
			;
		await_last(host->socket);
	}
	if (host->socket >= 0)
		close(host->socket);
}

static void take_descriptors(struct msghdr *message, int *ret_fds)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t n;

	for (size_t i = 0; i < 4; i++)
		ret_fds[i] = -1;
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return;
	n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(ret_fds, CMSG_DATA(header), (n < 4 ? n : 4) * sizeof(int));
}

static void close_all(int *fds)
{
	for (size_t i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static int hear(struct pv_host *host, struct pv_zygote_reply *reply, int *ret_fds)
{
	struct iovec data = {reply, sizeof(*reply)};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr message = {
	    .msg_iov = &data,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(host->socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -EIO;
	if (n != sizeof(*reply))
		return -EIO;
	take_descriptors(&message, ret_fds);
	if (reply->error)
		return reply->error;
	/* Short of descriptors: the kernel drops those that it has no room for. */
	return message.msg_flags & MSG_CTRUNC ? -EMFILE : 0;
}

int pv_zygote_ask(struct pv_host *host, uint64_t orders, bool kernel, int *ret_fds,
		  struct error *err)
{
	const struct pv_zygote_request request = {
	    .orders = orders,
	    .tracking = host->tracking,
	    .kernel = kernel,
	};
	struct pv_zygote_reply reply = {.orders = ~0ull};
	int r = 0;

	for (size_t i = 0; i < 4; i++)
		ret_fds[i] = -1;
	if (send(host->socket, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		return error_system(err, -EIO, "pv: the process that makes domains is gone");
	for (;;) {
		r = hear(host, &reply, ret_fds);
		if (r == -ETIMEDOUT || r == -EIO || reply.orders == orders)
			break;
		close_all(ret_fds); /* the answer to one that took too long */
	}
	if (!r && (ret_fds[0] < 0 || ret_fds[1] < 0 || (host->tracking && ret_fds[3] < 0)))
		r = -EMFILE;
	if (!r)
		return 0;
	close_all(ret_fds);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EAGAIN)
		r = -EAGAIN;
	return error_system(err, r, "pv: cannot make a domain");
}
