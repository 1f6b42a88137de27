/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/bus.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint64_t base;
	uint64_t size;
	const struct bus_ops *ops;
	void *device;
};

/* Ranges never overlap and are kept in order of their base, for a binary search. */
struct bus {
	struct range *ranges;
	size_t n;
	size_t room;
};

struct bus *bus_new(void)
{
	return calloc(1, sizeof(struct bus));
}

void bus_free(struct bus *bus)
{
	if (!bus)
		return;
	free(bus->ranges);
	free(bus);
}

/* How many ranges begin at or below ADDRESS. */
static size_t bus_rank(const struct bus *bus, uint64_t address)
{
	size_t low = 0, high = bus->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bus->ranges[middle].base <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int bus_grow(struct bus *bus)
{
	size_t room = bus->room ? bus->room * 2 : 16;
	struct range *ranges;

	if (bus->n < bus->room)
		return 0;
	ranges = reallocarray(bus->ranges, room, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	bus->ranges = ranges;
	bus->room = room;
	return 0;
}

int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_ops *ops,
	    void *device)
{
	size_t at = bus_rank(bus, base);
	struct range *ranges;
	int r;

	if (!size || base + (size - 1) < base)
		return -EINVAL;
	if (at > 0 && base - bus->ranges[at - 1].base < bus->ranges[at - 1].size)
		return -EEXIST;
	if (at < bus->n && bus->ranges[at].base - base < size)
		return -EEXIST;
	r = bus_grow(bus);
	if (r < 0)
		return r;
	ranges = bus->ranges;
	memmove(&ranges[at + 1], &ranges[at], (bus->n - at) * sizeof(*ranges));
	ranges[at] = (struct range){.base = base, .size = size, .ops = ops, .device = device};
	bus->n++;
	return 0;
}

void bus_remove(struct bus *bus, uint64_t base)
{
	size_t at = bus_rank(bus, base);

	if (!at || bus->ranges[at - 1].base != base)
		return;
	memmove(&bus->ranges[at - 1], &bus->ranges[at], (bus->n - at) * sizeof(*bus->ranges));
	bus->n--;
}

/*
 * Finds who answers for all LEN bytes at ADDRESS. By value: the device may change the
 * ranges while it is being called, as a write to a PCI BAR does.
 */
static bool bus_find(const struct bus *bus, uint64_t address, unsigned len,
		     struct range *ret_range)
{
	size_t at = bus_rank(bus, address);
	const struct range *range;

	if (!at)
		return false;
	range = &bus->ranges[at - 1];
	if (address - range->base >= range->size || range->size - (address - range->base) < len)
		return false;
	*ret_range = *range;
	return true;
}

void bus_read(struct bus *bus, uint64_t address, uint8_t *data, unsigned len)
{
	struct range range;

	memset(data, 0xff, len);
	if (bus_find(bus, address, len, &range) && range.ops->read)
		range.ops->read(range.device, address - range.base, data, len);
}

void bus_write(struct bus *bus, uint64_t address, const uint8_t *data, unsigned len)
{
	struct range range;

	if (bus_find(bus, address, len, &range) && range.ops->write)
		range.ops->write(range.device, address - range.base, data, len);
}
