/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/panic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine.pb-c.h"
#include "vmm/layout.h"

#define PANIC_PANICKED     0x1u
#define PANIC_CRASH_LOADED 0x2u /* and its crash kernel will take care of it */
#define PANIC_EVENTS       (PANIC_PANICKED | PANIC_CRASH_LOADED)

struct panic {
	struct device device;
	struct machine *machine;
	uint8_t events;
};

static void panic_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	(void)device;
	memset(data, 0, len);
	if (offset == 0)
		data[0] = PANIC_EVENTS;
}

static void panic_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct panic *panic = device;

	(void)len;
	if (offset != 0)
		return;
	panic->events |= data[0] & PANIC_EVENTS;
	if (data[0] & PANIC_PANICKED)
		machine_report(panic->machine, MACHINE_PANICKED, "the guest's kernel panicked");
	else if (data[0] & PANIC_CRASH_LOADED)
		machine_report(panic->machine, MACHINE_PANICKED,
			       "the guest's kernel panicked and starts its crash kernel");
}

static const struct bus_ops panic_ops = {.read = panic_read, .write = panic_write};

static void panic_reset(struct device *device)
{
	struct panic *panic = (struct panic *)device;

	panic->events = 0;
}

static int panic_save(struct device *device, struct buffer *state)
{
	const struct panic *panic = (struct panic *)device;
	Segue__PanicState message = SEGUE__PANIC_STATE__INIT;

	message.events = panic->events;
	return buffer_pack(state, &message.base);
}

static int panic_load(struct device *device, const uint8_t *state, size_t len,
		      struct error *err)
{
	struct panic *panic = (struct panic *)device;
	Segue__PanicState *message = segue__panic_state__unpack(NULL, len, state);

	if (!message)
		return error_set(err, -EPROTO, "not a valid message");
	panic->events = (uint8_t)(message->events & PANIC_EVENTS);
	segue__panic_state__free_unpacked(message, NULL);
	return 0;
}

static void panic_destroy(struct device *device)
{
	struct panic *panic = (struct panic *)device;

	bus_remove(machine_memory(panic->machine), LAYOUT_PANIC);
	free(panic);
}

static const struct device_ops panic_device = {
    .reset = panic_reset,
    .save = panic_save,
    .load = panic_load,
    .destroy = panic_destroy,
};

int panic_add(struct machine *machine, struct error *err)
{
	struct panic *panic = calloc(1, sizeof(*panic));
	int r;

	if (!panic)
		return error_set(err, -ENOMEM, "no memory for the panic device");
	panic->device =
	    (struct device){.ops = &panic_device, .name = "panic", .contract = "events 0x3"};
	panic->machine = machine;
	r = bus_add(machine_memory(machine), LAYOUT_PANIC, LAYOUT_PANIC_SIZE, &panic_ops,
		    panic);
	if (r < 0) {
		free(panic);
		return error_system(err, r, "panic device");
	}
	machine_add(machine, &panic->device);
	return 0;
}
