/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sender_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEASURE_BYTES (1u << 20) /* shorter rounds measure the round trip, not the link */

/* ---- bitmaps ---- */

/* What the memfd holds goes into the first round; what it does not hold reads as zero. */
static void region_present(const struct migrate_region *region, uint64_t *words)
{
	off_t end = (off_t)(region->pages * MIGRATE_PAGE);
	off_t data = 0, hole = 0;

	while (hole < end && (data = lseek(region->fd, hole, SEEK_DATA)) >= 0 && data < end) {
		hole = lseek(region->fd, data, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		bitmap_set_range(words, (uint64_t)data / MIGRATE_PAGE,
				 (uint64_t)(hole - data) / MIGRATE_PAGE);
	}
}

static int region_init(struct sender_region *region, const struct migrate_region *from)
{
	region->words = bitmap_words(from->pages);
	region->round = bitmap_create(from->pages);
	region->next = bitmap_create(from->pages);
	region->present = bitmap_create(from->pages);
	return region->round && region->next && region->present ? 0 : -ENOMEM;
}

int sender_regions_init(struct sender *sender, struct error *err)
{
	const struct migrate_guest *guest = sender->session.guest;

	for (unsigned i = 0; i < guest->n_regions; i++)
		if (region_init(&sender->regions[i], &guest->regions[i]))
			return error_set(err, -ENOMEM, "no memory for the dirty bitmaps");
	return 0;
}

void sender_regions_done(struct sender *sender)
{
	for (unsigned i = 0; i < SENDER_REGIONS; i++) {
		free(sender->regions[i].round);
		free(sender->regions[i].next);
		free(sender->regions[i].present);
		sender->regions[i] = (struct sender_region){0};
	}
}

static uint64_t sender_first(struct sender *sender)
{
	const struct migrate_guest *guest = sender->session.guest;
	uint64_t pages = 0;

	for (unsigned i = 0; i < guest->n_regions; i++) {
		struct sender_region *region = &sender->regions[i];

		region_present(&guest->regions[i], region->next);
		pages += bitmap_count(region->next, region->words);
	}
	return pages;
}

int sender_harvest(struct sender *sender, uint64_t *ret_pages, struct error *err)
{
	const struct migrate_guest *guest = sender->session.guest;
	uint64_t pages = 0, begun = session_now();
	int r = 0;

	for (unsigned i = 0; !r && i < guest->n_regions; i++) {
		struct sender_region *region = &sender->regions[i];

		r = guest->dirty_harvest(guest->context, i, region->next, err);
		pages += bitmap_count(region->next, region->words);
	}
	sender->harvested_at = session_now();
	sender->costs.harvest_us = (sender->harvested_at - begun) / 1000;
	*ret_pages = pages;
	return r;
}

/* What was harvested becomes the round's; the next harvest starts from nothing. */
static void sender_swap(struct sender *sender)
{
	for (unsigned i = 0; i < sender->session.guest->n_regions; i++) {
		struct sender_region *region = &sender->regions[i];
		uint64_t *was = region->round;

		region->round = region->next;
		region->next = was;
		memset(was, 0, region->words * sizeof(*was));
	}
}

/* ---- progress ---- */

static uint64_t pages_done(struct sender *sender)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < sender->n_channels; i++)
		done += atomic_load_explicit(&sender->channels[i].pages_done, memory_order_relaxed);
	return done;
}

static void show_codecs(struct sender *sender, Segue__Progress *p)
{
	struct codec_stats sum = {0};

	for (unsigned i = 0; i < sender->n_channels; i++) {
		const struct codec_stats *one = &sender->channels[i].codec.stats;

		sum.zero += one->zero + one->skipped;
		sum.unchanged += one->unchanged;
		sum.raw += one->raw;
		sum.lz4 += one->lz4;
		sum.delta += one->delta;
		sum.packed += one->packed;
	}
	p->pages_zero = sum.zero;
	p->pages_unchanged = sum.unchanged;
	p->pages_raw = sum.raw;
	p->pages_lz4 = sum.lz4;
	p->pages_delta = sum.delta;
	p->pages_packed = sum.packed;
	p->pages_sent = sum.zero + sum.raw + sum.lz4 + sum.delta;
}

/* Only when no channel works: between rounds, and after the last. */
void sender_show(struct sender *sender)
{
	struct session_progress *shown = session_show(&sender->session);
	Segue__Progress *p = &shown->progress;

	p->round = sender->round;
	p->channels = sender->n_channels;
	p->pages_dirty = sender->dirty;
	p->bytes_sent = sender_bytes(sender);
	p->bandwidth = sender->bandwidth;
	p->throttle_percent = sender->throttle;
	show_codecs(sender, p);
	session_shown(&sender->session);
}

/* Within a round: what moves while one waits. */
static void show_round(struct sender *sender, uint64_t pages, uint64_t done_before)
{
	uint64_t done = pages_done(sender) - done_before;
	struct session_progress *shown = session_show(&sender->session);

	shown->progress.round = sender->round;
	shown->progress.pages_left = done < pages ? pages - done : 0;
	shown->progress.bytes_sent = sender_bytes(sender);
	session_shown(&sender->session);
}

static void show_plan(struct sender *sender, const struct plan_output *out)
{
	struct session_progress *shown = session_show(&sender->session);

	shown->progress.dirty_rate = out->dirty_rate;
	shown->prediction.converges = out->converges;
	shown->prediction.blackout_us = out->blackout_us;
	shown->prediction.total_us = out->total_us;
	shown->prediction.bandwidth = sender->bandwidth ? sender->bandwidth : 1;
	shown->prediction.dirty_rate = out->dirty_rate;
	memcpy(shown->words, out->words, sizeof(shown->words));
	session_shown(&sender->session);
	if (sender->session.guest->progress)
		sender->session.guest->progress(sender->session.guest->context);
}

/* ---- rounds ---- */

static int time_left(struct sender *sender, struct error *err)
{
	uint64_t limit = sender->options.limits.time_limit_us;

	if (!limit || (session_now() - sender->session.started) / 1000 < limit)
		return 0;
	return error_set(err, -ETIME,
			 "the time limit of %llu s is over; the guest stays here",
			 (unsigned long long)(limit / 1000000));
}

static int round_wait(struct sender *sender, uint64_t pages, uint64_t done_before,
		      unsigned silence_ms, struct error *err)
{
	int r = 0, failure = 0;

	while (!r && !failure) {
		if (sender_round_done(sender, &failure, err) && sender->acked == sender->round)
			return 0;
		r = sender_wait(sender, 200, silence_ms, err);
		if (!r && sender->session.paused_at == 0)
			r = time_left(sender, err);
		show_round(sender, pages, done_before);
	}
	return r ? r : failure;
}

/*
 * The first round is not like the others: much of it is looking at pages that need not be
 * sent. What it tells is how long the link itself took; later rounds are taken whole, codecs
 * and all, for the last round will be like them.
 */
static uint64_t round_ns(struct sender *sender, uint64_t begun)
{
	uint64_t sum = 0, whole = session_now() - begun;

	if (sender->round > 1)
		return whole;
	for (unsigned i = 0; i < sender->n_channels; i++)
		sum += atomic_load(&sender->channels[i].sending_ns);
	sum /= sender->n_channels;
	return sum && sum < whole ? sum : whole;
}

/* Between rounds the codecs are this thread's: what the round cost them in the end. */
static void tell_codecs(struct sender *sender, uint64_t bytes)
{
	uint64_t now = session_now();

	for (unsigned i = 0; i < sender->n_channels; i++) {
		struct sender_channel *c = &sender->channels[i];
		uint64_t ended = atomic_load_explicit(&c->ended_at, memory_order_relaxed);

		codec_policy_round(&c->codec.policy, bytes, now > ended ? now - ended : 0);
	}
}

static void measure(struct sender *sender, uint64_t begun)
{
	uint64_t bytes = sender_bytes(sender) - sender->bytes_before;
	uint64_t ns = round_ns(sender, begun);
	double now;

	tell_codecs(sender, bytes);
	if (!ns || (bytes < MEASURE_BYTES && sender->bandwidth))
		return;
	now = (double)bytes * 1e9 / (double)ns;
	if (sender->round > 2 && sender->bandwidth)
		now = 0.5 * now + 0.5 * (double)sender->bandwidth;
	sender->bandwidth = (uint64_t)now;
}

void sender_round_begin(struct sender *sender, uint64_t pages)
{
	sender_swap(sender);
	sender_round_open(sender, pages);
}

static int sender_round(struct sender *sender, uint64_t pages, unsigned silence_ms,
			struct error *err)
{
	uint64_t before = pages_done(sender), begun = session_now();
	int r;

	sender_round_begin(sender, pages);
	r = round_wait(sender, pages, before, silence_ms, err);
	if (!r)
		measure(sender, begun);
	return r;
}

static void trace_round(struct sender *sender, const struct plan_round *last)
{
	char line[200];

	if (!sender->session.trace)
		return;
	snprintf(line, sizeof(line),
		 "round %u: %llu pages, %llu KiB in %.1f ms, %llu dirtied in %.1f ms, link %llu MiB/s",
		 sender->round, (unsigned long long)last->pages,
		 (unsigned long long)last->bytes >> 10, (double)last->duration_ns / 1e6,
		 (unsigned long long)last->dirty, (double)last->interval_ns / 1e6,
		 (unsigned long long)sender->bandwidth >> 20);
	sender->session.trace(sender->session.trace_context, line);
}

static void plan_now(struct sender *sender, const struct plan_round *last,
		     struct plan_output *out)
{
	struct plan_inputs in = {
		.limits = sender->options.limits,
		.costs = sender->costs,
		.bandwidth = sender->bandwidth,
		.elapsed_us = (session_now() - sender->session.started) / 1000,
		.throttle = sender->throttle,
		.last = *last,
	};

	for (unsigned i = 0; i < sender->session.guest->n_regions; i++)
		in.pages_total += sender->session.guest->regions[i].pages;
	plan_step(&sender->plan, &in, out);
	show_plan(sender, out);
}

static void set_throttle(struct sender *sender, unsigned percent)
{
	const struct migrate_guest *guest = sender->session.guest;

	if (percent == sender->throttle)
		return;
	sender->throttle = percent;
	guest->throttle(guest->context, percent);
}

/*
 * A round is a trip there and back at the least, so the shortest one bounds what the two of
 * the commit will take. WELCOME's alone would be a poor guess where it happened to be late.
 */
static void learn_trip(struct sender *sender, uint64_t round_ns)
{
	uint64_t both = 2 * round_ns / 1000 + 1;

	if (both < sender->costs.commit_us)
		sender->costs.commit_us = both;
}

/* One round of PAGES, the harvest after it and what the planner makes of both. */
static int precopy_step(struct sender *sender, uint64_t *pages, struct plan_output *out,
			struct error *err)
{
	uint64_t begun = session_now(), harvested = sender->harvested_at;
	struct plan_round last = {.pages = *pages};
	int r = sender_round(sender, *pages, SENDER_STALL_MS, err);

	if (r)
		return r;
	last.duration_ns = session_now() - begun;
	learn_trip(sender, last.duration_ns);
	last.bytes = sender_bytes(sender) - sender->bytes_before;
	r = sender_harvest(sender, &last.dirty, err);
	if (r)
		return r;
	last.interval_ns = sender->harvested_at - harvested;
	sender->dirty = last.dirty;
	sender_show(sender);
	trace_round(sender, &last);
	plan_now(sender, &last, out);
	*pages = last.dirty;
	return 0;
}

static int precopy_start(struct sender *sender, uint64_t *ret_pages, struct error *err)
{
	const struct migrate_guest *guest = sender->session.guest;
	int r = guest->dirty_start(guest->context, err);

	if (r)
		return r;
	sender->tracking = true;
	sender->harvested_at = session_now();
	*ret_pages = sender_first(sender);
	return 0;
}

int sender_precopy(struct sender *sender, struct error *err)
{
	struct plan_output out = {.verdict = PLAN_CONTINUE};
	uint64_t pages;
	int r = precopy_start(sender, &pages, err);

	while (!r && out.verdict != PLAN_SWITCH) {
		r = precopy_step(sender, &pages, &out, err);
		if (!r && out.verdict == PLAN_GIVE_UP)
			r = error_set(err, -ETIME, "%s; the guest stays here", out.words);
		if (!r && out.verdict == PLAN_THROTTLE)
			set_throttle(sender, out.throttle);
	}
	return r;
}

/* ---- dry run ---- */

/* Watches for TIMEOUT_MS, still open to a cancel. */
static int watch(struct sender *sender, unsigned timeout_ms, uint64_t *ret_dirty,
		 uint64_t *ret_interval, struct error *err)
{
	uint64_t from = sender->harvested_at, now;
	int r = 0;

	while (!r && (now = session_now()) - from < timeout_ms * UINT64_C(1000000))
		r = sender_wait(sender, timeout_ms - (unsigned)((now - from) / 1000000),
				SENDER_STALL_MS, err);
	if (r)
		return r;
	r = sender_harvest(sender, ret_dirty, err);
	*ret_interval = sender->harvested_at - from;
	sender_swap(sender);
	return r;
}

int sender_dry_run(struct sender *sender, struct error *err)
{
	struct plan_guess guess = {.limits = sender->options.limits, .costs = sender->costs};
	struct plan_output out;
	int r = 0;

	/* Whoever limits a move's bandwidth does not want the link filled, and has named a figure. */
	if ((sender->features & STREAM_FEATURE_PROBE) && !guess.limits.bandwidth_cap)
		r = sender_probe(sender, &guess.link, err);
	if (!r)
		r = precopy_start(sender, &guess.pages_used, err);
	if (r)
		return r;
	sender->bandwidth = guess.link;
	for (unsigned i = 0; i < sender->session.guest->n_regions; i++)
		guess.pages_total += sender->session.guest->regions[i].pages;
	sender_swap(sender);
	r = watch(sender, 300, &guess.dirty[0], &guess.interval_ns[0], err);
	if (!r)
		r = watch(sender, 900, &guess.dirty[1], &guess.interval_ns[1], err);
	if (r)
		return r;
	plan_predict(&guess, &out);
	show_plan(sender, &out);
	return 0;
}
