/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/audit.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

static __thread pid_t this_thread;

/* The watcher interrupts a wait by SIGUSR2; whoever made this thread may have blocked it. */
pid_t pv_this_thread(void)
{
	sigset_t set;

	if (this_thread)
		return this_thread;
	this_thread = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return this_thread;
}

static int receive(int fd, struct seccomp_notif *notif)
{
	memset(notif, 0, sizeof(*notif));
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, notif) < 0 ? -errno : 0;
}

static int receive_until_end(struct pv_domain *domain, int fd, struct pv_wait *wait,
			     struct pv_context *context, struct seccomp_notif *ret_notif)
{
	int r;

	atomic_store_explicit(&wait->context, context, memory_order_relaxed);
	atomic_store(&wait->thread, pv_this_thread());
	do {
		if (atomic_load(&domain->dead) || (context && atomic_load(&context->dead)))
			r = -EIO;
		else
			r = receive(fd, ret_notif);
		/* ENOENT: it was interrupted before we got it, and comes again. */
	} while (r == -EINTR || r == -ENOENT);
	atomic_store_explicit(&wait->thread, 0, memory_order_release);
	return r;
}

int pv_listener_receive(struct pv_domain *domain, struct pv_context *context,
			struct seccomp_notif *ret_notif)
{
	return receive_until_end(domain, domain->listener, &domain->wait, context, ret_notif);
}

int pv_listener_receive_mapper(struct pv_domain *domain, struct seccomp_notif *ret_notif)
{
	return receive_until_end(domain, domain->mapper_listener, &domain->mapper_wait, NULL,
				 ret_notif);
}

int pv_listener_receive_within(int fd, int ms, struct seccomp_notif *ret_notif)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t end = pv_now_ms() + (uint64_t)ms, now;
	int r;

	for (;;) {
		now = pv_now_ms();
		r = poll(&poll_fd, 1, now < end ? (int)(end - now) : 0);
		if (!r)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && !(poll_fd.revents & POLLIN))
			return -EIO; /* everybody behind it has ended */
		if (r > 0) {
			r = receive(fd, ret_notif);
			if (r != -EINTR && r != -ENOENT)
				return r;
		}
	}
}

static int answer(int fd, struct seccomp_notif_resp *answer)
{
	int r;

	do
		r = ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r;
}

int pv_listener_answer(int fd, uint64_t id, int64_t value)
{
	struct seccomp_notif_resp response = {.id = id, .val = value};

	return answer(fd, &response);
}

int pv_listener_continue(int fd, uint64_t id)
{
	struct seccomp_notif_resp response = {
	    .id = id,
	    .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE,
	};

	return answer(fd, &response);
}

int pv_listener_pidfd(int fd, const struct seccomp_notif *notif, int *ret_pidfd)
{
	uint64_t id = notif->id;
	int pidfd = (int)syscall(SYS_pidfd_open, notif->pid, 0);

	if (pidfd < 0)
		return -errno;
	/* Still waiting for us: then the number was its own all the time. */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0) {
		close(pidfd);
		return -EIO;
	}
	*ret_pidfd = pidfd;
	return 0;
}

bool pv_notif_is(const struct seccomp_notif *notif, int number, const unsigned char *place)
{
	const struct seccomp_data *data = &notif->data;

	return data->nr == number && data->arch == AUDIT_ARCH_X86_64 &&
	       data->instruction_pointer == pv_shim_address(place);
}
