/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MACHINE_INTERNAL_H
#define VMM_MACHINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "vmm/boot/files.h"
#include "vmm/console.h"
#include "vmm/layout.h"
#include "vmm/machine.h"

/* What the files named machine*.c share; nobody else includes it but their test. */

#define MACHINE_CPUS    8u
#define MACHINE_EVENTS  4u /* values of enum machine_event */
#define MACHINE_WAITERS 8u
#define MACHINE_PLACES  (LAYOUT_PV_LINES - LAYOUT_PV_FIRST_LINE)

/* Where the loop thread is with the vCPUs. */
enum run_state {
	RUN_PARKED,   /* every vCPU parked, every device quiet, clocks frozen unless new */
	RUN_GOING,    /* the guest runs */
	RUN_STOPPING, /* told to park; vCPUs or devices still busy */
};

/* Someone who asked for a pause and has not been told yet. */
struct run_waiter {
	void (*done)(void *context);
	void *context;
};

/* An event that has not reached the observer yet. The same one twice is told once. */
struct machine_note {
	bool pending;
	char text[480];
};

struct machine_vcpu {
	struct machine *machine;
	struct vcpu *vcpu;
	pthread_t thread;
	bool ran;  /* its own thread: has run since it last parked */
	bool held; /* run_lock: cannot go on before a reset */
};

struct machine {
	/* Set while the machine is built, then constant. */
	uv_loop_t *loop;
	struct machine_observer observer;
	Segue__Guest *guest;
	const struct engine_ops *engine_ops;
	struct engine *engine;
	const char *why; /* this engine; for people */
	struct ram *ram;
	struct bus *ports;
	struct bus *memory;
	struct boot_files boot;
	struct device *devices;
	struct machine_vcpu *vcpus;
	unsigned n_vcpus;
	struct segue_pv_device places[MACHINE_PLACES];
	unsigned n_places;
	struct console *serial_console;
	struct console *virtio_console;
	struct balloon *balloon;
	struct ged *ged; /* NULL: a machine without ACPI */

	pthread_mutex_t lock; /* the machine lock */
	/* Under the machine lock. */
	struct machine_note notes[MACHINE_EVENTS];
	bool over;     /* powered off or failed: nothing runs again before a reset */
	unsigned busy; /* devices asked to be quiet that are not yet */

	/* The run lock orders parking; taken inside the machine lock or alone. */
	pthread_mutex_t run_lock;
	pthread_cond_t run_cond; /* stop, held, quit or throttle_until has changed */
	bool quit;
	uint64_t parked_at;      /* CLOCK_MONOTONIC ns, when the last vCPU parked */
	uint64_t throttle_until; /* CLOCK_MONOTONIC ns; vCPUs stand still until then */

	/* Any thread. */
	atomic_bool stop;
	atomic_uint parked;
	atomic_bool reset_wanted;
	atomic_uint throttle_percent;
	atomic_bool throttling; /* throttle_until is worth looking at */
	uv_async_t wake;

	/* The throttle thread; under the run lock. */
	pthread_t throttle_thread;
	pthread_cond_t throttle_cond; /* throttle_percent or quit has changed */
	bool throttle_started;

	/* Loop thread. */
	enum run_state state;
	bool threads_started;
	bool frozen;          /* the guest's clocks stand */
	bool resetting;       /* the stop under way is for a reset */
	uint64_t stop_at;     /* CLOCK_MONOTONIC ns, when the last stop was begun */
	uint64_t paused_at;   /* the same, when the last vCPU was parked; 0 while running */
	uint64_t frozen_late; /* ns from paused_at to the freeze of the clocks */
	struct run_waiter waiters[MACHINE_WAITERS];
	unsigned n_waiters;
	uv_timer_t announce_timer;
	unsigned announce_round;
	void (*destroyed)(void *context);
	void *destroyed_context;
};

/* machine.c: builds with an engine that has already been chosen and probed. */
int machine_build(uv_loop_t *loop, const Segue__Guest *guest, const struct engine_ops *engine,
		  const struct machine_observer *observer, struct machine **ret_machine,
		  struct error *err);

/* machine_devices.c: what GUEST is made of, in an order that never changes. */
int machine_devices_add(struct machine *machine, struct error *err);
void machine_devices_destroy(struct machine *machine);

/* machine_vcpu.c: threads. Idempotent; the first call is made inside the sandbox. */
int machine_vcpus_start(struct machine *machine, struct error *err);
void machine_vcpus_join(struct machine *machine);
void machine_vcpus_stop(struct machine *machine); /* tell all to park */
void machine_vcpus_go(struct machine *machine);
bool machine_vcpus_parked(struct machine *machine);

/* machine_throttle.c */
void machine_throttle_wait(struct machine *machine); /* on a vCPU's thread */
void machine_throttle_join(struct machine *machine);

/* machine_run.c: the uv_async callback, where every change of run state is carried on. */
void machine_wake(uv_async_t *wake);
uint64_t machine_now(void); /* CLOCK_MONOTONIC, ns */

#endif
