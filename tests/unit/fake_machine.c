/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ram *machine_ram(struct machine *machine)
{
	return machine->ram;
}

struct engine *machine_engine(struct machine *machine)
{
	return &machine->engine;
}

struct bus *machine_ports(struct machine *machine)
{
	return machine->ports;
}

struct bus *machine_memory(struct machine *machine)
{
	return machine->memory;
}

uv_loop_t *machine_loop(struct machine *machine)
{
	return &machine->loop;
}

void machine_lock(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	machine->locked = true;
}

void machine_unlock(struct machine *machine)
{
	machine->locked = false;
	pthread_mutex_unlock(&machine->lock);
}

void machine_add(struct machine *machine, struct device *device)
{
	struct device **at = &machine->devices;

	while (*at)
		at = &(*at)->next;
	device->next = NULL;
	*at = device;
}

void machine_device_idle(struct machine *machine, struct device *device)
{
	(void)device;
	machine->idle++;
}

int machine_place(struct machine *machine, struct segue_pv_device *ret_place)
{
	if (machine->engine.ops->platform != ENGINE_PV)
		abort();
	if (machine->refuse_place)
		return -ENODEV;
	*ret_place = (struct segue_pv_device){
	    .address = LAYOUT_PV_DEVICES + machine->n_places * LAYOUT_PV_DEVICE_SIZE,
	    .size = LAYOUT_PV_DEVICE_SIZE,
	    .line = LAYOUT_PV_FIRST_LINE + machine->n_places,
	};
	machine->n_places++;
	return 0;
}

static struct machine *of(struct engine *engine)
{
	return (struct machine *)((char *)engine - offsetof(struct machine, engine));
}

static int signal_msi(struct engine *engine, uint64_t address, uint32_t data)
{
	struct machine *machine = of(engine);

	if (machine->n_msis < FAKE_MSIS)
		machine->msis[machine->n_msis] = (struct fake_msi){address, data};
	machine->n_msis++;
	return 0;
}

static int set_irq(struct engine *engine, unsigned gsi, bool level)
{
	struct machine *machine = of(engine);

	machine->raised[gsi] += level && !(machine->lines >> gsi & 1);
	machine->lines = (machine->lines & ~(1ull << gsi)) | (uint64_t)level << gsi;
	return 0;
}

static int notify_add(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		      int eventfd)
{
	struct machine *machine = of(engine);

	if (machine->refuse_notify || (value == NOTIFY_ANY) != (len == 0))
		return -ENOSYS;
	if (machine->n_notifies == FAKE_NOTIFIES)
		return -ENOSPC;
	machine->notifies[machine->n_notifies].gpa = gpa;
	machine->notifies[machine->n_notifies].value = value;
	machine->notifies[machine->n_notifies++].fd = eventfd;
	return 0;
}

static int notify_remove(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
			 int eventfd)
{
	struct machine *machine = of(engine);

	(void)len;
	for (unsigned i = 0; i < machine->n_notifies; i++) {
		if (machine->notifies[i].gpa != gpa || machine->notifies[i].value != value ||
		    machine->notifies[i].fd != eventfd)
			continue;
		machine->notifies[i] = machine->notifies[--machine->n_notifies];
		return 0;
	}
	fprintf(stderr, "notify_remove of what was never added\n");
	abort();
}

static const struct engine_ops fake_engine = {
    .name = "fake",
    .set_irq = set_irq,
    .signal_msi = signal_msi,
    .notify_add = notify_add,
    .notify_remove = notify_remove,
};

static const struct engine_ops fake_engine_pv = {
    .name = "fake-pv",
    .platform = ENGINE_PV,
    .set_irq = set_irq,
    .notify_add = notify_add,
    .notify_remove = notify_remove,
};

struct machine *fake_new(uint64_t ram_size)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	const char *pv = getenv("FAKE_MACHINE");
	struct error err = {0};

	if (!machine || uv_loop_init(&machine->loop) < 0)
		abort();
	pthread_mutex_init(&machine->lock, NULL);
	machine->ports = bus_new();
	machine->memory = bus_new();
	machine->engine.ops = pv && !strcmp(pv, "pv") ? &fake_engine_pv : &fake_engine;
	if (!machine->ports || !machine->memory ||
	    ram_create(ram_size, &machine->ram, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return machine;
}

struct machine *fake_new_pv(uint64_t ram_size)
{
	struct machine *machine = fake_new(ram_size);

	machine->engine.ops = &fake_engine_pv;
	return machine;
}

static void destroy_devices(struct machine *machine)
{
	machine_lock(machine);
	while (machine->devices) {
		struct device **at = &machine->devices, *last;

		while ((*at)->next)
			at = &(*at)->next;
		last = *at;
		*at = NULL;
		last->ops->destroy(last);
	}
	machine_unlock(machine);
}

void fake_free(struct machine *machine)
{
	destroy_devices(machine);
	uv_run(&machine->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&machine->loop) < 0 || machine->n_notifies) {
		fprintf(stderr, "a device left handles or notifications behind\n");
		abort();
	}
	bus_free(machine->ports);
	bus_free(machine->memory);
	ram_destroy(machine->ram);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
}

void fake_turn(struct machine *machine, unsigned wait_ms)
{
	uv_timer_t timer;

	uv_timer_init(&machine->loop, &timer);
	uv_update_time(&machine->loop);
	/* Repeating: one shot could be spent before the loop waits. */
	uv_timer_start(&timer, on_timer, wait_ms, wait_ms);
	uv_run(&machine->loop, wait_ms ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&machine->loop, UV_RUN_NOWAIT);
}

bool fake_until(struct machine *machine, bool (*done)(void *context), void *context)
{
	uint64_t end = uv_hrtime() + 2000000000u;

	while (!done(context)) {
		if (uv_hrtime() > end)
			return false;
		fake_turn(machine, 10);
	}
	return true;
}

uint64_t fake_read(struct machine *machine, uint64_t gpa, unsigned len)
{
	uint64_t value = 0;

	machine_lock(machine);
	bus_read(machine->memory, gpa, (uint8_t *)&value, len);
	machine_unlock(machine);
	return value;
}

void fake_write(struct machine *machine, uint64_t gpa, uint64_t value, unsigned len)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < machine->n_notifies; i++) {
		if (machine->notifies[i].gpa != gpa ||
		    (machine->notifies[i].value != NOTIFY_ANY &&
		     machine->notifies[i].value != (int64_t)value))
			continue;
		machine->notified++;
		if (write(machine->notifies[i].fd, &one, sizeof(one)) != sizeof(one))
			abort();
		return;
	}
	machine_lock(machine);
	bus_write(machine->memory, gpa, (uint8_t *)&value, len);
	machine_unlock(machine);
}

uint64_t fake_in(struct machine *machine, uint16_t port, unsigned len)
{
	uint64_t value = 0;

	machine_lock(machine);
	bus_read(machine->ports, port, (uint8_t *)&value, len);
	machine_unlock(machine);
	return value;
}

void fake_out(struct machine *machine, uint16_t port, uint64_t value, unsigned len)
{
	machine_lock(machine);
	bus_write(machine->ports, port, (uint8_t *)&value, len);
	machine_unlock(machine);
}

struct device *fake_device(struct machine *machine, const char *name)
{
	struct device *device = machine->devices;

	while (device && strcmp(device->name, name) != 0)
		device = device->next;
	return device;
}

void fake_reset(struct machine *machine)
{
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next)
		d->ops->reset(d);
	machine_unlock(machine);
}

void fake_quiesce(struct machine *machine, struct device *device)
{
	machine_lock(machine);
	device->ops->quiesce(device);
	machine_unlock(machine);
}

void fake_resume(struct machine *machine, struct device *device)
{
	machine_lock(machine);
	device->ops->resume(device);
	machine_unlock(machine);
}

int fake_move(struct device *from, struct device *to, struct error *err)
{
	struct buffer state = {0};
	int r = from->ops->save(from, &state);

	if (r == 0)
		r = to->ops->load(to, state.data, state.len, err);
	buffer_done(&state);
	return r;
}

bool fake_dirty(struct machine *machine, uint64_t gpa)
{
	size_t words = ram_size(machine->ram) / RAM_PAGE / 64 + 1;
	uint64_t *bits = calloc(words, sizeof(*bits));
	bool dirty;

	ram_harvest(machine->ram, bits);
	dirty = bits[gpa / RAM_PAGE / 64] >> (gpa / RAM_PAGE % 64) & 1;
	free(bits);
	return dirty;
}
