/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include <pthread.h>

#include "vmm/layout.h"
#include "vmm/machine.h"

/*
 * A machine without processors, for tests of devices: real RAM and buses, and an engine
 * that writes down what it is asked. The test plays the guest.
 */
#define FAKE_MSIS     4096u
#define FAKE_NOTIFIES 64u

struct fake_msi {
	uint64_t address;
	uint32_t data;
};

struct machine {
	uv_loop_t loop;
	pthread_mutex_t lock;
	bool locked; /* to catch calls without the lock */
	struct ram *ram;
	struct bus *ports, *memory;
	struct engine engine;
	struct device *devices;
	unsigned idle; /* calls of machine_device_idle() */
	bool refuse_notify;
	uint64_t lines; /* a bit a line: its level */
	unsigned raised[64]; /* how often each has come up */
	unsigned n_places;
	bool refuse_place;
	struct fake_msi msis[FAKE_MSIS];
	unsigned n_msis; /* counts on when the list is full */
	struct {
		uint64_t gpa;
		int64_t value;
		int fd;
	} notifies[FAKE_NOTIFIES];
	unsigned n_notifies;
	unsigned notified; /* guest writes the engine turned into events */
};

/* Of ENGINE_PV if FAKE_MACHINE=pv is in the environment. */
struct machine *fake_new(uint64_t ram_size);
/* In any case. */
struct machine *fake_new_pv(uint64_t ram_size);
/* Destroys devices, last first, and fails the process when a handle stays open. */
void fake_free(struct machine *machine);

/* One turn of the loop; waits at most WAIT_MS for something to happen. */
void fake_turn(struct machine *machine, unsigned wait_ms);
/* Turns until DONE says so or two seconds have passed; whether it did. */
bool fake_until(struct machine *machine, bool (*done)(void *context), void *context);

/* The guest's accesses. */
uint64_t fake_read(struct machine *machine, uint64_t gpa, unsigned len);
void fake_write(struct machine *machine, uint64_t gpa, uint64_t value, unsigned len);
uint64_t fake_in(struct machine *machine, uint16_t port, unsigned len);
void fake_out(struct machine *machine, uint16_t port, uint64_t value, unsigned len);

struct device *fake_device(struct machine *machine, const char *name);
void fake_reset(struct machine *machine);
void fake_quiesce(struct machine *machine, struct device *device);
void fake_resume(struct machine *machine, struct device *device);
/* Saves FROM and loads the bytes into TO. */
int fake_move(struct device *from, struct device *to, struct error *err);

/* Whether the page of GPA (below 3 GiB) has been marked since ram_track(). Clears all. */
bool fake_dirty(struct machine *machine, uint64_t gpa);

#endif
