/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * Run state, moved on the loop thread only:
 *
 *   PARKED   --resume-->             GOING
 *   GOING    --pause, reset, over--> STOPPING   vCPUs kicked, devices told to be quiet
 *   STOPPING --all parked-->                    clocks frozen, unless for a reset
 *            --and all quiet-->      PARKED     waiters told
 *                           or       GOING      after a reset nobody waits behind
 *
 * A reset asked for while the guest stands still waits until it runs again, here or where
 * it has been moved to: pages already sent must not change.
 */

/* How long the loop may look for the last vCPU itself, which is faster than being woken. */
#define RUN_SPIN_NS 100000u

uint64_t machine_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void run_quiesce(struct machine *machine)
{
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next) {
		if (!d->ops->quiesce)
			continue;
		d->busy = true;
		machine->busy++;
	}
	for (struct device *d = machine->devices; d; d = d->next) {
		if (d->ops->quiesce)
			d->ops->quiesce(d);
	}
	machine_unlock(machine);
}

void machine_device_idle(struct machine *machine, struct device *device)
{
	if (!device->busy)
		return;
	device->busy = false;
	if (--machine->busy == 0)
		uv_async_send(&machine->wake);
}

static bool run_idle(struct machine *machine)
{
	bool idle;

	machine_lock(machine);
	idle = machine->busy == 0;
	machine_unlock(machine);
	return idle;
}

static void run_go(struct machine *machine)
{
	machine->state = RUN_GOING;
	machine->paused_at = 0;
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next) {
		if (d->ops->resume)
			d->ops->resume(d);
	}
	machine_unlock(machine);
	machine_vcpus_go(machine);
}

static void run_fail(struct machine *machine, const struct error *err)
{
	machine_lock(machine);
	machine_report(machine, MACHINE_FAILED, err->text);
	machine_unlock(machine);
}

/* All parked and quiet. */
static void run_reset(struct machine *machine)
{
	struct error err = {0};

	if (machine_boot(machine, &err) < 0) {
		run_fail(machine, &err);
		return;
	}
	machine_lock(machine);
	machine_report(machine, MACHINE_REBOOTED, "");
	machine_unlock(machine);
}

static void run_freeze(struct machine *machine)
{
	struct error err = {0};

	machine->frozen_late = machine_now() - machine->paused_at;
	if (machine->engine_ops->clock_freeze(machine->engine, &err) < 0)
		run_fail(machine, &err);
	machine->frozen = true;
}

static bool run_over(struct machine *machine)
{
	bool over;

	machine_lock(machine);
	over = machine->over;
	machine_unlock(machine);
	return over;
}

/* A waiter may ask for the next change of state at once; so the list is emptied first. */
static void run_tell(struct machine *machine)
{
	struct run_waiter waiters[MACHINE_WAITERS];
	unsigned n = machine->n_waiters;

	memcpy(waiters, machine->waiters, sizeof(waiters));
	machine->n_waiters = 0;
	for (unsigned i = 0; i < n; i++)
		waiters[i].done(waiters[i].context);
}

/* Every vCPU is parked, for the first time in this stop: what is it for? */
static void run_parked(struct machine *machine)
{
	if (machine->frozen || machine->resetting)
		return;
	machine->paused_at =
	    machine->parked_at > machine->stop_at ? machine->parked_at : machine->stop_at;
	if (atomic_exchange(&machine->reset_wanted, false))
		machine->resetting = true;
	else
		run_freeze(machine);
}

static void run_stop(struct machine *machine)
{
	machine->state = RUN_STOPPING;
	machine->stop_at = machine_now();
	machine_vcpus_stop(machine);
	run_quiesce(machine);
	while (!machine_vcpus_parked(machine) && machine_now() - machine->stop_at < RUN_SPIN_NS)
		sched_yield();
	if (machine_vcpus_parked(machine))
		run_parked(machine);
}

static void run_quiet(struct machine *machine)
{
	if (machine->resetting) {
		machine->resetting = false;
		run_reset(machine);
		if (!machine->n_waiters && !run_over(machine)) {
			run_go(machine);
			return;
		}
		machine->paused_at = machine_now();
		run_freeze(machine);
	}
	machine->state = RUN_PARKED;
}

/* Events come to the observer in the order of the enum; two of a kind as one. */
static void run_deliver(struct machine *machine)
{
	struct machine_note notes[MACHINE_EVENTS];

	machine_lock(machine);
	memcpy(notes, machine->notes, sizeof(notes));
	for (unsigned i = 0; i < MACHINE_EVENTS; i++)
		machine->notes[i].pending = false;
	machine_unlock(machine);
	for (unsigned i = 0; i < MACHINE_EVENTS; i++) {
		if (notes[i].pending && machine->observer.event)
			machine->observer.event(machine->observer.context,
						(enum machine_event)i, notes[i].text);
	}
}

void machine_wake(uv_async_t *wake)
{
	struct machine *machine = wake->data;

	if (machine->state == RUN_GOING &&
	    (run_over(machine) || atomic_load(&machine->reset_wanted)))
		run_stop(machine);
	if (machine->state == RUN_STOPPING && machine_vcpus_parked(machine)) {
		run_parked(machine);
		if (run_idle(machine))
			run_quiet(machine);
	}
	run_deliver(machine);
	if (machine->state == RUN_PARKED)
		run_tell(machine);
}

void machine_report(struct machine *machine, enum machine_event event, const char *text)
{
	struct machine_note *note = &machine->notes[event];

	note->pending = true;
	snprintf(note->text, sizeof(note->text), "%s", text);
	if (event == MACHINE_POWERED_OFF || event == MACHINE_FAILED)
		machine->over = true;
	uv_async_send(&machine->wake);
}

void machine_reset(struct machine *machine)
{
	atomic_store(&machine->reset_wanted, true);
	uv_async_send(&machine->wake);
}

void machine_pause(struct machine *machine, void (*done)(void *context), void *context)
{
	/* One for each part of a monitor that may want the guest to stand still. */
	assert(machine->n_waiters < MACHINE_WAITERS);
	machine->waiters[machine->n_waiters++] = (struct run_waiter){done, context};
	if (machine->state == RUN_GOING)
		run_stop(machine);
	uv_async_send(&machine->wake);
}

static int run_release(struct machine *machine, uint64_t elapsed_ns, struct error *err)
{
	uint64_t late = machine->frozen_late;
	int r;

	if (!machine->frozen)
		return 0;
	/* The clocks stood from a moment later than the vCPUs did. */
	r = machine->engine_ops->clock_release(machine->engine,
					       elapsed_ns > late ? elapsed_ns - late : 0, err);
	if (r < 0)
		return r;
	machine->frozen = false;
	return 0;
}

int machine_resume(struct machine *machine, uint64_t elapsed_ns, struct error *err)
{
	int r;

	if (machine->state != RUN_PARKED || machine->n_waiters)
		return error_set(err, -EBUSY, "the guest does not stand still");
	r = machine_vcpus_start(machine, err);
	if (r < 0)
		return r;
	r = run_release(machine, elapsed_ns, err);
	if (r < 0)
		return r;
	if (atomic_exchange(&machine->reset_wanted, false))
		run_reset(machine);
	if (!run_over(machine))
		run_go(machine);
	return 0;
}

bool machine_running(const struct machine *machine)
{
	return machine->state == RUN_GOING;
}

uint64_t machine_paused_at(const struct machine *machine)
{
	return machine->paused_at;
}
