/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static Segue__Guest *guest_copy(const Segue__Guest *guest)
{
	struct buffer packed = {0};
	Segue__Guest *copy = NULL;

	if (buffer_pack(&packed, &guest->base) == 0)
		copy = segue__guest__unpack(NULL, packed.len, packed.data);
	buffer_done(&packed);
	return copy;
}

static int machine_locks(struct machine *machine)
{
	pthread_condattr_t clock;
	pthread_mutexattr_t adaptive;

	pthread_mutexattr_init(&adaptive);
	pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&machine->lock, &adaptive);
	pthread_mutexattr_destroy(&adaptive);
	pthread_mutex_init(&machine->run_lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&machine->run_cond, &clock);
	pthread_cond_init(&machine->throttle_cond, &clock);
	pthread_condattr_destroy(&clock);
	return 0;
}

/* What needs no libuv handle to be closed; undoes a machine half built as well. */
static void machine_free(struct machine *machine)
{
	if (machine->engine)
		machine->engine_ops->destroy(machine->engine);
	console_free(machine->serial_console);
	console_free(machine->virtio_console);
	bus_free(machine->ports);
	bus_free(machine->memory);
	boot_files_close(&machine->boot);
	ram_destroy(machine->ram);
	if (machine->guest)
		segue__guest__free_unpacked(machine->guest, NULL);
	free(machine->vcpus);
	pthread_cond_destroy(&machine->throttle_cond);
	pthread_cond_destroy(&machine->run_cond);
	pthread_mutex_destroy(&machine->run_lock);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

static int machine_engine_create(struct machine *machine, struct error *err)
{
	struct engine_config config = {.guest = machine->guest, .ram = machine->ram};
	int r = machine->engine_ops->create(&config, &machine->engine, err);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < machine->n_vcpus; i++) {
		machine->vcpus[i].machine = machine;
		machine->vcpus[i].vcpu = machine->engine_ops->vcpu(machine->engine, i);
	}
	return 0;
}

/* The parts that need nothing from the loop. */
static int machine_parts(struct machine *machine, const Segue__Guest *guest, struct error *err)
{
	const Segue__Kernel *kernel = guest->kernel;
	int r;

	if (!guest->cpus || guest->cpus > MACHINE_CPUS)
		return error_set(err, -EINVAL, "a guest has 1 to %u vCPUs", MACHINE_CPUS);
	if (!kernel)
		return error_set(err, -EINVAL, "the guest names no kernel to boot");
	machine->n_vcpus = guest->cpus;
	machine->guest = guest_copy(guest);
	machine->vcpus = calloc(guest->cpus, sizeof(*machine->vcpus));
	machine->ports = bus_new();
	machine->memory = bus_new();
	machine->serial_console = console_new(-1);
	machine->virtio_console = console_new(-1);
	if (!machine->guest || !machine->vcpus || !machine->ports || !machine->memory ||
	    !machine->serial_console || !machine->virtio_console)
		return error_set(err, -ENOMEM, "no memory for the machine");
	r = boot_files_open(&machine->boot, kernel->image, kernel->initrd, kernel->cmdline,
			    err);
	if (r < 0)
		return r;
	r = machine->engine_ops->platform == ENGINE_PV
		? ram_create_flat(guest->memory, &machine->ram, err)
		: ram_create(guest->memory, &machine->ram, err);
	if (r < 0)
		return r;
	return machine_engine_create(machine, err);
}

int machine_build(uv_loop_t *loop, const Segue__Guest *guest, const struct engine_ops *engine,
		  const struct machine_observer *observer, struct machine **ret_machine,
		  struct error *err)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int r;

	if (!machine)
		return error_set(err, -ENOMEM, "no memory for the machine");
	machine->loop = loop;
	machine->engine_ops = engine;
	machine->boot = BOOT_FILES_NONE;
	if (observer)
		machine->observer = *observer;
	machine_locks(machine);
	atomic_store(&machine->stop, true);
	r = machine_parts(machine, guest, err);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	r = uv_async_init(loop, &machine->wake, machine_wake);
	if (r < 0) {
		machine_free(machine);
		return error_system(err, r, "cannot watch the vCPUs");
	}
	uv_timer_init(loop, &machine->announce_timer);
	machine->wake.data = machine;
	machine->announce_timer.data = machine;
	machine_lock(machine);
	r = machine_devices_add(machine, err);
	machine_unlock(machine);
	if (r < 0) {
		machine_destroy(machine, NULL, NULL);
		return r;
	}
	*ret_machine = machine;
	return 0;
}

static void wake_closed(uv_handle_t *wake)
{
	struct machine *machine = wake->data;
	void (*done)(void *context) = machine->destroyed;
	void *context = machine->destroyed_context;

	machine_free(machine);
	if (done)
		done(context);
}

/*
 * libuv closes in one turn of the loop, last first, whatever was asked to close before it:
 * the devices' handles are closed, at the latest, in the same turn as this timer.
 */
static void timer_closed(uv_handle_t *timer)
{
	struct machine *machine = timer->data;

	uv_close((uv_handle_t *)&machine->wake, wake_closed);
}

static void machine_destroy_quiet(void *context)
{
	struct machine *machine = context;

	machine_vcpus_join(machine);
	machine_throttle_join(machine);
	machine_lock(machine);
	machine_devices_destroy(machine);
	machine_unlock(machine);
	uv_close((uv_handle_t *)&machine->announce_timer, timer_closed);
}

void machine_destroy(struct machine *machine, void (*done)(void *context), void *context)
{
	machine->destroyed = done;
	machine->destroyed_context = context;
	machine->observer.event = NULL;
	/* Only a machine that stands still can be taken apart. */
	machine_pause(machine, machine_destroy_quiet, machine);
}

struct ram *machine_ram(struct machine *machine)
{
	return machine->ram;
}

struct engine *machine_engine(struct machine *machine)
{
	return machine->engine;
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
	return machine->loop;
}

void machine_lock(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
}

void machine_unlock(struct machine *machine)
{
	pthread_mutex_unlock(&machine->lock);
}

/* Devices are saved and loaded in the order they were added. */
void machine_add(struct machine *machine, struct device *device)
{
	struct device **at = &machine->devices;

	while (*at)
		at = &(*at)->next;
	device->next = NULL;
	*at = device;
}

int machine_place(struct machine *machine, struct segue_pv_device *ret_place)
{
	unsigned n = machine->n_places;

	if (n == MACHINE_PLACES)
		return -ENOSPC;
	machine->places[n] = (struct segue_pv_device){
	    .address = LAYOUT_PV_DEVICES + (uint64_t)n * LAYOUT_PV_DEVICE_SIZE,
	    .size = LAYOUT_PV_DEVICE_SIZE,
	    .line = LAYOUT_PV_FIRST_LINE + n,
	};
	*ret_place = machine->places[n];
	machine->n_places++;
	return 0;
}

struct console *machine_serial_console(struct machine *machine)
{
	return machine->serial_console;
}

struct console *machine_virtio_console(struct machine *machine)
{
	return machine->virtio_console;
}

struct balloon *machine_balloon(struct machine *machine)
{
	return machine->balloon;
}
