/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lz4.h>

#include "migrate/bitmap.h"
#include "migrate/codec_sparse.h"
#include "migrate/pack.h"

/*
 * Packed must be smaller than this to be sent packed: below an eighth saved, the
 * destination's unpacking is not worth it.
 */
#define PACKED_MAX (PAGES_PAGE - PAGES_PAGE / 8)

#define SPARSE_MAX 512u

struct codec_work {
	LZ4_stream_t lz4;
	uint8_t difference[PAGES_PAGE] __attribute__((aligned(64)));
	uint8_t packed[PAGES_PAGE] __attribute__((aligned(64)));
};

int codec_init(struct codec *codec, enum codec_mode mode, struct pagecache *cache,
	       struct error *err)
{
	struct codec_work *work;

	if (posix_memalign((void **)&work, 64, sizeof(*work)) != 0)
		return error_set(err, -ENOMEM, "no memory for a page codec");
	LZ4_initStream(&work->lz4, sizeof(work->lz4));
	*codec = (struct codec){ .cache = cache, .work = work };
	codec_policy_init(&codec->policy, mode);
	return 0;
}

void codec_done(struct codec *codec)
{
	free(codec->work);
	codec->work = NULL;
	packer_destroy(codec->packer);
	codec->packer = NULL;
}

uint64_t codec_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * Packs a page on its own into work->packed; its length, or PAGES_PAGE when it is not worth
 * it. A stream that is quickly reset instead of a fresh state: that would clear 16 KiB a
 * page. lz4.h wants the full reset after a failure.
 */
static uint32_t lz4_page(struct codec_work *work, const uint8_t *page)
{
	int length;

	LZ4_resetStream_fast(&work->lz4);
	length = LZ4_compress_fast_continue(&work->lz4, (const char *)page,
					    (char *)work->packed, PAGES_PAGE, PACKED_MAX, 1);
	if (length > 0)
		return (uint32_t)length;
	LZ4_initStream(&work->lz4, sizeof(work->lz4));
	return PAGES_PAGE;
}

/*
 * Packs work->difference. Short enough from the quick way is good enough; else LZ4 may find
 * more in it than zeros, the same change in every word for one.
 */
static uint32_t difference_page(struct codec_work *work)
{
	uint32_t length = codec_sparse(work->difference, work->packed, SPARSE_MAX);

	return length ? length : lz4_page(work, work->difference);
}

static void put_packed(struct codec *codec, struct pages_writer *writer, uint64_t page,
		       uint8_t *slot, enum pages_kind kind, uint32_t length)
{
	memcpy(slot, codec->work->packed, length);
	pages_put_packed(writer, page, kind, length);
	*(kind == PAGES_DELTA ? &codec->stats.delta : &codec->stats.lz4) += 1;
}

static void put_plain(struct codec *codec, struct pages_writer *writer, uint64_t page,
		      uint8_t *slot)
{
	uint64_t began;
	uint32_t length;

	if (!codec->packing && codec_policy_try(&codec->policy, PAGES_LZ4, page)) {
		began = codec_policy_timed(&codec->policy, PAGES_LZ4) ? codec_clock() : 0;
		length = lz4_page(codec->work, slot);
		codec_policy_tried(&codec->policy, PAGES_LZ4, began ? codec_clock() - began : 0,
				   length);
		if (length < PAGES_PAGE) {
			put_packed(codec, writer, page, slot, PAGES_LZ4, length);
			return;
		}
	}
	pages_put_raw(writer, page);
	codec->stats.raw++;
}

enum base { BASE_NONE, BASE_SAME, BASE_DIFFERS };

/*
 * Compares SLOT with what was last sent for the page, leaving the difference, and has the
 * cache remember SLOT.
 */
static enum base difference(struct codec *codec, unsigned region, uint32_t round, uint64_t page,
			    const uint8_t *slot)
{
	bool keep = !codec->last_round;
	struct pagecache_place place;
	enum base base = BASE_NONE;

	pagecache_hold(codec->cache, region, page, round, keep, &place);
	if (!place.data)
		return BASE_NONE;
	if (place.hit)
		base = codec_xor(codec->work->difference, slot, place.data) ? BASE_SAME
									    : BASE_DIFFERS;
	if (keep && base != BASE_SAME)
		memcpy(place.data, slot, PAGES_PAGE);
	pagecache_release(codec->cache, &place, region, page, round, keep || base == BASE_SAME);
	return base;
}

/*
 * Puts a page that has been sent before as its difference, if it can be; false when it is
 * still to be put. (A page sent for the first time is not worth remembering: most never change.)
 */
static bool put_delta(struct codec *codec, struct pages_writer *writer, uint32_t round,
		      uint64_t page, uint8_t *slot)
{
	uint64_t began;
	uint32_t length = 0;
	enum base base;

	if (!codec_policy_try(&codec->policy, PAGES_DELTA, page)) {
		pagecache_drop(codec->cache, writer->region, page);
		return false;
	}
	began = codec_policy_timed(&codec->policy, PAGES_DELTA) ? codec_clock() : 0;
	base = difference(codec, writer->region, round, page, slot);
	if (base == BASE_NONE)
		return false;
	if (base == BASE_DIFFERS)
		length = difference_page(codec->work);
	codec_policy_tried(&codec->policy, PAGES_DELTA, began ? codec_clock() - began : 0, length);
	if (base == BASE_SAME)
		codec->stats.unchanged++;
	else if (length < PAGES_PAGE)
		put_packed(codec, writer, page, slot, PAGES_DELTA, length);
	else
		return false;
	return true;
}

/*
 * The two looks at a page the guest and its devices may be writing: a race by design, since
 * what is written behind them is in the dirty log and goes out again. For the thread sanitizer
 * they are one, which it does not see: its memory of who read what is too short to be told of
 * functions by name.
 */
#ifdef __SANITIZE_THREAD__
__attribute__((noinline, no_sanitize_thread)) static void live_copy(uint8_t *slot,
								     const uint8_t *live)
{
	const volatile uint64_t *from = (const volatile uint64_t *)(const void *)live;

	for (size_t i = 0; i < PAGES_PAGE / sizeof(*from); i++) {
		uint64_t word = from[i];

		memcpy(slot + i * sizeof(word), &word, sizeof(word));
	}
}

static bool live_is_zero(const uint8_t *live)
{
	_Alignas(uint64_t) uint8_t copy[PAGES_PAGE];

	live_copy(copy, live);
	return codec_is_zero(copy);
}
#else
static bool live_is_zero(const uint8_t *live)
{
	return codec_is_zero(live);
}

static void live_copy(uint8_t *slot, const uint8_t *live)
{
	memcpy(slot, live, PAGES_PAGE);
}
#endif

int codec_put(struct codec *codec, struct pages_writer *writer, uint32_t round, uint64_t page,
	      const uint8_t *live, uint64_t *present)
{
	uint64_t done;
	uint8_t *slot;
	bool known;

	if (live_is_zero(live))
		return codec_put_hole(codec, writer, page, 1, present, &done);
	slot = pages_slot(writer);
	if (!slot)
		return -ENOBUFS;
	/* From here on only the copy counts. */
	live_copy(slot, live);
	known = bitmap_test(present, page);
	bitmap_set(present, page);
	if (!known || !codec->cache || !put_delta(codec, writer, round, page, slot))
		put_plain(codec, writer, page, slot);
	return 0;
}

static void forget(struct codec *codec, unsigned region, uint64_t first, uint64_t count)
{
	if (!codec->cache)
		return;
	for (uint64_t page = first; page < first + count; page++)
		pagecache_drop(codec->cache, region, page);
}

int codec_put_hole(struct codec *codec, struct pages_writer *writer, uint64_t first,
		   uint64_t count, uint64_t *present, uint64_t *ret_done)
{
	uint64_t at = first, end = first + count, run, n;

	while ((n = bitmap_next_run(present, at, end, &run)) != 0) {
		if (n > PAGES_RUN_MAX)
			n = PAGES_RUN_MAX;
		codec->stats.skipped += run - at;
		at = run;
		if (!pages_put_zero(writer, run, (uint32_t)n)) {
			*ret_done = at - first;
			return -ENOBUFS;
		}
		forget(codec, writer->region, run, n);
		bitmap_clear_range(present, run, n);
		codec->stats.zero += n;
		at = run + n;
	}
	codec->stats.skipped += end - at;
	*ret_done = count;
	return 0;
}
