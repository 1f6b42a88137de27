/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_BITMAP_H
#define MIGRATE_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bit a page, in words of 64, bit 0 of word 0 first. Bits behind the last page are zero
 * and stay so. Nothing here locks; what may be called from several threads at once says so.
 */
#define BITMAP_BITS 64u

static inline size_t bitmap_words(uint64_t pages)
{
	return (size_t)(pages / BITMAP_BITS + (pages % BITMAP_BITS != 0));
}

static inline bool bitmap_test(const uint64_t *words, uint64_t page)
{
	return words[page / BITMAP_BITS] >> (page % BITMAP_BITS) & 1;
}

static inline void bitmap_set(uint64_t *words, uint64_t page)
{
	words[page / BITMAP_BITS] |= UINT64_C(1) << (page % BITMAP_BITS);
}

static inline void bitmap_clear(uint64_t *words, uint64_t page)
{
	words[page / BITMAP_BITS] &= ~(UINT64_C(1) << (page % BITMAP_BITS));
}

/* All zero; NULL when memory is short. To be freed with free(). */
uint64_t *bitmap_create(uint64_t pages);

/* COUNT bits from FIRST on. The atomic ones may run in several threads over shared words. */
void bitmap_set_range(uint64_t *words, uint64_t first, uint64_t count);
void bitmap_clear_range(uint64_t *words, uint64_t first, uint64_t count);
void bitmap_set_range_atomic(uint64_t *words, uint64_t first, uint64_t count);
void bitmap_clear_range_atomic(uint64_t *words, uint64_t first, uint64_t count);

/* N counts words. */
void bitmap_or(uint64_t *to, const uint64_t *from, size_t n);
uint64_t bitmap_count(const uint64_t *words, size_t n);
bool bitmap_any(const uint64_t *words, size_t n);

/*
 * The next run of set bits within [FROM, END): its length, with *ret_first set, or 0 when
 * there is none, *ret_first untouched. Go on from *ret_first plus the length.
 */
uint64_t bitmap_next_run(const uint64_t *words, uint64_t from, uint64_t end,
			 uint64_t *ret_first);

/*
 * One round's work over one region, shared out among sender threads in chunks of
 * ROUND_CHUNK pages. Whole words belong to one chunk, so a thread may also write plain
 * per-page bitmaps of the same layout for the chunk it has taken.
 *
 * WORDS must not change from round_begin() until every thread has seen round_take() end.
 */
#define ROUND_CHUNK 256u /* pages: 1 MiB, the most raw pages one PAGES record may hold */

struct round_work {
	const uint64_t *words;
	uint64_t pages;
	_Atomic uint64_t cursor; /* first page no thread has taken yet */
};

void round_begin(struct round_work *work, const uint64_t *words, uint64_t pages);

/*
 * Takes the next chunk with a set bit in it: true, and its pages are [*ret_first, *ret_end)
 * with clear bits among them; false when the round has been shared out. Any thread.
 */
bool round_take(struct round_work *work, uint64_t *ret_first, uint64_t *ret_end);

#endif
