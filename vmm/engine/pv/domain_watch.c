/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

/*
 * The vCPU's thread waits for a context in the kernel, where it learns neither of its end nor
 * of time: that would cost a system call more on every way. This thread looks out for both.
 */
#define LOOK_MS    100
#define FROM_TIMER (~0ull)
#define FROM_WAKE  (~0ull - 1)

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pv_now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

bool pv_await_end(int pidfd, uint64_t end)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	uint64_t now;
	int n;

	do {
		now = pv_now_ms();
		n = poll(&poll_fd, 1, now < end ? (int)(end - now) : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

/* ---- what is watched ---- */

static int grow(struct pv_host *host)
{
	uint32_t room = host->watch_room ? 2 * host->watch_room : 64;
	struct pv_watched *grown = realloc(host->watched, room * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	for (uint32_t i = host->watch_room; i < room; i++)
		grown[i] = (struct pv_watched){0};
	host->watched = grown;
	host->watch_room = room;
	return 0;
}

static int add(struct pv_host *host, int pidfd, struct pv_domain *domain,
	       struct pv_context *context, uint32_t slot)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct pv_watched *watched;

	if (slot >= host->watch_room && grow(host) < 0)
		return -ENOMEM;
	watched = &host->watched[slot];
	event.data.u64 = (uint64_t)slot << 32 | ++watched->generation;
	if (epoll_ctl(host->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0)
		return -errno;
	watched->domain = domain;
	watched->context = context;
	return 0;
}

int pv_watch_add(struct pv_host *host, int pidfd, struct pv_domain *domain,
		 struct pv_context *context, uint32_t *ret_slot)
{
	uint32_t slot;
	int r;

	pthread_mutex_lock(&host->lock);
	r = pv_slots_take(&host->watch_slots, &slot);
	if (!r) {
		r = add(host, pidfd, domain, context, slot);
		if (r < 0)
			pv_slots_give(&host->watch_slots, slot);
		else
			*ret_slot = slot;
	}
	pthread_mutex_unlock(&host->lock);
	return r;
}

void pv_watch_remove(struct pv_host *host, int pidfd, uint32_t slot)
{
	pthread_mutex_lock(&host->lock);
	epoll_ctl(host->epoll, EPOLL_CTL_DEL, pidfd, NULL);
	host->watched[slot].domain = NULL;
	pv_slots_give(&host->watch_slots, slot);
	pthread_mutex_unlock(&host->lock);
}

/* ---- ends ---- */

/*
 * Until the waiting thread has seen it: a signal may come right before it starts to wait.
 * The thread needs nothing that is locked here.
 */
static void interrupt_wait(struct pv_wait *wait, struct pv_context *context)
{
	const struct timespec pause = {.tv_nsec = 200000};
	pid_t thread;

	while ((thread = atomic_load(&wait->thread)) &&
	       (!context || atomic_load(&wait->context) == context)) {
		syscall(SYS_tgkill, getpid(), thread, SIGUSR2);
		nanosleep(&pause, NULL);
	}
}

static void on_end(struct pv_host *host, uint64_t name)
{
	uint32_t slot = (uint32_t)(name >> 32);
	struct pv_watched *watched = &host->watched[slot];
	struct pv_domain *domain = watched->domain;
	int pidfd;

	if (!domain || watched->generation != (uint32_t)name)
		return; /* removed since */
	pidfd = watched->context ? watched->context->pidfd : domain->template_pidfd;
	epoll_ctl(host->epoll, EPOLL_CTL_DEL, pidfd, NULL);
	if (watched->context)
		atomic_store(&watched->context->dead, true);
	else
		atomic_store(&domain->dead, true);
	interrupt_wait(&domain->wait, watched->context);
	/* Or the kernel's own thread waits for it. */
	if (host->gatekeeper && pv_gate_inside(host->gatekeeper->domain->gate) >= 0)
		pv_context_kick(host->gatekeeper);
	if (!watched->context)
		interrupt_wait(&domain->mapper_wait, NULL);
}

/* ---- contexts that do not stop ---- */

void pv_watch_kicked(struct pv_host *host)
{
	const struct itimerspec when = {.it_value.tv_nsec = LOOK_MS * 1000000l};

	if (!atomic_exchange(&host->timer_armed, true))
		timerfd_settime(host->timer, 0, &when, NULL);
}

/* Processor time. The clock of a process: clock_getcpuclockid(3), without its system call. */
static uint64_t used_ms(pid_t pid)
{
	const unsigned scheduled = 2; /* CPUCLOCK_SCHED of Linux's posix-timers.h */

	return clock_ms((clockid_t)(~(unsigned)pid << 3 | scheduled));
}

/*
 * A context that gets a processor stops there and then, unless its guest sees to it that it
 * does not. One that gets none is innocent.
 */
static bool overdue(struct pv_context *context, uint64_t now, bool *again)
{
	uint64_t since, used;

	if (!atomic_load(&context->running) || !atomic_load(&context->kicked))
		return false;
	*again = true;
	since = atomic_load(&context->kicked_ms);
	used = used_ms(context->pid);
	if (context->seen_kick_ms != since) {
		context->seen_kick_ms = since;
		context->seen_used_ms = used;
	}
	return used > context->seen_used_ms + PV_BOUND_MS || now > since + PV_STARVED_MS;
}

static void on_timer(struct pv_host *host)
{
	uint64_t now = pv_now_ms(), times;
	bool again = false;

	if (read(host->timer, &times, sizeof(times)) < 0)
		return;
	atomic_store(&host->timer_armed, false);
	for (struct pv_domain *d = host->domains; d; d = d->next_all)
		for (struct pv_context *c = d->contexts; c; c = c->next)
			if (overdue(c, now, &again))
				pv_context_kill(c);
	if (again)
		pv_watch_kicked(host);
}

static void *watch(void *context)
{
	struct pv_host *host = context;
	struct epoll_event event;
	bool ending = false;
	int n;

	prctl(PR_SET_NAME, "pv-watch");
	while (!ending) {
		n = epoll_wait(host->epoll, &event, 1, -1);
		pthread_mutex_lock(&host->lock);
		ending = host->ending;
		if (n == 1 && event.data.u64 == FROM_TIMER)
			on_timer(host);
		else if (n == 1 && event.data.u64 != FROM_WAKE)
			on_end(host, event.data.u64);
		pthread_mutex_unlock(&host->lock);
	}
	return NULL;
}

/* ---- start and end ---- */

static int open_all(struct pv_host *host)
{
	struct epoll_event timer = {.events = EPOLLIN, .data.u64 = FROM_TIMER};
	struct epoll_event wake = {.events = EPOLLIN, .data.u64 = FROM_WAKE};

	host->epoll = epoll_create1(EPOLL_CLOEXEC);
	host->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	host->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (host->epoll < 0 || host->timer < 0 || host->wake < 0)
		return -errno;
	if (epoll_ctl(host->epoll, EPOLL_CTL_ADD, host->timer, &timer) < 0 ||
	    epoll_ctl(host->epoll, EPOLL_CTL_ADD, host->wake, &wake) < 0)
		return -errno;
	return 0;
}

static void close_all(struct pv_host *host)
{
	int *fds[] = {&host->epoll, &host->timer, &host->wake};

	for (size_t i = 0; i < 3; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	free(host->watched);
	host->watched = NULL;
	pv_slots_done(&host->watch_slots);
}

int pv_watch_start(struct pv_host *host, struct error *err)
{
	sigset_t all, old;
	int r = open_all(host);

	host->watch_slots.max = PV_DOMAINS_MAX + PV_AREAS_MAX;
	if (!r) {
		/* Signals are for other threads, but for the one by which a sandbox binds each.
		 */
		sigfillset(&all);
		sigdelset(&all, SIGRTMAX - 1);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		r = -pthread_create(&host->watcher, NULL, watch, host);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (r < 0) {
		close_all(host);
		return error_system(err, r, "pv: cannot watch domains");
	}
	return 0;
}

void pv_watch_end(struct pv_host *host)
{
	const uint64_t one = 1;

	if (host->epoll < 0)
		return;
	pthread_mutex_lock(&host->lock);
	host->ending = true;
	pthread_mutex_unlock(&host->lock);
	if (write(host->wake, &one, sizeof(one)) == sizeof(one))
		pthread_join(host->watcher, NULL);
	close_all(host);
}
