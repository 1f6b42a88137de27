/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PROBE_VIRTIO_H
#define GUEST_PROBE_VIRTIO_H

#include "probe.h"

/* One queue of one virtio device over memory-mapped registers (virtio 1.2, 4.2.2). */
#define QUEUE 8u

struct virtio_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
};

struct virtio_ring { /* a page; the parts as 2.7 wants them aligned */
	struct virtio_desc desc[QUEUE];
	struct {
		uint16_t flags, idx, ring[QUEUE], event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE];
		uint16_t event;
	} used __attribute__((aligned(4)));
};

struct virtio {
	uint64_t address;
	uint32_t line;
	uint32_t queue;
	volatile struct virtio_ring *ring;
	uint16_t seen; /* of used.idx */
};

uint32_t virtio_read(const struct virtio *v, uint32_t reg);
void virtio_write(const struct virtio *v, uint32_t reg, uint32_t value);
/* The first device of that type; false: there is none. */
bool virtio_find(uint32_t type, struct virtio *v);
/* Resets it and makes it ready with QUEUE alone; false: it does not agree. */
bool virtio_start(struct virtio *v, uint32_t queue);
/* One buffer, which the device reads or (IN) writes; the bytes written, or -1. */
int64_t virtio_request(struct virtio *v, uint64_t gpa, uint32_t len, bool in);
/* The same without waiting, and whether and how it has ended: -1 not yet. */
void virtio_submit(struct virtio *v, uint64_t gpa, uint32_t len, bool in);
int64_t virtio_poll(struct virtio *v);
void virtio_acknowledge(const struct virtio *v);

uint64_t io_read(uint64_t space, uint64_t address, uint64_t bytes);
int64_t io_write(uint64_t space, uint64_t address, uint64_t bytes, uint64_t value);

#endif
