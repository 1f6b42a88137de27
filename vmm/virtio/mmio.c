/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/le.h"

#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR  0x55474553u /* "SEGU" */
#define MMIO_REG     4u          /* bytes of a register */

_Static_assert(VIRTIO_MMIO_INT_VRING == VIRTIO_ISR_QUEUE, "4.2.2, InterruptStatus");
_Static_assert(VIRTIO_MMIO_INT_CONFIG == VIRTIO_ISR_CONFIG, "4.2.2, InterruptStatus");

static struct virtio_mmio *mmio_from(struct virtio *v)
{
	return v->transport_data;
}

/* The line is up while there is an interrupt that the driver has not acknowledged. */
static void line_update(struct virtio_mmio *mmio)
{
	struct engine *engine = machine_engine(mmio->v->machine);
	bool level = mmio->registers.isr != 0;

	if (level == mmio->line)
		return;
	mmio->line = level;
	engine->ops->set_irq(engine, mmio->place.line, level);
}

static void signal_queue(struct virtio *v, unsigned index)
{
	struct virtio_mmio *mmio = mmio_from(v);

	(void)index;
	mmio->registers.isr |= VIRTIO_ISR_QUEUE;
	line_update(mmio);
}

static void signal_config(struct virtio *v)
{
	struct virtio_mmio *mmio = mmio_from(v);

	mmio->registers.isr |= VIRTIO_ISR_CONFIG;
	line_update(mmio);
}

static void transport_reset(struct virtio *v)
{
	struct virtio_mmio *mmio = mmio_from(v);

	registers_reset(&mmio->registers);
	line_update(mmio);
}

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
		return mmio->registers.isr;
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
					    offset == fields[i].high, value, MMIO_REG);
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
		registers->isr = (uint8_t)(registers->isr & ~value);
		line_update(mmio);
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
	else if (len == MMIO_REG && offset % MMIO_REG == 0)
		le32_put(data, register_read(mmio, (unsigned)offset));
}

static void mmio_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct virtio_mmio *mmio = device;

	if (offset >= VIRTIO_MMIO_CONFIG)
		virtio_config_write(mmio->v, offset - VIRTIO_MMIO_CONFIG, data, len);
	else if (len == MMIO_REG && offset % MMIO_REG == 0)
		register_write(mmio, (unsigned)offset, le32_get(data));
}

static const struct bus_ops mmio_ops = {.read = mmio_read, .write = mmio_write};

static void transport_save(struct virtio *v, Segue__Virtio *message)
{
	struct virtio_mmio *mmio = mmio_from(v);
	Segue__VirtioMmio *state = &mmio->saved;

	segue__virtio_mmio__init(state);
	state->device_feature_select = mmio->registers.device_feature_select;
	state->driver_feature_select = mmio->registers.driver_feature_select;
	state->queue_select = mmio->registers.queue_select;
	state->interrupt_status = mmio->registers.isr;
	message->mmio = state;
}

static int transport_load(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	struct virtio_mmio *mmio = mmio_from(v);
	const Segue__VirtioMmio *state = message->mmio;

	if (!state)
		return error_set(err, -EINVAL, "%s: its registers' state is missing",
				 v->device.name);
	mmio->registers = (struct virtio_registers){
	    .device_feature_select = state->device_feature_select,
	    .driver_feature_select = state->driver_feature_select,
	    .queue_select = state->queue_select,
	    .isr = (uint8_t)(state->interrupt_status & (VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG)),
	};
	/* What the line was is not in the engine's state. */
	line_update(mmio);
	return 0;
}

/* One register is every queue's doorbell: what is written tells them apart. */
static void listen_stop(struct virtio_mmio *mmio, unsigned queues)
{
	struct engine *engine = machine_engine(mmio->v->machine);

	for (unsigned i = 0; i < queues; i++)
		engine->ops->notify_remove(engine,
					   mmio->place.address + VIRTIO_MMIO_QUEUE_NOTIFY,
					   MMIO_REG, i, mmio->v->kicks[i].fd);
}

/* An engine that cannot: then the writes come to register_write(). */
static void listen_start(struct virtio_mmio *mmio)
{
	struct engine *engine = machine_engine(mmio->v->machine);
	unsigned n = 0;

	while (n < mmio->v->n_queues &&
	       engine->ops->notify_add(engine, mmio->place.address + VIRTIO_MMIO_QUEUE_NOTIFY,
				       MMIO_REG, n, mmio->v->kicks[n].fd) == 0)
		n++;
	mmio->listening = n == mmio->v->n_queues;
	if (!mmio->listening)
		listen_stop(mmio, n);
}

static void transport_destroy(struct virtio *v)
{
	struct virtio_mmio *mmio = mmio_from(v);

	if (mmio->listening)
		listen_stop(mmio, v->n_queues);
	bus_remove(machine_memory(v->machine), mmio->place.address);
	free(mmio);
}

static const struct virtio_transport_ops transport_ops = {
    .signal_queue = signal_queue,
    .signal_config = signal_config,
    .reset = transport_reset,
    .power_on = transport_reset,
    .save = transport_save,
    .load = transport_load,
    .destroy = transport_destroy,
};

int virtio_mmio_add(struct virtio *v)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	int r;

	if (!mmio)
		return -ENOMEM;
	mmio->v = v;
	r = machine_place(v->machine, &mmio->place);
	if (r == 0)
		r = bus_add(machine_memory(v->machine), mmio->place.address, mmio->place.size,
			    &mmio_ops, mmio);
	if (r < 0) {
		free(mmio);
		return r;
	}
	listen_start(mmio);
	v->transport_data = mmio;
	v->transport = &transport_ops;
	return 0;
}
