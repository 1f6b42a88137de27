/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "vmm/virtio/virtio.h"

/* A device's state as it moves, and power-on state. What comes in is not believed. */

#define STATUS_BITS                                                                            \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |    \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

void virtio_power_on(struct device *device)
{
	struct virtio *v = (struct virtio *)device;

	v->transport->power_on(v);
	virtio_set_status(v, 0);
}

int virtio_save(struct device *device, struct buffer *state)
{
	struct virtio *v = (struct virtio *)device;
	Segue__Virtio message = SEGUE__VIRTIO__INIT;
	Segue__VirtioQueue queues[VIRTIO_QUEUES], *pointers[VIRTIO_QUEUES];

	if (v->in_flight)
		return -EBUSY;
	for (unsigned i = 0; i < v->n_queues; i++) {
		segue__virtio_queue__init(&queues[i]);
		virtq_save(&v->queues[i], &queues[i]);
		pointers[i] = &queues[i];
	}
	message.id = v->ops->id;
	message.status = v->status;
	message.features = v->features;
	message.config_generation = v->generation;
	message.n_queues = v->n_queues;
	message.queues = pointers;
	v->transport->save(v, &message);
	if (v->ops->save)
		v->ops->save(v, &message);
	return buffer_pack(state, &message.base);
}

static int check(const struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	if (message->id != v->ops->id)
		return error_set(err, -EINVAL, "%s is a virtio device of type %u at the source",
				 v->device.name, message->id);
	if (message->features & ~v->offered)
		return error_set(
		    err, -ENOTSUP, "%s: the guest uses features 0x%llx not had here",
		    v->device.name, (unsigned long long)(message->features & ~v->offered));
	if (message->status & ~(uint32_t)STATUS_BITS)
		return error_set(err, -EINVAL, "%s: status 0x%x", v->device.name,
				 message->status);
	if (message->n_queues != v->n_queues)
		return error_set(err, -EINVAL, "%s: %zu queues instead of %u", v->device.name,
				 message->n_queues, v->n_queues);
	return 0;
}

static int load_queues(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	for (unsigned i = 0; i < v->n_queues; i++)
		if (virtq_load(&v->queues[i], message->queues[i],
			       virtio_has(v, VIRTIO_RING_F_EVENT_IDX)) < 0)
			return error_set(err, -EINVAL, "%s: queue %u is not valid",
					 v->device.name, i);
	return 0;
}

static int load_message(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	int r = check(v, message, err);

	if (r < 0)
		return r;
	v->features = message->features;
	v->generation = (uint8_t)message->config_generation;
	r = load_queues(v, message, err);
	if (r == 0)
		r = v->transport->load(v, message, err);
	if (r == 0 && v->ops->load)
		r = v->ops->load(v, message, err);
	if (r < 0)
		return r;
	v->status = (uint8_t)message->status;
	v->loaded = true;
	v->quiet = true; /* until it is resumed */
	if ((v->status & VIRTIO_CONFIG_S_DRIVER_OK) && v->ops->started)
		v->ops->started(v);
	return 0;
}

int virtio_load(struct device *device, const uint8_t *state, size_t len, struct error *err)
{
	struct virtio *v = (struct virtio *)device;
	Segue__Virtio *message;
	int r;

	if (v->in_flight)
		return error_set(err, -EBUSY, "%s still works", device->name);
	message = segue__virtio__unpack(NULL, len, state);
	if (!message)
		return error_set(err, -EINVAL, "state of %s does not parse", device->name);
	virtio_power_on(device);
	r = load_message(v, message, err);
	if (r < 0)
		virtio_power_on(device);
	segue__virtio__free_unpacked(message, NULL);
	return r;
}
