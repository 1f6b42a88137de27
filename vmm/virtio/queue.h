/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio.pb-c.h"
#include "vmm/ram.h"

/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7). What is in the rings belongs to
 * the guest: every index, address and length is checked, each is read once. A ring that
 * breaks the rules makes virtq_pop() fail, after which the queue must not be used until it
 * is set up again.
 *
 * Machine lock held for every call; the guest's vCPUs may be running.
 */
#define VIRTQ_SIZE 256u /* descriptors at most; a power of two */
#define VIRTQ_SEGS 256u /* buffers in one chain at most */

struct virtq {
	struct ram *ram;
	/* Set up by the driver. */
	uint16_t size;
	bool enabled;
	uint64_t desc, avail, used; /* gpa */
	/* From enabling on. */
	bool event_idx;
	uint8_t *desc_at, *avail_at, *used_at; /* hva */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t signalled; /* next_used when the driver was last considered for a signal */
};

/* One request: what the device may read (out) comes first, then what it may write (in). */
struct virtq_chain {
	uint16_t head;
	unsigned n_out, n_in;
	uint64_t out_len, in_len;
	struct iovec iov[VIRTQ_SEGS];
	uint64_t gpa[VIRTQ_SEGS];
};

/* Not enabled, of the largest size. */
void virtq_reset(struct virtq *q, struct ram *ram);
/* -EINVAL unless size, alignment and place of all three parts are right. */
int virtq_enable(struct virtq *q, bool event_idx);

/* The next chain: 1; none: 0, and the driver will notify of the next; -EINVAL: broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);
/* Takes back the last N pops; nothing may have been pushed for them. */
void virtq_unpop(struct virtq *q, unsigned n);
/* Hands a chain back, the first WRITTEN bytes of its in part now filled. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint64_t written);
/*
 * The same for several chains that must appear at once: fill says that chain HEAD, the
 * AHEADth after those handed back so far, was written LEN bytes, marked by the caller;
 * publish hands back the next N.
 */
void virtq_fill(struct virtq *q, unsigned ahead, uint16_t head, uint32_t len);
void virtq_publish(struct virtq *q, unsigned n);
/* Whether the driver wants an interrupt for what was pushed since it was last asked. */
bool virtq_wants_signal(struct virtq *q);

void virtq_save(const struct virtq *q, Segue__VirtioQueue *state);
/* Into a queue that was reset. -EINVAL as virtq_enable(). */
int virtq_load(struct virtq *q, const Segue__VirtioQueue *state, bool event_idx);

/* Copies to or from OFFSET in the out or in part; returns how many bytes there were. */
size_t chain_read(const struct virtq_chain *chain, uint64_t offset, void *to, size_t len);
size_t chain_write(const struct virtq_chain *chain, uint64_t offset, const void *from,
		   size_t len);
/*
 * Fills IOV (VIRTQ_SEGS entries) with the LEN bytes from OFFSET on of the out or in part,
 * or as many as there are; returns how many entries that took.
 */
unsigned chain_slice(const struct virtq_chain *chain, bool in, uint64_t offset, uint64_t len,
		     struct iovec *iov);
/* Marks LEN bytes from OFFSET on of the in part; virtq_push() does it by itself. */
void chain_mark(struct ram *ram, const struct virtq_chain *chain, uint64_t offset,
		uint64_t len);

#endif
