/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <errno.h>
#include <time.h>

/*
 * Slows the guest's writers so that a move converges. Time is cut into periods; at the
 * start of each a thread of its own kicks every vCPU, which then stand still for their
 * share of it. A pause interrupts that at once: they wait where they would park.
 */
#define THROTTLE_PERIOD_NS 10000000ull

static struct timespec throttle_time(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
				 .tv_nsec = (long)(ns % 1000000000u)};
}

void machine_throttle_wait(struct machine *machine)
{
	pthread_mutex_lock(&machine->run_lock);
	while (!atomic_load(&machine->stop) && !machine->quit &&
	       machine_now() < machine->throttle_until) {
		struct timespec until = throttle_time(machine->throttle_until);

		pthread_cond_timedwait(&machine->run_cond, &machine->run_lock, &until);
	}
	pthread_mutex_unlock(&machine->run_lock);
}

/* Run lock held; it is given up while waiting. */
static void throttle_sleep(struct machine *machine, uint64_t until_ns)
{
	struct timespec until = throttle_time(until_ns);

	while (!machine->quit && machine_now() < until_ns)
		pthread_cond_timedwait(&machine->throttle_cond, &machine->run_lock, &until);
}

static void *throttle_thread(void *context)
{
	struct machine *machine = context;
	uint64_t begin;
	unsigned percent;

	pthread_setname_np(pthread_self(), "throttle");
	pthread_mutex_lock(&machine->run_lock);
	while (!machine->quit) {
		percent = atomic_load(&machine->throttle_percent);
		if (!percent) {
			pthread_cond_wait(&machine->throttle_cond, &machine->run_lock);
			continue;
		}
		begin = machine_now();
		machine->throttle_until = begin + THROTTLE_PERIOD_NS / 100 * percent;
		atomic_store(&machine->throttling, true);
		for (unsigned i = 0; i < machine->n_vcpus; i++)
			machine->engine_ops->vcpu_kick(machine->vcpus[i].vcpu);
		throttle_sleep(machine, begin + THROTTLE_PERIOD_NS);
	}
	pthread_mutex_unlock(&machine->run_lock);
	return NULL;
}

void machine_throttle(struct machine *machine, unsigned percent)
{
	pthread_mutex_lock(&machine->run_lock);
	atomic_store(&machine->throttle_percent, percent > 99 ? 99 : percent);
	if (!percent) {
		machine->throttle_until = 0;
		atomic_store(&machine->throttling, false);
		pthread_cond_broadcast(&machine->run_cond);
	} else if (!machine->throttle_started) {
		/* Without its thread the guest is not slowed: the move's plan will see. */
		machine->throttle_started = pthread_create(&machine->throttle_thread, NULL,
							   throttle_thread, machine) == 0;
	}
	pthread_cond_broadcast(&machine->throttle_cond);
	pthread_mutex_unlock(&machine->run_lock);
}

void machine_throttle_join(struct machine *machine)
{
	pthread_mutex_lock(&machine->run_lock);
	machine->quit = true;
	pthread_cond_broadcast(&machine->throttle_cond);
	pthread_mutex_unlock(&machine->run_lock);
	if (machine->throttle_started)
		pthread_join(machine->throttle_thread, NULL);
	machine->throttle_started = false;
}
