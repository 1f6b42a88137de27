/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PV_MODEL_H
#define TESTS_UNIT_PV_MODEL_H

/*
 * The guest and the processes that test_pv_shadow_model.c holds shadows against: page tables as
 * the guest sees them, and arrays of what is mapped, changed by nothing but the orders.
 */
#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/shadow.h"

#define RAM_BYTES (16ull << 20)
#define PAGES     (RAM_BYTES / 4096)
#define DATA      2048u /* data pages from here up, tables below */
#define ROOTS     3u
#define KERNEL    2u   /* this root is the kernel's */
#define PLACES    704u /* addresses in play, a root */
#define HISTORY   12u

#define MUST(what) CU_ASSERT_TRUE_FATAL(what)

struct mapped {
	uint32_t page;
	int prot;     /* 0: nothing mapped */
	bool written; /* as a host's kernel would know */
};

/* What the entry of one place has given since its last flush. */
struct given {
	unsigned n;
	struct {
		uint32_t page;
		int prot;
	} was[HISTORY];
};

struct model {
	uint64_t seed;
	struct pv_tables tables;
	struct pv_shadow_limits limits;
	struct pv_shadow_set *set;
	struct pv_shadow *shadow[ROOTS];
	uint64_t root[ROOTS];
	unsigned maps_limit[ROOTS];
	uint64_t places[PLACES]; /* page numbers, ascending */
	struct mapped host[ROOTS][PLACES];
	struct given given[ROOTS][PLACES];

	enum pv_track track;
	bool written[PAGES]; /* since the last harvest */
	bool lost[PAGES];    /* writable mappings of these have gone */
	uint64_t log[PAGES / 64];
};
extern struct model m;

unsigned model_below(unsigned n); /* a random number */
uint64_t model_begin(unsigned r); /* of root R's addresses */
bool model_own(unsigned r, unsigned place);
void model_lay_out(void);
unsigned model_place(uint64_t number); /* the first at that page number or behind */

/* What the guest's tables say now; false: nothing is there. */
bool model_walk(unsigned r, uint64_t number, uint32_t *ret_page, int *ret_prot);
/* Remembers that, as given. */
void model_note_given(unsigned r, unsigned place);

/* The orders of root R's shadow; the test fails where one is wrong. */
void model_carry_out(unsigned r, const struct pv_map *maps, unsigned n);

/* Everything the shadows say, against the arrays. */
void model_check_counts(void);
void model_check_all(void);

#endif
