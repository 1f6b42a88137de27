/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vmm/engine/pv/pv.h"

/*
 * The guest's timer: one deadline in guest time. A thread sleeps in a timerfd; it is armed
 * for a deadline or earlier, never later, so that moving the deadline on, which guests do
 * all the time, costs nothing until the earlier one has passed.
 */
#define NS_PER_SEC 1000000000ull

static void arm(struct pv_timer *t, uint64_t remaining_ns)
{
	struct itimerspec spec = {
		.it_value.tv_sec = (time_t)(remaining_ns / NS_PER_SEC),
		.it_value.tv_nsec = (long)(remaining_ns % NS_PER_SEC),
	};

	timerfd_settime(t->fd, 0, &spec, NULL);
}

/* Timer lock held. Whether it is time; the deadline is then gone. */
static bool due(struct pv_engine *e)
{
	struct pv_timer *t = &e->timer;
	uint64_t now;

	if (t->deadline == PV_NEVER || e->clock.frozen)
		return false;
	now = pv_clock_now(&e->clock);
	if (now >= t->deadline) {
		t->deadline = t->armed = PV_NEVER;
		return true;
	}
	if (t->armed > t->deadline) {
		t->armed = t->deadline;
		arm(t, t->deadline - now);
	}
	return false;
}

/* Raised under the lock: once it has been taken to halt the timer, nothing is. */
void pv_timer_check(struct pv_engine *e)
{
	pthread_mutex_lock(&e->timer.lock);
	if (due(e))
		pv_raise(e, SEGUE_PV_LINE_TIMER);
	pthread_mutex_unlock(&e->timer.lock);
}

void pv_timer_set(struct pv_engine *e, uint64_t deadline)
{
	pthread_mutex_lock(&e->timer.lock);
	e->timer.deadline = deadline;
	if (pv_clock_refine(&e->clock))
		pv_clock_write(e);
	pthread_mutex_unlock(&e->timer.lock);
	pv_timer_check(e);
}

/* A limit for sleeping that can be added to any time. */
#define LONG_NS (NS_PER_SEC * 3600)

uint64_t pv_timer_until(struct pv_engine *e)
{
	uint64_t deadline, now, left = LONG_NS;

	pthread_mutex_lock(&e->timer.lock);
	deadline = e->timer.deadline;
	now = pv_clock_now(&e->clock);
	pthread_mutex_unlock(&e->timer.lock);
	if (deadline <= now)
		left = 0;
	else if (deadline - now < left)
		left = deadline - now;
	return pv_monotonic() + left;
}

static void *timer_thread(void *context)
{
	struct pv_engine *e = context;
	struct pv_timer *t = &e->timer;
	uint64_t times;
	bool quit = false;

	pthread_setname_np(pthread_self(), "timer");
	while (!quit) {
		if (read(t->fd, &times, sizeof(times)) < 0 && errno != EINTR)
			return NULL;
		pthread_mutex_lock(&t->lock);
		t->armed = PV_NEVER;
		quit = t->quit;
		pthread_mutex_unlock(&t->lock);
		pv_timer_check(e);
	}
	return NULL;
}

/* Signals for the process belong to others; the sandbox sends its own to this thread. */
int pv_timer_start(struct pv_engine *e, struct error *err)
{
	struct pv_timer *t = &e->timer;
	sigset_t set, old;
	int r;

	t->deadline = t->armed = PV_NEVER;
	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (t->fd < 0)
		return error_system(err, -errno, "the guest's timer");
	sigfillset(&set);
	sigdelset(&set, SIGRTMAX - 1);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	r = -pthread_create(&t->thread, NULL, timer_thread, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	t->started = r == 0;
	return r < 0 ? error_system(err, r, "the guest's timer") : 0;
}

void pv_timer_stop(struct pv_engine *e)
{
	struct pv_timer *t = &e->timer;

	if (t->started) {
		pthread_mutex_lock(&t->lock);
		t->quit = true;
		t->deadline = PV_NEVER;
		arm(t, 1);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->thread, NULL);
	}
	t->started = false;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}
