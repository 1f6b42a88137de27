// SPDX-License-Identifier: Apache-2.0
/* Memory that is there, and memory that comes with its first touch. */
#include "pv_micro.h"

#include <stddef.h>
#include <sys/mman.h>

#define SIZE        (128 * MIB)
#define LINES       (SIZE / 64)
#define WORDS       (SIZE / 8)
#define FRESH       (32 * MIB)
#define FRESH_PAGES (FRESH / PAGE)

static uint64_t *memory;

static void release(void)
{
	munmap(memory, SIZE);
}

static void fill(bool huge)
{
	memory = micro_map(SIZE, huge);
	for (uint64_t i = 0; i < WORDS; i++)
		memory[i] = i;
}

static void fill_small(void)
{
	fill(false);
}

static void fill_huge(void)
{
	fill(true);
}

/* One half to the other. */
static uint64_t stream(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--) {
		uint64_t *to = memory, *from = memory + WORDS / 2;

		for (uint64_t i = 0; i < WORDS / 2; i++)
			to[i] = from[i] + n;
		__asm__ volatile("" : : "r"(memory) : "memory");
	}
	return micro_now() - begin;
}

/* Each line names another, all of them in one ring (Sattolo's shuffle). */
static void ring(bool huge)
{
	uint64_t x = 88172645463325252ull;

	fill(huge);
	for (uint64_t i = 0; i < LINES; i++)
		memory[i * 8] = i;
	for (uint64_t i = LINES - 1; i > 0; i--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;

		uint64_t j = x % i, t = memory[i * 8];

		memory[i * 8] = memory[j * 8];
		memory[j * 8] = t;
	}
}

static void ring_small(void)
{
	ring(false);
}

static void ring_huge(void)
{
	ring(true);
}

static uint64_t chase(uint64_t n)
{
	uint64_t begin = micro_now();
	uint64_t at = 0;

	while (n--)
		at = memory[at * 8];
	__asm__ volatile("" : : "r"(at));
	return micro_now() - begin;
}

static uint64_t touch(uint64_t n, uint64_t factor, uint64_t step)
{
	uint64_t ns = 0;

	while (n) {
		char *fresh = micro_map(FRESH, false);
		uint64_t now = n < FRESH_PAGES ? n : FRESH_PAGES, at = 0, begin = micro_now();

		n -= now;
		while (now--) {
			fresh[at * PAGE] = 1;
			at = (at * factor + step) % FRESH_PAGES;
		}
		ns += micro_now() - begin;
		munmap(fresh, FRESH);
	}
	return ns;
}

static uint64_t touch_sequence(uint64_t n)
{
	return touch(n, 1, 1);
}

/* A generator whose period is all pages: FRESH_PAGES is a power of two. */
static uint64_t touch_random(uint64_t n)
{
	return touch(n, 1237, 3571);
}

const struct micro micro_memory[] = {
    {"mem-stream", BYTES_PER_NS, SIZE, fill_small, stream, release},
    {"mem-random", PER_OP_NS, 0, ring_small, chase, release},
    {"mem-stream-huge", BYTES_PER_NS, SIZE, fill_huge, stream, release},
    {"mem-random-huge", PER_OP_NS, 0, ring_huge, chase, release},
    {"touch-sequence", PER_OP_NS, 0, NULL, touch_sequence, NULL},
    {"touch-random", PER_OP_NS, 0, NULL, touch_random, NULL},
    {0},
};
