/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#define MAGIC          0x74726976u /* "virt" */
#define WRITES         2u          /* VRING_DESC_F_WRITE */
#define VERSION_1_HIGH (1u << (VIRTIO_F_VERSION_1 - 32))

uint64_t io_read(uint64_t space, uint64_t address, uint64_t bytes)
{
	return (uint64_t)hv(SEGUE_PV_IO_READ, space, address, bytes);
}

int64_t io_write(uint64_t space, uint64_t address, uint64_t bytes, uint64_t value)
{
	return hv6(SEGUE_PV_IO_WRITE, space, address, bytes, value, 0, 0);
}

uint32_t virtio_read(const struct virtio *v, uint32_t reg)
{
	return (uint32_t)io_read(SEGUE_PV_MEMORY, v->address + reg, 4);
}

void virtio_write(const struct virtio *v, uint32_t reg, uint32_t value)
{
	io_write(SEGUE_PV_MEMORY, v->address + reg, 4, value);
}

bool virtio_find(uint32_t type, struct virtio *v)
{
	const struct segue_pv_device *d = at(boot->devices);

	for (uint32_t i = 0; i < boot->n_devices; i++) {
		*v = (struct virtio){.address = d[i].address, .line = d[i].line};
		if (virtio_read(v, VIRTIO_MMIO_MAGIC_VALUE) == MAGIC &&
		    virtio_read(v, VIRTIO_MMIO_VERSION) == 2 &&
		    virtio_read(v, VIRTIO_MMIO_DEVICE_ID) == type)
			return true;
	}
	return false;
}

static void write_gpa(const struct virtio *v, uint32_t low, const volatile void *p)
{
	virtio_write(v, low, (uint32_t)gpa_of(p));
	virtio_write(v, low + 4, (uint32_t)(gpa_of(p) >> 32));
}

static bool negotiate(const struct virtio *v)
{
	virtio_write(v, VIRTIO_MMIO_STATUS, 0);
	virtio_write(v, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_write(v, VIRTIO_MMIO_STATUS,
		     VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	virtio_write(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	if (!(virtio_read(v, VIRTIO_MMIO_DEVICE_FEATURES) & VERSION_1_HIGH))
		return false;
	virtio_write(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	virtio_write(v, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	virtio_write(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	virtio_write(v, VIRTIO_MMIO_DRIVER_FEATURES, VERSION_1_HIGH);
	virtio_write(v, VIRTIO_MMIO_STATUS,
		     VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			 VIRTIO_CONFIG_S_FEATURES_OK);
	return virtio_read(v, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

bool virtio_start(struct virtio *v, uint32_t queue)
{
	if (!negotiate(v))
		return false;
	v->queue = queue;
	v->seen = 0;
	v->ring = at(page_new());
	virtio_write(v, VIRTIO_MMIO_QUEUE_SEL, queue);
	if (virtio_read(v, VIRTIO_MMIO_QUEUE_NUM_MAX) < QUEUE)
		return false;
	virtio_write(v, VIRTIO_MMIO_QUEUE_NUM, QUEUE);
	write_gpa(v, VIRTIO_MMIO_QUEUE_DESC_LOW, v->ring->desc);
	write_gpa(v, VIRTIO_MMIO_QUEUE_AVAIL_LOW, &v->ring->avail);
	write_gpa(v, VIRTIO_MMIO_QUEUE_USED_LOW, &v->ring->used);
	virtio_write(v, VIRTIO_MMIO_QUEUE_READY, 1);
	virtio_write(v, VIRTIO_MMIO_STATUS,
		     virtio_read(v, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	return virtio_read(v, VIRTIO_MMIO_QUEUE_READY) == 1;
}

void virtio_submit(struct virtio *v, uint64_t gpa, uint32_t len, bool in)
{
	volatile struct virtio_ring *r = v->ring;
	uint16_t slot = r->avail.idx % QUEUE;

	r->desc[slot].gpa = gpa;
	r->desc[slot].len = len;
	r->desc[slot].flags = in ? WRITES : 0;
	r->avail.ring[slot] = slot;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->avail.idx++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	virtio_write(v, VIRTIO_MMIO_QUEUE_NOTIFY, v->queue);
}

int64_t virtio_poll(struct virtio *v)
{
	uint16_t at_used = v->seen % QUEUE;

	if (__atomic_load_n(&v->ring->used.idx, __ATOMIC_ACQUIRE) == v->seen)
		return -1;
	v->seen++;
	return v->ring->used.ring[at_used].len;
}

void virtio_acknowledge(const struct virtio *v)
{
	virtio_write(v, VIRTIO_MMIO_INTERRUPT_ACK,
		     virtio_read(v, VIRTIO_MMIO_INTERRUPT_STATUS));
}

int64_t virtio_request(struct virtio *v, uint64_t gpa, uint32_t len, bool in)
{
	uint64_t end = clock_ns() + 5000 * MS;
	int64_t done;

	virtio_submit(v, gpa, len, in);
	while ((done = virtio_poll(v)) < 0)
		if (clock_ns() > end)
			return -1;
	/* The buffer is there before its interrupt, which is not to come out of the blue later.
	 */
	while (!virtio_read(v, VIRTIO_MMIO_INTERRUPT_STATUS))
		if (clock_ns() > end)
			return -1;
	virtio_acknowledge(v);
	return done;
}
