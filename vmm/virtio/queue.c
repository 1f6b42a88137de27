/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/queue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "proto/le.h"

/* Offsets in the rings (virtio 1.2, 2.7.6 and 2.7.8). */
#define RING_FLAGS 0u
#define RING_IDX   2u
#define RING_ELEMS 4u

static uint16_t shared_get(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static void shared_put(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELEASE);
}

void virtq_reset(struct virtq *q, struct ram *ram)
{
	*q = (struct virtq){.ram = ram, .size = VIRTQ_SIZE};
}

/* Sizes and alignments: virtio 1.2, 2.7. The two bytes behind each ring are for events. */
int virtq_enable(struct virtq *q, bool event_idx)
{
	if (q->size == 0 || q->size > VIRTQ_SIZE || (q->size & (q->size - 1)))
		return -EINVAL;
	if ((q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return -EINVAL;
	q->desc_at = ram_at(q->ram, q->desc, 16ull * q->size);
	q->avail_at = ram_at(q->ram, q->avail, RING_ELEMS + 2ull * q->size + 2);
	q->used_at = ram_at(q->ram, q->used, RING_ELEMS + 8ull * q->size + 2);
	if (!q->desc_at || !q->avail_at || !q->used_at)
		return -EINVAL;
	q->event_idx = event_idx;
	q->enabled = true;
	return 0;
}

static int chain_add(const struct virtq *q, struct virtq_chain *chain, uint64_t gpa,
		     uint32_t len, bool in)
{
	unsigned n = chain->n_out + chain->n_in;
	void *at = ram_at(q->ram, gpa, len);

	/* The driver puts everything readable first (2.7.4.2). */
	if (!at || n == VIRTQ_SEGS || (!in && chain->n_in))
		return -EINVAL;
	chain->iov[n] = (struct iovec){.iov_base = at, .iov_len = len};
	chain->gpa[n] = gpa;
	if (in) {
		chain->n_in++;
		chain->in_len += len;
	} else {
		chain->n_out++;
		chain->out_len += len;
	}
	return 0;
}

struct table {
	const uint8_t *at;
	uint32_t count;
	bool indirect;
};

/* An indirect table: not inside another, not followed by anything (2.7.5.3.1). */
static int table_indirect(const struct virtq *q, const struct table *outer,
			  const struct vring_desc *desc, struct table *ret_table)
{
	uint32_t len = le32toh(desc->len);

	if (outer->indirect || (le16toh(desc->flags) & VRING_DESC_F_NEXT) || len == 0 ||
	    len % 16)
		return -EINVAL;
	ret_table->at = ram_at(q->ram, le64toh(desc->addr), len);
	ret_table->count = len / 16;
	ret_table->indirect = true;
	return ret_table->at ? 0 : -EINVAL;
}

static int chain_walk(const struct virtq *q, struct virtq_chain *chain)
{
	struct table table = {.at = q->desc_at, .count = q->size};
	struct vring_desc desc;
	uint32_t index = chain->head;
	uint16_t flags;
	int r;

	/* Ends at the latest when VIRTQ_SEGS is reached, so a loop does no harm. */
	for (;;) {
		if (index >= table.count)
			return -EINVAL;
		memcpy(&desc, table.at + 16ull * index, sizeof(desc));
		flags = le16toh(desc.flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			r = table_indirect(q, &table, &desc, &table);
			if (r < 0)
				return r;
			index = 0;
			continue;
		}
		r = chain_add(q, chain, le64toh(desc.addr), le32toh(desc.len),
			      flags & VRING_DESC_F_WRITE);
		if (r < 0 || !(flags & VRING_DESC_F_NEXT))
			return r;
		index = le16toh(desc.next);
	}
}

/* Asks for a notification of the next chain; the fence makes sure one is not missed. */
static uint16_t ask_and_look(struct virtq *q)
{
	uint64_t at = RING_ELEMS + 8ull * q->size;

	shared_put(q->used_at + at, q->next_avail);
	ram_mark(q->ram, q->used + at, 2);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return shared_get(q->avail_at + RING_IDX);
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t idx;
	int r;

	if (!q->enabled)
		return 0;
	idx = shared_get(q->avail_at + RING_IDX);
	if (idx == q->next_avail && q->event_idx)
		idx = ask_and_look(q);
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->size)
		return -EINVAL;
	chain->head =
	    le16_get(q->avail_at + RING_ELEMS + 2ul * (q->next_avail & (q->size - 1u)));
	chain->n_out = chain->n_in = 0;
	chain->out_len = chain->in_len = 0;
	r = chain_walk(q, chain);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	q->next_avail = (uint16_t)(q->next_avail - n);
}

void virtq_fill(struct virtq *q, unsigned ahead, uint16_t head, uint32_t len)
{
	uint64_t at = RING_ELEMS + 8ull * ((q->next_used + ahead) & (q->size - 1u));

	le32_put(q->used_at + at, head);
	le32_put(q->used_at + at + 4, len);
	ram_mark(q->ram, q->used + at, 8);
}

void virtq_publish(struct virtq *q, unsigned n)
{
	q->next_used = (uint16_t)(q->next_used + n);
	shared_put(q->used_at + RING_IDX, q->next_used);
	ram_mark(q->ram, q->used + RING_IDX, 2);
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint64_t written)
{
	chain_mark(q->ram, chain, 0, written);
	virtq_fill(q, 0, chain->head, written > UINT32_MAX ? UINT32_MAX : (uint32_t)written);
	virtq_publish(q, 1);
}

/* virtio 1.2, 2.7.7.2 and 2.7.10. */
bool virtq_wants_signal(struct virtq *q)
{
	uint16_t old = q->signalled, now = q->next_used, event;

	if (!q->enabled || old == now)
		return false;
	q->signalled = now;
	/* The used index must be out before what the driver wants is looked at. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(shared_get(q->avail_at + RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
	event = shared_get(q->avail_at + RING_ELEMS + 2ul * q->size);
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void virtq_save(const struct virtq *q, Segue__VirtioQueue *state)
{
	state->size = q->size;
	state->enabled = q->enabled;
	state->desc = q->desc;
	state->avail = q->avail;
	state->used = q->used;
	state->next_avail = q->next_avail;
	state->next_used = q->next_used;
}

int virtq_load(struct virtq *q, const Segue__VirtioQueue *state, bool event_idx)
{
	if (state->size > VIRTQ_SIZE || state->next_avail > UINT16_MAX ||
	    state->next_used > UINT16_MAX)
		return -EINVAL;
	q->size = (uint16_t)state->size;
	q->desc = state->desc;
	q->avail = state->avail;
	q->used = state->used;
	q->next_avail = (uint16_t)state->next_avail;
	q->next_used = (uint16_t)state->next_used;
	q->signalled = q->next_used;
	return state->enabled ? virtq_enable(q, event_idx) : 0;
}
