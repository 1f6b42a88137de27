/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/registers.h"

void registers_reset(struct virtio_registers *registers)
{
	*registers = (struct virtio_registers){0};
}

static uint32_t half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

uint32_t registers_offered(const struct virtio_registers *registers, const struct virtio *v)
{
	return half(v->offered, registers->device_feature_select);
}

uint32_t registers_taken(const struct virtio_registers *registers, const struct virtio *v)
{
	return half(v->features, registers->driver_feature_select);
}

struct virtq *registers_queue(const struct virtio_registers *registers, struct virtio *v)
{
	return registers->queue_select < v->n_queues ? &v->queues[registers->queue_select]
						     : NULL;
}

static void put_address(uint64_t *address, bool high, uint64_t value, unsigned len)
{
	if (len == 8 && !high)
		*address = value;
	else if (len == 4 && high)
		*address = (*address & 0xffffffffull) | value << 32;
	else if (len == 4)
		*address = (*address & ~0xffffffffull) | value;
}

void registers_queue_set(const struct virtio_registers *registers, struct virtio *v,
			 enum queue_field field, bool high, uint64_t value, unsigned len)
{
	struct virtq *q = registers_queue(registers, v);

	if (!q || q->enabled)
		return;
	switch (field) {
	case QUEUE_SIZE:
		if (value <= VIRTQ_SIZE)
			q->size = (uint16_t)value;
		break;
	case QUEUE_DESC:
		put_address(&q->desc, high, value, len);
		break;
	case QUEUE_AVAIL:
		put_address(&q->avail, high, value, len);
		break;
	case QUEUE_USED:
		put_address(&q->used, high, value, len);
		break;
	}
}
