/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PV_SPACES_H
#define TESTS_UNIT_PV_SPACES_H

/* Address spaces of a guest and their shadows, for tests that look at single answers. */
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/shadow.h"

#define MIB   (1ull << 20)
#define DATA  0x1000ull /* the first data page; tables lie below */
#define VA    0x40000000ull
#define BEGIN SEGUE_PV_USER_BEGIN
#define END   SEGUE_PV_VA_END

static struct ram *ram;
static struct pv_tables tables;
static struct pv_shadow_set *set;
static struct pv_fault f;
static struct pv_map map;

static inline void fresh_with(uint64_t bytes, const struct pv_shadow_limits *limits)
{
	pv_shadow_set_destroy(set);
	ram_destroy(ram);
	set = NULL;
	ram = NULL;
	CU_ASSERT_EQUAL_FATAL(ram_create(bytes, &ram, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pv_shadow_set_create(ram, limits, &set, NULL), 0);
	tables = (struct pv_tables){.ram = ram, .next = 4096};
}

static inline void fresh(unsigned around)
{
	struct pv_shadow_limits limits = pv_shadow_usual;

	limits.around = around;
	fresh_with(64 * MIB, &limits);
}

struct space {
	uint64_t root;
	struct pv_shadow *shadow;
};

static inline struct space space_in(enum pv_mode mode, uint64_t begin, uint64_t end)
{
	struct space s = {.root = tables_new(&tables)};

	CU_ASSERT_EQUAL_FATAL(pv_shadow_create(set, s.root, mode, begin, end, NULL, &s.shadow),
			      0);
	return s;
}

static inline struct space space(void)
{
	return space_in(PV_USER, BEGIN, END);
}

static inline void entry(const struct space *s, uint64_t va, uint64_t page, uint64_t bits)
{
	*tables_entry(&tables, s->root, va) = page * 4096 | bits;
}

static inline enum pv_answer fault(const struct space *s, uint64_t va, int access)
{
	CU_ASSERT_EQUAL_FATAL(pv_shadow_fault(s->shadow, va, access, &f), 0);
	return f.answer;
}

static inline bool order_is(const struct pv_map *m, uint64_t va, uint64_t page, uint64_t pages,
			    int prot)
{
	return m->op == PV_MAP && m->va == va && m->offset == page * 4096 &&
	       m->pages == pages && m->prot == prot;
}

/* One order, of one page. */
static inline bool maps_one(const struct space *s, uint64_t va, int access, uint64_t page,
			    int prot)
{
	return fault(s, va, access) == PV_FAULT_MAP && f.n == 1 &&
	       order_is(f.maps, va & ~4095ull, page, 1, prot);
}

static inline bool reflects(const struct space *s, uint64_t va, int access, uint32_t error)
{
	return fault(s, va, access) == PV_FAULT_REFLECT && f.n == 0 && f.error == error;
}

static inline bool unmaps(uint64_t va, uint64_t pages)
{
	return map.op == PV_UNMAP && map.va == va && map.pages == pages;
}

#endif
