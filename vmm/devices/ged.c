/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/ged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine.pb-c.h"
#include "proto/le.h"
#include "vmm/layout.h"

#define GED_EVENTS (GED_POWER_BUTTON)

struct ged {
	struct device device;
	struct machine *machine;
	uint32_t events;
};

static void ged_line(struct ged *ged)
{
	struct engine *engine = machine_engine(ged->machine);

	engine->ops->set_irq(engine, LAYOUT_GED_GSI, ged->events != 0);
}

void ged_raise(struct ged *ged, uint32_t event)
{
	ged->events |= event;
	ged_line(ged);
}

static void ged_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct ged *ged = device;

	memset(data, 0, len);
	if (offset != 0 || len != sizeof(uint32_t))
		return;
	le32_put(data, ged->events);
	ged->events = 0;
	ged_line(ged);
}

static const struct bus_ops ged_ops = {.read = ged_read};

static void ged_reset(struct device *device)
{
	struct ged *ged = (struct ged *)device;

	ged->events = 0;
	ged_line(ged);
}

static int ged_save(struct device *device, struct buffer *state)
{
	const struct ged *ged = (struct ged *)device;
	Segue__GedState message = SEGUE__GED_STATE__INIT;

	message.events = ged->events;
	return buffer_pack(state, &message.base);
}

static int ged_load(struct device *device, const uint8_t *state, size_t len, struct error *err)
{
	struct ged *ged = (struct ged *)device;
	Segue__GedState *message = segue__ged_state__unpack(NULL, len, state);
	uint32_t events;

	if (!message)
		return error_set(err, -EPROTO, "not a valid message");
	events = message->events;
	segue__ged_state__free_unpacked(message, NULL);
	if (events & ~GED_EVENTS)
		return error_set(err, -EPROTO, "unknown events 0x%x", events);
	ged->events = events;
	/* What the line was is not in the interrupt controller's state. */
	if (events)
		ged_line(ged);
	return 0;
}

static void ged_destroy(struct device *device)
{
	struct ged *ged = (struct ged *)device;

	bus_remove(machine_memory(ged->machine), LAYOUT_GED);
	free(ged);
}

static const struct device_ops ged_device = {
    .reset = ged_reset,
    .save = ged_save,
    .load = ged_load,
    .destroy = ged_destroy,
};

int ged_add(struct machine *machine, struct ged **ret_ged, struct error *err)
{
	struct ged *ged = calloc(1, sizeof(*ged));
	int r;

	if (!ged)
		return error_set(err, -ENOMEM, "no memory for the event device");
	ged->device =
	    (struct device){.ops = &ged_device, .name = "ged", .contract = "events 0x1"};
	ged->machine = machine;
	r = bus_add(machine_memory(machine), LAYOUT_GED, LAYOUT_GED_SIZE, &ged_ops, ged);
	if (r < 0) {
		free(ged);
		return error_system(err, r, "event device");
	}
	machine_add(machine, &ged->device);
	*ret_ged = ged;
	return 0;
}
