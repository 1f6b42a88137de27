/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/le.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/*
 * Memory the guest does not need goes back to the host (virtio 1.2, 5.5): pages it puts
 * into the balloon when asked, and free ones it reports by itself. Their place in the memfd
 * becomes a hole, which reads as zero, here and at a destination: so they count as written.
 */
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORT_FIRST, QUEUES = 5 };

#define TARGET_OFFSET 0u /* num_pages in the configuration */
#define ACTUAL_OFFSET 4u
#define TURN          64u   /* chains before others get their turn on the loop */
#define PFNS          1024u /* read at once */

struct balloon {
	struct virtio v;
	struct virtq_chain chain;
	Segue__VirtioBalloon saved; /* what a message under construction points to */
};

/* Makes a hole of LEN bytes at GPA, which the guest gave us and may be nonsense. */
static int discard(struct virtio *v, uint64_t gpa, uint64_t len)
{
	struct ram *ram = machine_ram(v->machine);
	const uint8_t *at = ram_at(ram, gpa, len);

	if (!at)
		return -EFAULT;
	/* A memfd that cannot have holes (huge pages not whole) keeps its content: no harm. */
	if (fallocate(ram_fd(ram), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      at - ram_base(ram), (off_t)len) == 0)
		ram_mark(ram, gpa, len);
	return 0;
}

/* An array of page numbers; neighbours, in either direction, become one hole. */
static int discard_pfns(struct virtio *v, const uint8_t *pfns, size_t n)
{
	uint64_t first = 0, pages = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = le32_get(pfns + 4 * i);

		if (pages && pfn == first + pages) {
			pages++;
			continue;
		}
		if (pages && pfn + 1 == first) {
			first--;
			pages++;
			continue;
		}
		if (pages && discard(v, first * RAM_PAGE, pages * RAM_PAGE) < 0)
			return -EFAULT;
		first = pfn;
		pages = 1;
	}
	return pages ? discard(v, first * RAM_PAGE, pages * RAM_PAGE) : 0;
}

static int inflate(struct balloon *b)
{
	uint8_t pfns[4 * PFNS];
	uint64_t offset = 0;
	size_t n;
	int r = 0;

	/* No driver has more numbers in a request than pages in its memory. */
	while (r == 0 && offset < ram_size(machine_ram(b->v.machine)) / RAM_PAGE * 4 &&
	       (n = chain_read(&b->chain, offset, pfns, sizeof(pfns))) >= 4) {
		r = discard_pfns(&b->v, pfns, n / 4);
		offset += n;
	}
	return r;
}

/* Free pages themselves are what the device may write (5.5.6.7); only whole ones count. */
static int report(struct balloon *b)
{
	const struct virtq_chain *chain = &b->chain;
	int r = 0;

	for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && r == 0; i++) {
		uint64_t start = (chain->gpa[i] + RAM_PAGE - 1) & ~(uint64_t)(RAM_PAGE - 1);
		uint64_t end =
		    (chain->gpa[i] + chain->iov[i].iov_len) & ~(uint64_t)(RAM_PAGE - 1);

		if (start < end)
			r = discard(&b->v, start, end - start);
	}
	return r;
}

static void balloon_kick(struct virtio *v, unsigned index)
{
	struct balloon *b = (struct balloon *)v;
	unsigned n = 0;
	int r = 0;

	for (; n < TURN && r == 0 && virtio_pop(v, index, &b->chain); n++) {
		if (index == QUEUE_INFLATE)
			r = inflate(b);
		else if (index >= QUEUE_REPORT_FIRST &&
			 virtio_has(v, VIRTIO_BALLOON_F_REPORTING))
			r = report(b);
		/* Deflating needs nothing: a touched hole is memory again. */
		virtio_push(v, index, &b->chain, 0);
	}
	virtio_signal(v, index);
	if (r < 0)
		virtio_broken(v);
	if (n == TURN)
		virtio_poke(v, index);
}

static void balloon_config_write(struct virtio *v, unsigned offset, const uint8_t *data,
				 unsigned len)
{
	if (offset == ACTUAL_OFFSET && len == 4)
		memcpy(v->config + ACTUAL_OFFSET, data, 4);
}

static void balloon_reset(struct virtio *v)
{
	le32_put(v->config + ACTUAL_OFFSET, 0); /* a new driver begins with an empty balloon */
}

static void balloon_save(struct virtio *v, Segue__Virtio *message)
{
	Segue__VirtioBalloon *state = &((struct balloon *)v)->saved;

	segue__virtio_balloon__init(state);
	state->target = le32_get(v->config + TARGET_OFFSET);
	state->actual = le32_get(v->config + ACTUAL_OFFSET);
	message->device_case = SEGUE__VIRTIO__DEVICE_BALLOON;
	message->balloon = state;
}

static int balloon_load(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	if (message->device_case != SEGUE__VIRTIO__DEVICE_BALLOON)
		return error_set(err, -EINVAL, "%s: its own state is missing", v->device.name);
	le32_put(v->config + TARGET_OFFSET, message->balloon->target);
	le32_put(v->config + ACTUAL_OFFSET, message->balloon->actual);
	return 0;
}

static void balloon_destroy(struct virtio *v)
{
	free(v);
}

static const struct virtio_ops balloon_ops = {
    .id = VIRTIO_ID_BALLOON,
    .kick = balloon_kick,
    .reset = balloon_reset,
    .config_write = balloon_config_write,
    .save = balloon_save,
    .load = balloon_load,
    .destroy = balloon_destroy,
};

void balloon_set_target(struct balloon *balloon, uint64_t bytes)
{
	uint64_t size = ram_size(machine_ram(balloon->v.machine));
	uint64_t pages = bytes < size ? (size - bytes) / RAM_PAGE : 0;

	le32_put(balloon->v.config + TARGET_OFFSET,
		 pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX);
	virtio_config_changed(&balloon->v);
}

uint64_t balloon_kept(const struct balloon *balloon)
{
	uint64_t size = ram_size(machine_ram(balloon->v.machine));
	uint64_t given = (uint64_t)le32_get(balloon->v.config + ACTUAL_OFFSET) * RAM_PAGE;

	return given < size ? size - given : 0;
}

int virtio_balloon_add(struct machine *machine, struct balloon **ret_balloon, struct error *err)
{
	struct balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return error_set(err, -ENOMEM, "no memory for the balloon");
	snprintf(b->v.device.name, sizeof(b->v.device.name), "balloon0");
	snprintf(b->v.device.contract, sizeof(b->v.device.contract), "virtio-balloon");
	b->v.offered =
	    1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1ull << VIRTIO_BALLOON_F_REPORTING;
	/*
	 * The reporting queue is number 4 by the specification (5.5.2), 2 for Linux, which
	 * leaves out queues whose feature was not offered. Whichever a driver uses, 2 to 4
	 * can be nothing else here.
	 */
	b->v.n_queues = QUEUES;
	b->v.config_len = 8;
	r = virtio_init(&b->v, machine, &balloon_ops);
	if (r < 0) {
		virtio_destroy(&b->v);
		return error_system(err, r, "cannot make the balloon");
	}
	r = virtio_add(&b->v, err);
	if (r == 0)
		*ret_balloon = b;
	return r;
}
