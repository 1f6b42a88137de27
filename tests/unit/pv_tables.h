/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PV_TABLES_H
#define TESTS_UNIT_PV_TABLES_H

/* Page tables as a guest keeps them, for tests: written without looking at vmm/engine/pv. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest/abi.h"
#include "vmm/ram.h"

#define PTE_READ  (SEGUE_PV_PTE_P | SEGUE_PV_PTE_A | SEGUE_PV_PTE_U)
#define PTE_WRITE (PTE_READ | SEGUE_PV_PTE_D | SEGUE_PV_PTE_W)
#define PTE_ALL   (PTE_WRITE | SEGUE_PV_PTE_X)

/* Tables are handed out from .next up; below that is whatever the test wants there. */
struct pv_tables {
	struct ram *ram;
	uint64_t next;
};

static inline uint64_t *tables_word(struct ram *ram, uint64_t gpa, unsigned index)
{
	uint64_t *table = ram_at(ram, gpa, 4096);

	if (!table)
		abort();
	return &table[index];
}

static inline uint64_t tables_new(struct pv_tables *t)
{
	uint64_t gpa = t->next;

	t->next += 4096;
	tables_word(t->ram, gpa, 0); /* aborts where RAM is at its end */
	return gpa;
}

/* The entry of VA, with the tables above it made as they are needed. */
static inline uint64_t *tables_entry(struct pv_tables *t, uint64_t root, uint64_t va)
{
	uint64_t *top = tables_word(t->ram, root, va >> 30 & 511), *mid;

	if (!(*top & SEGUE_PV_PTE_P))
		*top = tables_new(t) | SEGUE_PV_PTE_P;
	mid = tables_word(t->ram, *top & SEGUE_PV_PTE_ADDRESS, va >> 21 & 511);
	if (!(*mid & SEGUE_PV_PTE_P))
		*mid = tables_new(t) | SEGUE_PV_PTE_P;
	return tables_word(t->ram, *mid & SEGUE_PV_PTE_ADDRESS, va >> 12 & 511);
}

/* A seed to go on from, printed: SEED in the environment repeats a run. */
static inline uint64_t random_seed(uint64_t usual)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : usual;

	printf("SEED=%llu ", (unsigned long long)seed);
	fflush(stdout);
	return seed ? seed : 1;
}

static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return (random_next(state) >> 16) % n;
}

#endif
