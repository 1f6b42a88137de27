/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.pb-c.h"
#include "vmm/machine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Every device's state is version 1. A change that an older monitor would misread, rather
 * than skip as an unknown field, needs a new number.
 */
#define STATE_VERSION 1u

/* One device's part, and the bytes its message points to. */
struct part {
	Segue__DeviceState state;
	struct buffer bytes;
};

struct parts {
	struct part *part;
	Segue__DeviceState **list;
	size_t n;
};

static size_t devices_count(const struct machine *machine)
{
	size_t n = 0;

	for (const struct device *d = machine->devices; d; d = d->next)
		n++;
	return n;
}

static void parts_done(struct parts *parts)
{
	for (size_t i = 0; parts->part && i < parts->n; i++)
		buffer_done(&parts->part[i].bytes);
	free(parts->part);
	free(parts->list);
}

static int part_save(struct part *part, struct device *device, struct error *err)
{
	int r = device->ops->save(device, &part->bytes);

	if (r < 0)
		return error_system(err, r, "%s: cannot save its state", device->name);
	segue__device_state__init(&part->state);
	part->state.name = device->name;
	part->state.version = STATE_VERSION;
	part->state.state.data = part->bytes.data;
	part->state.state.len = part->bytes.len;
	return 0;
}

static int parts_save(struct machine *machine, struct parts *parts, struct error *err)
{
	size_t i = 0;
	int r = 0;

	parts->n = devices_count(machine);
	parts->part = calloc(parts->n, sizeof(*parts->part));
	parts->list = calloc(parts->n, sizeof(*parts->list));
	if (!parts->part || !parts->list)
		return error_set(err, -ENOMEM, "no memory for the devices' state");
	machine_lock(machine);
	for (struct device *d = machine->devices; d && r == 0; d = d->next, i++) {
		parts->list[i] = &parts->part[i].state;
		r = part_save(&parts->part[i], d, err);
	}
	machine_unlock(machine);
	return r;
}

static void run_info(const struct machine *machine, Segue__RunInfo *run)
{
	segue__run_info__init(run);
	run->reset_wanted = atomic_load(&machine->reset_wanted);
	run->over = machine->over;
	run->frozen_late_ns = machine->frozen_late;
}

static int state_pack(struct machine *machine, const struct buffer *engine,
		      const struct parts *parts, struct buffer *state, struct error *err)
{
	Segue__MachineState message = SEGUE__MACHINE_STATE__INIT;
	Segue__RunInfo run;

	run_info(machine, &run);
	message.engine.data = engine->data;
	message.engine.len = engine->len;
	message.n_devices = parts->n;
	message.devices = parts->list;
	message.run = &run;
	if (buffer_pack(state, &message.base) < 0)
		return error_set(err, -ENOMEM, "no memory for the machine's state");
	return 0;
}

int machine_save(struct machine *machine, struct buffer *state, struct error *err)
{
	struct buffer engine = {0};
	struct parts parts = {0};
	int r;

	if (machine->state != RUN_PARKED)
		return error_set(err, -EBUSY, "the guest does not stand still");
	r = machine->engine_ops->save(machine->engine, &engine, err);
	if (r == 0)
		r = parts_save(machine, &parts, err);
	if (r == 0)
		r = state_pack(machine, &engine, &parts, state, err);
	parts_done(&parts);
	buffer_done(&engine);
	return r;
}

static const Segue__DeviceState *state_find(const Segue__MachineState *message,
					    const char *name, size_t *ret_count)
{
	const Segue__DeviceState *found = NULL;

	*ret_count = 0;
	for (size_t i = 0; i < message->n_devices; i++) {
		if (strcmp(message->devices[i]->name, name) != 0)
			continue;
		found = message->devices[i];
		++*ret_count;
	}
	return found;
}

static bool device_known(const struct machine *machine, const char *name)
{
	const struct device *d = machine->devices;

	while (d && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

/* Each device here has exactly one state there, of a known version, and none is left over. */
static int state_check(const struct machine *machine, const Segue__MachineState *message,
		       struct error *err)
{
	size_t count;

	for (const struct device *d = machine->devices; d; d = d->next) {
		const Segue__DeviceState *state = state_find(message, d->name, &count);

		if (count != 1)
			return error_set(err, -EPROTO, "%s: its state came %zu times", d->name,
					 count);
		if (state->version != STATE_VERSION)
			return error_set(err, -EPROTO, "%s: its state has unknown version %u",
					 d->name, state->version);
	}
	for (size_t i = 0; i < message->n_devices; i++) {
		if (!device_known(machine, message->devices[i]->name))
			return error_set(err, -EPROTO, "%.31s: there is no such device here",
					 message->devices[i]->name);
	}
	return 0;
}

static int devices_load(struct machine *machine, const Segue__MachineState *message,
			struct error *err)
{
	size_t count;
	int r = 0;

	machine_lock(machine);
	for (struct device *d = machine->devices; d && r == 0; d = d->next) {
		const Segue__DeviceState *state = state_find(message, d->name, &count);

		r = d->ops->load(d, state->state.data, state->state.len, err);
		if (r < 0) {
			error_set(err, r, "its state cannot be loaded");
			error_prefix(err, "%s", d->name);
		}
	}
	machine_unlock(machine);
	return r;
}

static void run_load(struct machine *machine, const Segue__RunInfo *run)
{
	/* Whoever loads has its clocks standing until machine_resume(). */
	machine->frozen = true;
	if (!run)
		return;
	machine->frozen_late = run->frozen_late_ns;
	atomic_store(&machine->reset_wanted, run->reset_wanted);
	if (run->over) {
		machine_lock(machine);
		machine_report(machine, MACHINE_POWERED_OFF, "");
		machine_unlock(machine);
	}
}

static int state_load(struct machine *machine, const Segue__MachineState *message,
		      struct error *err)
{
	int r = state_check(machine, message, err);

	if (r < 0)
		return r;
	r = machine_vcpus_start(machine, err);
	if (r < 0)
		return r;
	r = machine->engine_ops->load(machine->engine, message->engine.data,
				      message->engine.len, err);
	if (r < 0) {
		error_prefix(err, "engine");
		return r;
	}
	r = devices_load(machine, message, err);
	if (r < 0)
		return r;
	run_load(machine, message->run);
	return 0;
}

int machine_load(struct machine *machine, const uint8_t *state, size_t len, struct error *err)
{
	Segue__MachineState *message;
	int r;

	if (machine->state != RUN_PARKED)
		return error_set(err, -EBUSY, "the guest does not stand still");
	message = segue__machine_state__unpack(NULL, len, state);
	if (!message)
		return error_set(err, -EPROTO, "the machine's state is not a valid message");
	r = state_load(machine, message, err);
	segue__machine_state__free_unpacked(message, NULL);
	return r;
}
