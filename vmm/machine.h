/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "guest/abi.h"
#include "proto/error.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/engine/engine.h"
#include "vmm/ram.h"

/*
 * One guest's machine: memory, vCPU threads, buses, devices.
 *
 * Threads. The loop thread builds the machine, runs device back ends and every change of
 * run state. vCPU threads run the guest and emulate register accesses. The machine lock
 * is held around device code by either; it is never held while waiting for a vCPU.
 */
struct machine;
struct balloon;
struct console;

enum machine_event {
	MACHINE_POWERED_OFF, /* the guest shut itself down */
	MACHINE_REBOOTED,    /* it was reset and runs again from its boot entry */
	MACHINE_PANICKED,    /* its kernel reported a panic; TEXT says what it told */
	MACHINE_FAILED,      /* a vCPU cannot go on; TEXT says why */
};

struct machine_observer {
	/* Loop thread, machine lock not held. */
	void (*event)(void *context, enum machine_event event, const char *text);
	void *context;
};

/* Builds everything a guest needs, opening what it names; nothing runs. Loop thread. */
int machine_create(uv_loop_t *loop, const Segue__Guest *guest,
		   const struct machine_observer *observer, struct machine **ret_machine,
		   struct error *err);
/* Stops vCPU threads and closes all handles; DONE comes when the last is closed. */
void machine_destroy(struct machine *machine, void (*done)(void *context), void *context);

/* Loads the kernel and puts every part into power-on state. vCPUs parked. */
int machine_boot(struct machine *machine, struct error *err);

/*
 * Run state. Loop thread; pausing is asynchronous: DONE comes on the loop thread when every
 * vCPU is parked, every device quiet and the clocks frozen. resume lets the clocks go on as
 * if ELAPSED_NS had passed since the freeze.
 */
void machine_pause(struct machine *machine, void (*done)(void *context), void *context);
int machine_resume(struct machine *machine, uint64_t elapsed_ns, struct error *err);
bool machine_running(const struct machine *machine);
/* CLOCK_MONOTONIC, ns, when the last vCPU was parked; 0 while running. */
uint64_t machine_paused_at(const struct machine *machine);

/* Everything but RAM. Paused. */
int machine_save(struct machine *machine, struct buffer *state, struct error *err);
int machine_load(struct machine *machine, const uint8_t *state, size_t len, struct error *err);
int machine_contract(struct machine *machine, struct buffer *contract);
int machine_accept(struct machine *machine, const uint8_t *contract, size_t len,
		   struct error *err);
/*
 * What came from outside for a guest that has gone from here, and the same where it runs now.
 * Nothing of it is needed.
 */
int machine_late_save(struct machine *machine, struct buffer *late);
void machine_late_load(struct machine *machine, const uint8_t *late, size_t len);
/* After a resume that followed a move: devices tell the network, several times. */
void machine_announce(struct machine *machine);

/*
 * Each vCPU that writes stands still for PERCENT of the time, 0 to 99. Any thread.
 */
void machine_throttle(struct machine *machine, unsigned percent);

void machine_power_button(struct machine *machine);
/* Any thread; asynchronous: MACHINE_REBOOTED follows, for a paused machine once it runs. */
void machine_reset(struct machine *machine);

/* What the guest's consoles say, and the balloon, if it has one; as long as the machine. */
struct console *machine_serial_console(struct machine *machine);
struct console *machine_virtio_console(struct machine *machine);
struct balloon *machine_balloon(struct machine *machine); /* NULL: none */

/* For devices. */
struct ram *machine_ram(struct machine *machine);
struct engine *machine_engine(struct machine *machine);
const char *machine_why(const struct machine *machine); /* it has that engine; for people */
struct bus *machine_ports(struct machine *machine);
struct bus *machine_memory(struct machine *machine);
uv_loop_t *machine_loop(struct machine *machine);
void machine_lock(struct machine *machine);
void machine_unlock(struct machine *machine);
void machine_add(struct machine *machine, struct device *device);
void machine_device_idle(struct machine *machine, struct device *device);
/* A device that saw the guest ask for it reports here; any thread, lock held. */
void machine_report(struct machine *machine, enum machine_event event, const char *text);
/*
 * A place on the memory bus and a line for a device that no bus places; the guest is told of
 * it when it boots. Loop thread, while the machine is built. ENGINE_PV only; -ENOSPC.
 */
int machine_place(struct machine *machine, struct segue_pv_device *ret_place);

#endif
