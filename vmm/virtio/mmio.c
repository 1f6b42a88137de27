/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

_Static_assert(VIRTIO_MMIO_INT_VRING == VIRTIO_ISR_QUEUE, "4.2.2, InterruptStatus");
_Static_assert(VIRTIO_MMIO_INT_CONFIG == VIRTIO_ISR_CONFIG, "4.2.2, InterruptStatus");

static struct virtio_mmio *mmio_from(struct virtio *v)
{
	return v->transport_data;
}

/* InterruptStatus where the guest wants it; NULL: in the device. */
static uint32_t *status_word(const struct virtio_mmio *mmio)
{
	return mmio->status_at
		   ? ram_at(machine_ram(mmio->v->machine), mmio->status_at, VIRTIO_MMIO_WIDTH)
		   : NULL;
}

uint32_t virtio_mmio_status_get(const struct virtio_mmio *mmio)
{
	uint32_t *word = status_word(mmio);

	return word ? __atomic_load_n(word, __ATOMIC_SEQ_CST) : mmio->registers.isr;
}

static void line_set(struct virtio_mmio *mmio, bool level)
{
	struct engine *engine = machine_engine(mmio->v->machine);

	engine->ops->set_irq(engine, mmio->place.line, level);
}

/* The line is up while there is an interrupt that the driver has not taken note of. */
static void status_raise(struct virtio_mmio *mmio, uint8_t bit)
{
	uint32_t *word = status_word(mmio);

	if (word) {
		__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
		ram_mark(machine_ram(mmio->v->machine), mmio->status_at, VIRTIO_MMIO_WIDTH);
	} else {
		mmio->registers.isr |= bit;
	}
	line_set(mmio, true);
}

void virtio_mmio_status_clear(struct virtio_mmio *mmio, uint32_t bits)
{
	uint32_t *word = status_word(mmio);

	if (word) {
		__atomic_fetch_and(word, ~bits, __ATOMIC_SEQ_CST);
		ram_mark(machine_ram(mmio->v->machine), mmio->status_at, VIRTIO_MMIO_WIDTH);
	} else {
		mmio->registers.isr = (uint8_t)(mmio->registers.isr & ~bits);
	}
	if (!virtio_mmio_status_get(mmio))
		line_set(mmio, false);
}

static bool status_valid(const struct virtio_mmio *mmio, uint64_t gpa)
{
	return gpa % VIRTIO_MMIO_WIDTH == 0 &&
	       ram_at(machine_ram(mmio->v->machine), gpa, VIRTIO_MMIO_WIDTH);
}

/* What is due moves along. */
void virtio_mmio_status_move(struct virtio_mmio *mmio, uint64_t gpa)
{
	uint8_t due = (uint8_t)(virtio_mmio_status_get(mmio) & VIRTIO_ISR_ALL);

	if (!status_valid(mmio, gpa))
		return;
	mmio->status_at = gpa;
	mmio->registers.isr = 0;
	if (due)
		status_raise(mmio, due);
}

static void signal_queue(struct virtio *v, unsigned index)
{
	(void)index;
	status_raise(mmio_from(v), VIRTIO_ISR_QUEUE);
}

static void signal_config(struct virtio *v)
{
	status_raise(mmio_from(v), VIRTIO_ISR_CONFIG);
}

/* By the driver: where status is stays as it was. */
static void transport_reset(struct virtio *v)
{
	struct virtio_mmio *mmio = mmio_from(v);

	virtio_mmio_status_clear(mmio, UINT32_MAX);
	registers_reset(&mmio->registers);
}

/* What RAM holds may be of another life. */
static void transport_power_on(struct virtio *v)
{
	struct virtio_mmio *mmio = mmio_from(v);

	mmio->status_at = 0;
	mmio->status_low = 0;
	transport_reset(v);
}

static void transport_save(struct virtio *v, Segue__Virtio *message)
{
	struct virtio_mmio *mmio = mmio_from(v);
	Segue__VirtioMmio *state = &mmio->saved;

	segue__virtio_mmio__init(state);
	state->device_feature_select = mmio->registers.device_feature_select;
	state->driver_feature_select = mmio->registers.driver_feature_select;
	state->queue_select = mmio->registers.queue_select;
	state->interrupt_status = mmio->registers.isr;
	state->status_at = mmio->status_at;
	state->status_low = mmio->status_low;
	message->mmio = state;
}

static int transport_load(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	struct virtio_mmio *mmio = mmio_from(v);
	const Segue__VirtioMmio *state = message->mmio;

	if (!state)
		return error_set(err, -EINVAL, "%s: its registers' state is missing",
				 v->device.name);
	if (state->status_at && !status_valid(mmio, state->status_at))
		return error_set(err, -EINVAL, "%s: its interrupt status is outside of memory",
				 v->device.name);
	mmio->registers = (struct virtio_registers){
	    .device_feature_select = state->device_feature_select,
	    .driver_feature_select = state->driver_feature_select,
	    .queue_select = state->queue_select,
	    .isr = (uint8_t)(state->interrupt_status & VIRTIO_ISR_ALL),
	};
	mmio->status_at = state->status_at;
	mmio->status_low = state->status_low;
	/* What the line was is not in the engine's state. */
	line_set(mmio, virtio_mmio_status_get(mmio) != 0);
	return 0;
}

/* One register is every queue's doorbell: what is written tells them apart. */
static void listen_stop(struct virtio_mmio *mmio, unsigned queues)
{
	struct engine *engine = machine_engine(mmio->v->machine);

	for (unsigned i = 0; i < queues; i++)
		engine->ops->notify_remove(engine,
					   mmio->place.address + VIRTIO_MMIO_QUEUE_NOTIFY,
					   VIRTIO_MMIO_WIDTH, i, mmio->v->kicks[i].fd);
}

/* An engine that cannot: then the writes come to register_write(). */
static void listen_start(struct virtio_mmio *mmio)
{
	struct engine *engine = machine_engine(mmio->v->machine);
	unsigned n = 0;

	while (n < mmio->v->n_queues &&
	       engine->ops->notify_add(engine, mmio->place.address + VIRTIO_MMIO_QUEUE_NOTIFY,
				       VIRTIO_MMIO_WIDTH, n, mmio->v->kicks[n].fd) == 0)
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
    .power_on = transport_power_on,
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
			    &virtio_mmio_ops, mmio);
	if (r < 0) {
		free(mmio);
		return r;
	}
	listen_start(mmio);
	v->transport_data = mmio;
	v->transport = &transport_ops;
	return 0;
}
