/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sender_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Data channels. Each has a thread; in a round they take chunks of the regions in turn
 * until there are none left, then say ROUND_END. A round too small to be worth waking
 * anybody for is sent by the migration thread itself, over the same channels.
 */
#define SMALL_ROUND 128u /* pages */

static int channel_flush(struct sender_channel *c, struct error *err)
{
	struct sender *s = c->sender;
	const uint8_t *record;
	uint64_t begun;
	size_t len;
	int r;

	if (pages_empty(&c->writer))
		return 0;
	r = codec_seal(&c->codec, &c->writer, &c->channel.writer, s->round, &record, &len, err);
	if (!r)
		r = ratelimit_take(&s->limit, len, &s->stop);
	if (r)
		return error_set(err, r, "%s: stopped", c->channel.name);
	begun = session_now();
	r = channel_send(&c->channel, &(struct iovec){(void *)(uintptr_t)record, len}, 1);
	if (r)
		return error_system(err, r, "%s", c->channel.name);
	begun = session_now() - begun;
	codec_policy_link(&c->codec.policy, len, begun);
	atomic_fetch_add_explicit(&c->sending_ns, begun, memory_order_relaxed);
	codec_begin(&c->codec, &c->writer, c->writer.region);
	return 0;
}

static int channel_page(struct sender_channel *c, const uint8_t *base, uint64_t *present,
			uint64_t page, struct error *err)
{
	const uint8_t *live = base + page * MIGRATE_PAGE;
	int r = codec_put(&c->codec, &c->writer, c->sender->round, page, live, present);

	if (r != -ENOBUFS)
		return r;
	r = channel_flush(c, err);
	return r ? r : codec_put(&c->codec, &c->writer, c->sender->round, page, live, present);
}

static int channel_run(struct sender_channel *c, unsigned region, uint64_t from, uint64_t end,
		       struct error *err)
{
	const uint8_t *base = c->sender->session.guest->regions[region].base;
	struct sender_region *info = &c->sender->regions[region];
	uint64_t first, n;
	int r = 0;

	while (!r && (n = bitmap_next_run(info->round, from, end, &first))) {
		for (from = first; !r && from < first + n; from++)
			r = channel_page(c, base, info->present, from, err);
		atomic_fetch_add_explicit(&c->pages_done, n, memory_order_relaxed);
	}
	return r;
}

/* Holes are told as zeroes unread: reading a hole of a memfd would fill it. */
static int channel_hole(struct sender_channel *c, unsigned region, uint64_t from, uint64_t end,
			struct error *err)
{
	struct sender_region *info = &c->sender->regions[region];
	uint64_t first, n, done;
	int r = 0;

	while (!r && (n = bitmap_next_run(info->round, from, end, &first))) {
		r = codec_put_hole(&c->codec, &c->writer, first, n, info->present, &done);
		from = first + (r == -ENOBUFS ? done : n);
		if (r == -ENOBUFS)
			r = channel_flush(c, err);
		atomic_fetch_add_explicit(&c->pages_done, from - first, memory_order_relaxed);
	}
	return r;
}

/*
 * mincore() takes one call for a chunk, but does not tell a hole from a page that is swapped
 * out; SEEK_DATA does, a page at a time. (SEEK_HOLE would walk the whole memfd.)
 */
static bool page_is_hole(int fd, uint64_t page, unsigned char resident)
{
	off_t at = (off_t)(page * MIGRATE_PAGE);

	return !(resident & 1) && lseek(fd, at, SEEK_DATA) != at;
}

/* The page at which the kind of FROM's memory (data or hole) ends, at most END. */
static uint64_t extent_end(int fd, uint64_t from, uint64_t end, const unsigned char *resident,
			   bool *ret_hole)
{
	uint64_t page = from + 1;

	*ret_hole = page_is_hole(fd, from, resident[0]);
	while (page < end && page_is_hole(fd, page, resident[page - from]) == *ret_hole)
		page++;
	return page;
}

static int channel_chunk(struct sender_channel *c, unsigned region, uint64_t from, uint64_t end,
			 struct error *err)
{
	const struct migrate_region *ram = &c->sender->session.guest->regions[region];
	unsigned char resident[ROUND_CHUNK], *at = resident;
	int r = 0;

	/* The first round's bitmap is what the memfd holds: no holes in it. */
	if (c->sender->round == 1 ||
	    mincore(ram->base + from * MIGRATE_PAGE, (end - from) * MIGRATE_PAGE, resident))
		return channel_run(c, region, from, end, err);
	while (!r && from < end) {
		bool hole;
		uint64_t stop = extent_end(ram->fd, from, end, at, &hole);

		r = hole ? channel_hole(c, region, from, stop, err)
			 : channel_run(c, region, from, stop, err);
		at += stop - from;
		from = stop;
	}
	return r;
}

static int channel_region(struct sender_channel *c, unsigned region, struct error *err)
{
	struct round_work *work = &c->sender->regions[region].work;
	uint64_t first, end;
	int r = 0;

	codec_begin(&c->codec, &c->writer, region);
	while (!r && round_take(work, &first, &end)) {
		if (atomic_load_explicit(&c->sender->stop, memory_order_relaxed))
			return error_set(err, -ECANCELED, "%s: stopped", c->channel.name);
		r = channel_chunk(c, region, first, end, err);
	}
	return r ? r : channel_flush(c, err);
}

static int channel_round(struct sender_channel *c, struct error *err)
{
	struct sender *s = c->sender;
	int r = 0;

	for (unsigned i = 0; !r && i < s->session.guest->n_regions; i++)
		r = channel_region(c, i, err);
	if (!r)
		r = record_send(&c->channel, STREAM_ROUND_END, s->round, NULL, 0, err);
	atomic_store_explicit(&c->ended_at, session_now(), memory_order_relaxed);
	return r;
}

/* Lock held. */
static void channel_failed(struct sender *s, const struct error *err)
{
	if (!s->failure.code)
		s->failure = *err;
	atomic_store(&s->stop, true);
	for (unsigned i = 0; i < s->n_channels; i++)
		channel_shut(&s->channels[i].channel);
}

static void channel_ended(struct sender_channel *c, const struct error *err)
{
	struct sender *s = c->sender;
	bool last;

	pthread_mutex_lock(&s->lock);
	if (err->code)
		channel_failed(s, err);
	last = --s->busy == 0;
	pthread_mutex_unlock(&s->lock);
	if (last || err->code)
		session_wake(&s->session);
}

/* Waits for a round later than DONE; 0 when the threads are to end. */
static uint32_t channel_next(struct sender *s, uint32_t done)
{
	uint32_t round;

	pthread_mutex_lock(&s->lock);
	while (s->round_open == done && !atomic_load(&s->stop))
		pthread_cond_wait(&s->go, &s->lock);
	round = atomic_load(&s->stop) ? 0 : s->round_open;
	pthread_mutex_unlock(&s->lock);
	return round;
}

static void *channel_main(void *argument)
{
	struct sender_channel *c = argument;
	uint32_t round = 0;

	pthread_setname_np(pthread_self(), "send");
	while ((round = channel_next(c->sender, round))) {
		struct error err = {0};

		channel_round(c, &err);
		channel_ended(c, &err);
	}
	return NULL;
}

static int channel_start(struct sender_channel *c, struct error *err)
{
	struct sender *s = c->sender;
	int r = codec_init(&c->codec, s->options.codec, s->cache, err);

	if (r)
		return r;
	if (posix_memalign((void **)&c->area, MIGRATE_PAGE, pages_area(PAGES_STAGING))) {
		c->area = NULL;
		return error_set(err, -ENOMEM, "no memory to send pages from");
	}
	pages_init(&c->writer, c->area, PAGES_STAGING);
	if (s->features & STREAM_FEATURE_PACKED)
		r = codec_allow_packing(&c->codec, pages_area(PAGES_STAGING), err);
	if (r)
		return r;
	r = pthread_create(&c->thread, NULL, channel_main, c);
	if (r)
		return error_system(err, -r, "cannot start a sender thread");
	c->started = true;
	return 0;
}

int sender_channels_start(struct sender *sender, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; !r && i < sender->n_channels; i++)
		r = channel_start(&sender->channels[i], err);
	return r;
}

void sender_channels_stop(struct sender *sender)
{
	pthread_mutex_lock(&sender->lock);
	atomic_store(&sender->stop, true);
	for (unsigned i = 0; i < sender->n_channels; i++)
		channel_shut(&sender->channels[i].channel);
	pthread_cond_broadcast(&sender->go);
	pthread_mutex_unlock(&sender->lock);
	for (unsigned i = 0; i < sender->n_channels; i++) {
		struct sender_channel *c = &sender->channels[i];

		if (c->started)
			pthread_join(c->thread, NULL);
		c->started = false;
		codec_done(&c->codec);
		free(c->area);
		c->area = NULL;
	}
}

/* All channels by one thread: what there is goes over the first, the others end the round. */
static void round_inline(struct sender *s)
{
	for (unsigned i = 0; i < s->n_channels; i++) {
		struct error err = {0};

		channel_round(&s->channels[i], &err);
		if (!err.code)
			continue;
		pthread_mutex_lock(&s->lock);
		channel_failed(s, &err);
		pthread_mutex_unlock(&s->lock);
		return;
	}
}

void sender_round_open(struct sender *sender, uint64_t pages)
{
	sender->round++;
	sender->bytes_before = sender_bytes(sender);
	for (unsigned i = 0; i < sender->session.guest->n_regions; i++) {
		struct sender_region *region = &sender->regions[i];

		round_begin(&region->work, region->round,
			    sender->session.guest->regions[i].pages);
	}
	if (pages <= SMALL_ROUND) {
		round_inline(sender);
		return;
	}
	pthread_mutex_lock(&sender->lock);
	sender->busy = sender->n_channels;
	sender->round_open = sender->round;
	pthread_cond_broadcast(&sender->go);
	pthread_mutex_unlock(&sender->lock);
}

bool sender_round_done(struct sender *sender, int *ret_failure, struct error *err)
{
	bool done;

	pthread_mutex_lock(&sender->lock);
	done = sender->busy == 0 || sender->failure.code;
	*ret_failure = sender->failure.code;
	if (sender->failure.code)
		error_set(err, sender->failure.code, "%s", sender->failure.text);
	pthread_mutex_unlock(&sender->lock);
	return done;
}

uint64_t sender_bytes(struct sender *sender)
{
	uint64_t bytes = atomic_load(&sender->control.sent);

	for (unsigned i = 0; i < sender->n_channels; i++)
		bytes += atomic_load(&sender->channels[i].channel.sent);
	return bytes;
}
