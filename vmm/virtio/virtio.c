/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool virtio_has(const struct virtio *v, unsigned feature)
{
	return v->features >> feature & 1;
}

bool virtio_live(const struct virtio *v)
{
	return (v->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	       !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !v->quiet && !v->resetting;
}

void virtio_broken(struct virtio *v)
{
	v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		v->transport->signal_config(v);
}

bool virtio_pop(struct virtio *v, unsigned index, struct virtq_chain *chain)
{
	int r;

	if (!virtio_live(v))
		return false;
	r = virtq_pop(&v->queues[index], chain);
	if (r < 0)
		virtio_broken(v);
	return r > 0;
}

void virtio_push(struct virtio *v, unsigned index, const struct virtq_chain *chain,
		 uint64_t written)
{
	/* A driver that is resetting the device is told no more, but was written to. */
	if (v->resetting || !v->queues[index].enabled)
		chain_mark(machine_ram(v->machine), chain, 0, written);
	else
		virtq_push(&v->queues[index], chain, written);
}

void virtio_signal(struct virtio *v, unsigned index)
{
	if (!v->resetting && virtq_wants_signal(&v->queues[index]))
		v->transport->signal_queue(v, index);
}

void virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		v->transport->signal_config(v);
}

void virtio_poke(struct virtio *v, unsigned index)
{
	const uint64_t one = 1;

	/* Can only fail when the counter is about to overflow: then it is readable anyway. */
	if (index < v->n_queues && write(v->kicks[index].fd, &one, sizeof(one)) < 0)
		return;
}

static void poke_all(struct virtio *v)
{
	for (unsigned i = 0; i < v->n_queues; i++)
		virtio_poke(v, i);
}

static void on_kick(void *context)
{
	struct virtio_kick *kick = context;
	struct virtio *v = kick->v;
	uint64_t count;

	/* Not ready: another look came before. While quiet nothing is lost: resume looks again.
	 */
	if (read(kick->fd, &count, sizeof(count)) < 0)
		return;
	if (virtio_live(v) && v->queues[kick->index].enabled)
		v->ops->kick(v, kick->index);
}

static void reset_now(struct virtio *v)
{
	v->resetting = false;
	v->status = 0;
	v->features = 0;
	for (unsigned i = 0; i < v->n_queues; i++)
		virtq_reset(&v->queues[i], machine_ram(v->machine));
	v->transport->reset(v);
	if (v->ops->reset)
		v->ops->reset(v);
}

void virtio_begin(struct virtio *v)
{
	v->in_flight++;
}

void virtio_end(struct virtio *v)
{
	if (--v->in_flight)
		return;
	if (v->resetting)
		reset_now(v);
	if (v->quiet)
		machine_device_idle(v->machine, &v->device);
}

static void device_reset(struct virtio *v)
{
	/* The driver waits until status reads 0 (virtio 1.2, 2.4.2, 4.1.4.3.2). */
	if (v->in_flight)
		v->resetting = true;
	else
		reset_now(v);
}

static bool features_acceptable(const struct virtio *v)
{
	return !(v->features & ~v->offered) && virtio_has(v, VIRTIO_F_VERSION_1);
}

static void start(struct virtio *v)
{
	if (v->ops->started)
		v->ops->started(v);
	poke_all(v); /* buffers may have been made available before */
}

/* virtio 1.2, 3.1.1: the driver only ever adds bits, or writes 0. */
void virtio_set_status(struct virtio *v, uint8_t status)
{
	uint8_t added = (uint8_t)(status & ~v->status);

	if (status == 0) {
		device_reset(v);
		return;
	}
	if (v->resetting)
		return;
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !features_acceptable(v))
		added = (uint8_t)(added & ~VIRTIO_CONFIG_S_FEATURES_OK);
	added = (uint8_t)(added & ~VIRTIO_CONFIG_S_NEEDS_RESET);
	if (!((v->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added = (uint8_t)(added & ~VIRTIO_CONFIG_S_DRIVER_OK);
	v->status |= added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		start(v);
}

void virtio_set_features(struct virtio *v, unsigned select, uint32_t bits)
{
	if (select > 1 || v->resetting || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	v->features &= ~(0xffffffffull << 32 * select);
	v->features |= (uint64_t)bits << 32 * select;
}

void virtio_enable_queue(struct virtio *v, unsigned index)
{
	struct virtq *q = &v->queues[index];

	if (v->resetting || q->enabled)
		return;
	if (virtq_enable(q, virtio_has(v, VIRTIO_RING_F_EVENT_IDX)) < 0)
		virtio_broken(v);
	else if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_poke(v, index);
}

void virtio_disable_queue(struct virtio *v, unsigned index)
{
	if (!v->in_flight)
		virtq_reset(&v->queues[index], machine_ram(v->machine));
}

void virtio_config_read(struct virtio *v, uint64_t offset, uint8_t *data, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		data[i] = offset + i < v->config_len ? v->config[offset + i] : 0;
}

void virtio_config_write(struct virtio *v, uint64_t offset, const uint8_t *data, unsigned len)
{
	if (v->ops->config_write && offset < v->config_len && len <= v->config_len - offset)
		v->ops->config_write(v, (unsigned)offset, data, len);
}

static void device_quiesce(struct device *device)
{
	struct virtio *v = (struct virtio *)device;

	v->quiet = true;
	if (v->ops->quiesce)
		v->ops->quiesce(v);
	if (!v->in_flight)
		machine_device_idle(v->machine, device);
}

/*
 * Interrupts again: one may have been raised here before its vector was back in place, or
 * at the source after its interrupt controllers were saved. One too many does no harm.
 */
static void signal_all(struct virtio *v)
{
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->queues[i].enabled)
			v->transport->signal_queue(v, i);
}

static void device_resume(struct device *device)
{
	struct virtio *v = (struct virtio *)device;

	v->quiet = false;
	if (!(v->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (v->loaded)
		signal_all(v);
	v->loaded = false;
	if (v->ops->resume)
		v->ops->resume(v);
	poke_all(v);
}

static void device_announce(struct device *device, unsigned round)
{
	struct virtio *v = (struct virtio *)device;

	if (v->ops->announce)
		v->ops->announce(v, round);
}

static void device_destroy(struct device *device)
{
	virtio_destroy((struct virtio *)device);
}

static int device_late_save(struct device *device, struct buffer *late)
{
	struct virtio *v = (struct virtio *)device;

	return v->ops->late_save ? v->ops->late_save(v, late) : 0;
}

static void device_late_load(struct device *device, const uint8_t *late, size_t len)
{
	struct virtio *v = (struct virtio *)device;

	if (v->ops->late_load && virtio_live(v))
		v->ops->late_load(v, late, len);
}

static const struct device_ops device_ops = {
    .reset = virtio_power_on,
    .quiesce = device_quiesce,
    .resume = device_resume,
    .save = virtio_save,
    .load = virtio_load,
    .announce = device_announce,
    .late_save = device_late_save,
    .late_load = device_late_load,
    .destroy = device_destroy,
};

static int kick_init(struct virtio *v, unsigned index)
{
	struct virtio_kick *kick = &v->kicks[index];

	kick->v = v;
	kick->index = index;
	kick->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kick->fd < 0)
		return -errno;
	kick->watch = watch_new(v->machine, kick->fd, on_kick, kick);
	if (!kick->watch)
		return -ENOMEM;
	watch_start(kick->watch);
	return 0;
}

int virtio_init(struct virtio *v, struct machine *machine, const struct virtio_ops *ops)
{
	int r = 0;

	v->device.ops = &device_ops;
	v->machine = machine;
	v->ops = ops;
	v->offered |= 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
		      1ull << VIRTIO_RING_F_INDIRECT_DESC;
	for (unsigned i = 0; i < v->n_queues && r == 0; i++) {
		virtq_reset(&v->queues[i], machine_ram(machine));
		r = kick_init(v, i);
	}
	return r;
}

void virtio_destroy(struct virtio *v)
{
	if (v->transport)
		v->transport->destroy(v);
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
		watch_free(v->kicks[i].watch);
		if (v->kicks[i].v && v->kicks[i].fd >= 0)
			close(v->kicks[i].fd);
	}
	v->ops->destroy(v);
}

int virtio_add(struct virtio *v, struct error *err)
{
	const struct engine_ops *engine = machine_engine(v->machine)->ops;
	int r = engine->platform == ENGINE_PV ? virtio_mmio_add(v) : virtio_pci_add(v);

	if (r < 0) {
		error_system(err, r, "cannot put %s on its bus", v->device.name);
		virtio_destroy(v);
		return r;
	}
	machine_add(v->machine, &v->device);
	return 0;
}
