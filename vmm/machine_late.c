/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.pb-c.h"
#include "vmm/machine_internal.h"

#include <string.h>

#define LATE_DEVICES 4u /* as many as a guest has network cards */

struct late_parts {
	Segue__DeviceState part[LATE_DEVICES], *list[LATE_DEVICES];
	struct buffer bytes[LATE_DEVICES];
	size_t n;
};

/* One that fails has nothing. */
static void part_add(struct late_parts *parts, struct device *device)
{
	Segue__DeviceState *part = &parts->part[parts->n];
	struct buffer *bytes = &parts->bytes[parts->n];

	if (!device->ops->late_save || device->ops->late_save(device, bytes) < 0 || !bytes->len)
		return;
	segue__device_state__init(part);
	part->name = device->name;
	part->state.data = bytes->data;
	part->state.len = bytes->len;
	parts->list[parts->n++] = part;
}

int machine_late_save(struct machine *machine, struct buffer *late)
{
	Segue__MachineLate message = SEGUE__MACHINE_LATE__INIT;
	struct late_parts parts = {0};
	int r;

	machine_lock(machine);
	for (struct device *d = machine->devices; d && parts.n < LATE_DEVICES; d = d->next)
		part_add(&parts, d);
	machine_unlock(machine);
	message.n_devices = parts.n;
	message.devices = parts.list;
	r = parts.n ? buffer_pack(late, &message.base) : 0;
	for (size_t i = 0; i < LATE_DEVICES; i++)
		buffer_done(&parts.bytes[i]);
	return r;
}

static void part_take(struct machine *machine, const Segue__DeviceState *part)
{
	for (struct device *d = machine->devices; d; d = d->next)
		if (d->ops->late_load && strcmp(d->name, part->name) == 0)
			d->ops->late_load(d, part->state.data, part->state.len);
}

void machine_late_load(struct machine *machine, const uint8_t *late, size_t len)
{
	Segue__MachineLate *message = segue__machine_late__unpack(NULL, len, late);

	if (!message)
		return;
	machine_lock(machine);
	for (size_t i = 0; i < message->n_devices; i++)
		part_take(machine, message->devices[i]);
	machine_unlock(machine);
	segue__machine_late__free_unpacked(message, NULL);
}
