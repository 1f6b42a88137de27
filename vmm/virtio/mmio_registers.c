/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_mmio.h>
#include <string.h>

#include "proto/le.h"
#include "vmm/virtio/mmio.h"

/* The registers of the memory-mapped transport (virtio 1.2, 4.2.2). */
#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR  0x55474553u /* "SEGU" */

static uint32_t queue_read(struct virtio_mmio *mmio, unsigned offset)
{
	const struct virtq *q = registers_queue(&mmio->registers, mmio->v);

	/* A largest size of 0 says that there is no such queue. */
	if (!q)
		return 0;
	return offset == VIRTIO_MMIO_QUEUE_NUM_MAX ? VIRTQ_SIZE : q->enabled;
}

static uint32_t register_read(struct virtio_mmio *mmio, unsigned offset)
{
	const struct virtio *v = mmio->v;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return v->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return registers_offered(&mmio->registers, v);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
	case VIRTIO_MMIO_QUEUE_READY:
		return queue_read(mmio, offset);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return virtio_mmio_status_get(mmio);
	case VIRTIO_MMIO_STATUS:
		return v->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return UINT32_MAX; /* there is no shared memory */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return v->generation;
	default:
		return 0;
	}
}

static void queue_ready(struct virtio_mmio *mmio, uint32_t value)
{
	if (!registers_queue(&mmio->registers, mmio->v))
		return;
	if (value == 1)
		virtio_enable_queue(mmio->v, mmio->registers.queue_select);
	else if (value == 0)
		virtio_disable_queue(mmio->v, mmio->registers.queue_select);
}

static void queue_write(struct virtio_mmio *mmio, unsigned offset, uint32_t value)
{
	static const struct {
		uint16_t low, high;
		enum queue_field field;
	} fields[] = {
	    {VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, QUEUE_DESC},
	    {VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, QUEUE_AVAIL},
	    {VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH, QUEUE_USED},
	    {VIRTIO_MMIO_QUEUE_NUM, 0, QUEUE_SIZE},
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (offset == fields[i].low || (offset && offset == fields[i].high))
			registers_queue_set(&mmio->registers, mmio->v, fields[i].field,
					    offset == fields[i].high, value, VIRTIO_MMIO_WIDTH);
}

static void register_write(struct virtio_mmio *mmio, unsigned offset, uint32_t value)
{
	struct virtio_registers *registers = &mmio->registers;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		registers->device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		registers->driver_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_set_features(mmio->v, registers->driver_feature_select, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		registers->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue_ready(mmio, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		/* Only where the engine did not turn it into an event. */
		virtio_poke(mmio->v, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		virtio_mmio_status_clear(mmio, value);
		break;
	case SEGUE_PV_STATUS_LOW:
		mmio->status_low = value;
		break;
	case SEGUE_PV_STATUS_HIGH:
		virtio_mmio_status_move(mmio, (uint64_t)value << 32 | mmio->status_low);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(mmio->v, (uint8_t)value);
		break;
	default:
		queue_write(mmio, offset, value);
	}
}

static void mmio_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct virtio_mmio *mmio = device;

	memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG)
		virtio_config_read(mmio->v, offset - VIRTIO_MMIO_CONFIG, data, len);
	else if (len == VIRTIO_MMIO_WIDTH && offset % VIRTIO_MMIO_WIDTH == 0)
		le32_put(data, register_read(mmio, (unsigned)offset));
}

static void mmio_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct virtio_mmio *mmio = device;

	if (offset >= VIRTIO_MMIO_CONFIG)
		virtio_config_write(mmio->v, offset - VIRTIO_MMIO_CONFIG, data, len);
	else if (len == VIRTIO_MMIO_WIDTH && offset % VIRTIO_MMIO_WIDTH == 0)
		register_write(mmio, (unsigned)offset, le32_get(data));
}

const struct bus_ops virtio_mmio_ops = {.read = mmio_read, .write = mmio_write};
