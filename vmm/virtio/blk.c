/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/le.h"
#include "vmm/virtio/devices.h"

/*
 * A disk (virtio 1.2, 5.2) with one queue. Requests are parsed here, on the loop, and
 * carried out by libuv's pool (blk_request.c), straight on guest memory.
 */
#define SEG_MAX 126u /* with header and status, a queue's half */

/* Up to the fields of features not offered (5.2.4). */
#define CONFIG_LEN offsetof(struct virtio_blk_config, unused1)

static void config_init(struct blk *blk)
{
	struct virtio_blk_config config = {0};

	_Static_assert(CONFIG_LEN <= VIRTIO_CONFIG_SIZE, "the configuration fits");
	le64_put(&config.capacity, blk->file.size / BLK_SECTOR);
	le32_put(&config.seg_max, SEG_MAX);
	le32_put(&config.blk_size, blk->file.block);
	le16_put(&config.num_queues, 1);
	le32_put(&config.max_discard_sectors, BLK_RANGE_SECTORS);
	le32_put(&config.max_discard_seg, BLK_RANGES);
	le32_put(&config.discard_sector_alignment, blk->file.block / BLK_SECTOR);
	le32_put(&config.max_write_zeroes_sectors, BLK_RANGE_SECTORS);
	le32_put(&config.max_write_zeroes_seg, BLK_RANGES);
	config.write_zeroes_may_unmap = 1;
	blk->v.config_len = CONFIG_LEN;
	memcpy(blk->v.config, &config, CONFIG_LEN);
}

static void settle(struct blk *blk);

static struct blk_request *request_new(struct blk *blk)
{
	struct blk_request *request = blk->spare;

	if (!request)
		return malloc(sizeof(*request));
	blk->spare = request->next;
	return request;
}

static void request_free(struct blk *blk, struct blk_request *request)
{
	request->next = blk->spare;
	blk->spare = request;
}

static void blk_free(struct blk *blk)
{
	while (blk->spare) {
		struct blk_request *request = blk->spare;

		blk->spare = request->next;
		free(request);
	}
	blk_file_close(&blk->file);
	pthread_cond_destroy(&blk->cond);
	pthread_mutex_destroy(&blk->lock);
	free(blk);
}

/* Hands the chain back: what was read, then the status in the last byte (5.2.6). */
static void request_answer(struct blk *blk, struct blk_request *request)
{
	const struct virtq_chain *chain = &request->chain;
	uint64_t filled = request->filled;

	if (chain->in_len) {
		chain_write(chain, chain->in_len - 1, &request->status, 1);
		chain_mark(machine_ram(blk->v.machine), chain, chain->in_len - 1, 1);
		if (filled == chain->in_len - 1)
			filled++;
	}
	virtio_push(&blk->v, 0, chain, filled);
}

/* Keeps account of what a flush would still have to make safe. */
static void request_count(struct blk *blk, struct blk_request *request)
{
	const bool ok = request->status == VIRTIO_BLK_S_OK;

	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		break;
	case VIRTIO_BLK_T_FLUSH:
		/* The kernel tells of a failure once only: what we were told, the guest must
		 * be. */
		if (request->own)
			blk->flush_failed |= !ok;
		else if (blk->flush_failed)
			request->status = VIRTIO_BLK_S_IOERR;
		if (!request->own)
			blk->flush_failed = false;
		if (ok)
			blk->flushed = request->seen;
		break;
	default:
		blk->writes++;
	}
}

static void after_work(uv_work_t *work, int cancelled)
{
	struct blk_request *request = work->data;
	struct blk *blk = request->blk;
	struct machine *machine = blk->v.machine;

	if (blk->gone) {
		free(request);
		if (--blk->v.in_flight == 0)
			blk_free(blk);
		return;
	}
	if (cancelled)
		request->status = VIRTIO_BLK_S_IOERR;
	machine_lock(machine);
	request_count(blk, request);
	if (!request->own) {
		request_answer(blk, request);
		virtio_signal(&blk->v, 0);
	}
	request_free(blk, request);
	/* The ring was left alone when too much was under way. */
	if (blk->v.in_flight == BLK_DEPTH)
		virtio_poke(&blk->v, 0);
	virtio_end(&blk->v);
	settle(blk);
	machine_unlock(machine);
}

static void work(uv_work_t *work)
{
	struct blk_request *request = work->data;
	struct blk *blk = request->blk;

	blk_request_run(request);
	pthread_mutex_lock(&blk->lock);
	if (--blk->working == 0)
		pthread_cond_signal(&blk->cond);
	pthread_mutex_unlock(&blk->lock);
}

static int request_submit(struct blk *blk, struct blk_request *request)
{
	int r;

	request->work.data = request;
	request->seen = blk->writes;
	pthread_mutex_lock(&blk->lock);
	blk->working++;
	pthread_mutex_unlock(&blk->lock);
	r = uv_queue_work(machine_loop(blk->v.machine), &request->work, work, after_work);
	if (r == 0) {
		virtio_begin(&blk->v);
		return 0;
	}
	pthread_mutex_lock(&blk->lock);
	blk->working--;
	pthread_mutex_unlock(&blk->lock);
	return r;
}

/*
 * Before the disk is quiet: through the page cache of this host written data would stay
 * here when the guest moves to another that shares the storage.
 */
static void flush_own(struct blk *blk)
{
	struct blk_request *request;

	if (blk->file.direct || blk->writes == blk->flushed)
		return;
	request = request_new(blk);
	if (!request)
		return;
	request->blk = blk;
	request->own = true;
	request->type = VIRTIO_BLK_T_FLUSH;
	if (request_submit(blk, request) < 0)
		request_free(blk, request);
}

/* Only the wish to be quiet is still under way. */
static void settle(struct blk *blk)
{
	if (!blk->settling || blk->v.in_flight != 1)
		return;
	blk->settling = false;
	flush_own(blk);
	virtio_end(&blk->v); /* the wish */
}

static void blk_quiesce(struct virtio *v)
{
	struct blk *blk = (struct blk *)v;

	if (!v->in_flight) {
		flush_own(blk);
	} else if (!blk->settling) {
		blk->settling = true;
		virtio_begin(v);
	}
}

/* Every request ends up answered: now, or by the pool. */
static void request_start(struct blk *blk, struct blk_request *request)
{
	request->blk = blk;
	request->own = false;
	if (blk_request_parse(request) && request_submit(blk, request) == 0)
		return;
	request_answer(blk, request);
	request_free(blk, request);
}

static void blk_kick(struct virtio *v, unsigned index)
{
	struct blk *blk = (struct blk *)v;
	unsigned n = 0;

	while (v->in_flight < BLK_DEPTH && n++ < VIRTQ_SIZE) {
		struct blk_request *request = request_new(blk);

		if (!request)
			break;
		if (!virtio_pop(v, index, &request->chain)) {
			request_free(blk, request);
			break;
		}
		request_start(blk, request);
	}
	virtio_signal(v, index);
	if (n > VIRTQ_SIZE)
		virtio_poke(v, index);
}

/*
 * The machine is quiet first unless it could not be built. Whatever the pool still has in
 * hand works on guest memory, so it is waited for; its callbacks come later and free us.
 */
static void blk_destroy(struct virtio *v)
{
	struct blk *blk = (struct blk *)v;

	pthread_mutex_lock(&blk->lock);
	while (blk->working)
		pthread_cond_wait(&blk->cond, &blk->lock);
	pthread_mutex_unlock(&blk->lock);
	blk->gone = true;
	v->in_flight -= blk->settling;
	if (!v->in_flight)
		blk_free(blk);
}

static const struct virtio_ops blk_ops = {
    .id = VIRTIO_ID_BLOCK,
    .kick = blk_kick,
    .quiesce = blk_quiesce,
    .destroy = blk_destroy,
};

/*
 * Features never depend on the host: a guest that moves must find the same disk. Hence
 * discarding and zeroing are always offered, and done the slow way where need be.
 */
static uint64_t features(const struct blk *blk)
{
	return 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
	       1ull << VIRTIO_BLK_F_FLUSH |
	       (blk->file.readonly
		    ? 1ull << VIRTIO_BLK_F_RO
		    : 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES);
}

static struct blk *blk_new(void)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (!blk)
		return NULL;
	blk->file.fd = -1;
	pthread_mutex_init(&blk->lock, NULL);
	pthread_cond_init(&blk->cond, NULL);
	return blk;
}

static void describe(struct blk *blk, const Segue__Disk *disk, unsigned index)
{
	struct device *device = &blk->v.device;

	snprintf(device->name, sizeof(device->name), "blk%u", index);
	snprintf(device->contract, sizeof(device->contract),
		 "virtio-blk %llu sectors, block %u%s",
		 (unsigned long long)(blk->file.size / BLK_SECTOR), blk->file.block,
		 blk->file.readonly ? ", read-only" : "");
	/* Twenty bytes, ended by a zero only when shorter (5.2.6). */
	if (disk->serial && disk->serial[0])
		memcpy(blk->serial, disk->serial, strnlen(disk->serial, sizeof(blk->serial)));
	else
		snprintf((char *)blk->serial, sizeof(blk->serial), "segue-%u", index);
}

int virtio_blk_add(struct machine *machine, const Segue__Disk *disk, unsigned index,
		   struct error *err)
{
	struct blk *blk = blk_new();
	int r;

	if (!blk)
		return error_set(err, -ENOMEM, "no memory for disk %u", index);
	r = blk_file_open(&blk->file, disk->path, disk->readonly, disk->direct, err);
	if (r < 0) {
		blk_free(blk);
		return r;
	}
	describe(blk, disk, index);
	config_init(blk);
	blk->v.offered = features(blk);
	blk->v.n_queues = 1;
	r = virtio_init(&blk->v, machine, &blk_ops);
	if (r < 0) {
		virtio_destroy(&blk->v);
		return error_system(err, r, "cannot make disk %u", index);
	}
	return virtio_add(&blk->v, err);
}
