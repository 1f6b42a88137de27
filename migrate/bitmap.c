/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/bitmap.h"

#include <stdlib.h>

uint64_t *bitmap_create(uint64_t pages)
{
	size_t n = bitmap_words(pages);

	return calloc(n ? n : 1, sizeof(uint64_t));
}

/* The bits of word WORD that lie in [FIRST, END), END behind the word's first bit. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t low = word * BITMAP_BITS;
	uint64_t mask = ~UINT64_C(0);

	if (first > low)
		mask &= ~UINT64_C(0) << (first - low);
	if (end - low < BITMAP_BITS)
		mask &= (UINT64_C(1) << (end - low)) - 1;
	return mask;
}

void bitmap_set_range(uint64_t *words, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / BITMAP_BITS; w * BITMAP_BITS < end; w++)
		words[w] |= word_mask(w, first, end);
}

void bitmap_clear_range(uint64_t *words, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / BITMAP_BITS; w * BITMAP_BITS < end; w++)
		words[w] &= ~word_mask(w, first, end);
}

/*
 * A word that already reads as wanted is left alone: rounds rewrite the same pages, and a
 * locked instruction would pull the cache line from the other threads each time.
 */
void bitmap_set_range_atomic(uint64_t *words, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / BITMAP_BITS; w * BITMAP_BITS < end; w++) {
		uint64_t mask = word_mask(w, first, end);

		if ((__atomic_load_n(&words[w], __ATOMIC_RELAXED) & mask) != mask)
			__atomic_fetch_or(&words[w], mask, __ATOMIC_RELAXED);
	}
}

void bitmap_clear_range_atomic(uint64_t *words, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / BITMAP_BITS; w * BITMAP_BITS < end; w++) {
		uint64_t mask = word_mask(w, first, end);

		if (__atomic_load_n(&words[w], __ATOMIC_RELAXED) & mask)
			__atomic_fetch_and(&words[w], ~mask, __ATOMIC_RELAXED);
	}
}

void bitmap_or(uint64_t *to, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] |= from[i];
}

uint64_t bitmap_count(const uint64_t *words, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += (uint64_t)__builtin_popcountll(words[i]);
	return count;
}

bool bitmap_any(const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (words[i])
			return true;
	return false;
}

/* The first page from FROM on, below END, whose bit is not that of FLIP (0 or all ones). */
static uint64_t next_bit(const uint64_t *words, uint64_t from, uint64_t end, uint64_t flip)
{
	uint64_t w = from / BITMAP_BITS;
	uint64_t bits;

	if (from >= end)
		return end;
	bits = (words[w] ^ flip) & ~UINT64_C(0) << (from % BITMAP_BITS);
	while (!bits) {
		if (++w * BITMAP_BITS >= end)
			return end;
		bits = words[w] ^ flip;
	}
	from = w * BITMAP_BITS + (uint64_t)__builtin_ctzll(bits);
	return from < end ? from : end;
}

uint64_t bitmap_next_run(const uint64_t *words, uint64_t from, uint64_t end,
			 uint64_t *ret_first)
{
	uint64_t first = next_bit(words, from, end, 0);

	if (first >= end)
		return 0;
	*ret_first = first;
	return next_bit(words, first, end, ~UINT64_C(0)) - first;
}

_Static_assert(ROUND_CHUNK % BITMAP_BITS == 0, "a chunk is made of whole words");

void round_begin(struct round_work *work, const uint64_t *words, uint64_t pages)
{
	work->words = words;
	work->pages = pages;
	atomic_store(&work->cursor, 0);
}

/* Clean stretches are skipped before the exchange, so that they cost no shared write. */
bool round_take(struct round_work *work, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t from = atomic_load(&work->cursor);
	uint64_t first, end;

	do {
		first = next_bit(work->words, from, work->pages, 0);
		if (first >= work->pages)
			return false;
		first -= first % ROUND_CHUNK;
		end = first + ROUND_CHUNK;
		if (end > work->pages)
			end = work->pages;
	} while (!atomic_compare_exchange_weak(&work->cursor, &from, end));
	*ret_first = first;
	*ret_end = end;
	return true;
}
