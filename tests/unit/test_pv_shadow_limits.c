/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/pv_spaces.h"

static void fill_space(const struct space *s, uint64_t va, unsigned pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		entry(s, va + i * 8192, DATA + i, PTE_READ);
		CU_ASSERT_EQUAL_FATAL(fault(s, va + i * 8192, PROT_READ), PV_FAULT_MAP);
	}
}

static void test_own_limit(void)
{
	struct pv_shadow_limits limits = {100, 10000, 64 * MIB, 16};
	struct space s;
	unsigned evictions = 0;

	fresh_with(64 * MIB, &limits);
	s = space();
	for (uint64_t i = 0; i < 4096; i++)
		entry(&s, VA + i * 4096, DATA + i * 5 % 4096, PTE_WRITE);
	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t va = VA + i * 1237 % 4096 * 4096;

		CU_ASSERT_EQUAL(fault(&s, va, PROT_WRITE), PV_FAULT_MAP);
		CU_ASSERT_TRUE_FATAL(pv_shadow_maps(s.shadow) <= 100);
		evictions += f.maps[0].op == PV_UNMAP;
	}
	CU_ASSERT_TRUE(evictions > 100 && evictions < 8000); /* stretches, not page by page */
}

static void test_limit_of_one(void)
{
	struct space s;

	fresh(1);
	s = space();
	pv_shadow_limit(s.shadow, 80);
	fill_space(&s, VA, 79);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 79);
	fill_space(&s, VA + MIB, 400);
	CU_ASSERT_TRUE(pv_shadow_maps(s.shadow) <= 80);
	pv_shadow_limit(s.shadow, 2); /* too little to run on */
	fill_space(&s, VA, 400);
	CU_ASSERT_TRUE(pv_shadow_maps(s.shadow) > 2);
	CU_ASSERT_TRUE(pv_shadow_maps(s.shadow) <= PV_SHADOW_MAPS_MIN);
}

/* The shadow whose last fault is longest ago gives, then the next; the one that asks never. */
static void test_total_limit(void)
{
	struct pv_shadow_limits limits = {1000, 300, 64 * MIB, 1};
	struct space s[4];

	fresh_with(64 * MIB, &limits);
	for (unsigned n = 0; n < 4; n++)
		s[n] = space();
	for (uint64_t i = 0; i < 4 * 90; i++) {
		const struct space *one = &s[i / 90];

		entry(one, VA + i * 8192, DATA + i, PTE_READ);
		while (fault(one, VA + i * 8192, PROT_READ) == PV_FAULT_RELIEVE) {
			CU_ASSERT_PTR_EQUAL(f.other, s[0].shadow);
			CU_ASSERT_TRUE_FATAL(f.n == 1 && f.maps[0].op == PV_UNMAP);
		}
		CU_ASSERT_EQUAL_FATAL(f.answer, PV_FAULT_MAP);
		CU_ASSERT_TRUE_FATAL(pv_shadow_set_maps(set) <= 300);
	}
	CU_ASSERT_TRUE(pv_shadow_maps(s[0].shadow) < 10);
	for (unsigned n = 1; n < 4; n++)
		CU_ASSERT_EQUAL(pv_shadow_maps(s[n].shadow), 90);
}

static void test_total_order(void)
{
	struct pv_shadow_limits limits = {1000, 300, 64 * MIB, 1};
	struct space a, b, c;

	fresh_with(64 * MIB, &limits);
	a = space();
	b = space();
	c = space();
	fill_space(&a, VA, 100);
	fill_space(&b, VA, 100);
	fill_space(&c, VA, 90);
	fill_space(&a, VA, 1); /* so that B's last fault is the oldest */
	for (uint64_t i = 0; i < 20; i++)
		entry(&c, VA / 2 + i * 8192, DATA, PTE_READ);
	for (uint64_t i = 0; f.answer != PV_FAULT_RELIEVE && i < 20; i++)
		fault(&c, VA / 2 + i * 8192, PROT_READ);
	CU_ASSERT_EQUAL(f.answer, PV_FAULT_RELIEVE);
	CU_ASSERT_PTR_EQUAL(f.other, b.shadow);
	/* One that goes without a flush takes its share with it. */
	pv_shadow_destroy(a.shadow);
	CU_ASSERT_EQUAL(pv_shadow_set_maps(set),
			pv_shadow_maps(b.shadow) + pv_shadow_maps(c.shadow));
}

/* Many that have little each: it does not take all of them to make room for one page. */
static void test_total_small(void)
{
	struct pv_shadow_limits limits = {1000, 100, 64 * MIB, 16};
	struct space all[99], one;
	unsigned turns = 0;

	fresh_with(64 * MIB, &limits);
	for (unsigned i = 0; i < 99; i++) {
		all[i] = space();
		fill_space(&all[i], VA, 1);
	}
	one = space();
	for (uint64_t i = 0; i < 16; i++)
		entry(&one, VA + i * 4096, DATA + 2 * i, PTE_READ);
	while (fault(&one, VA, PROT_READ) == PV_FAULT_RELIEVE)
		CU_ASSERT_PTR_EQUAL(f.other, all[turns++].shadow);
	CU_ASSERT_TRUE(f.answer == PV_FAULT_MAP && turns > 0 && turns <= 4);
	CU_ASSERT_TRUE(pv_shadow_set_maps(set) <= 100);
}

/* Who had a fault since eviction last came by is passed over once. */
static void test_second_chance(void)
{
	struct pv_shadow_limits limits = {400, 10000, 64 * MIB, 1};
	const uint64_t leaf = 64 * 4096;
	uint64_t hand = 0;
	struct pv_leaf found;
	struct space s;

	fresh_with(64 * MIB, &limits);
	s = space();
	for (uint64_t i = 0; i < 24; i++)
		fill_space(&s, VA + i * leaf, 16);
	fill_space(&s, 2 * VA, 17);
	CU_ASSERT_FALSE_FATAL(pv_shadow_find(s.shadow, VA, &found));
	while (hand < 24 && !pv_shadow_find(s.shadow, VA + hand * leaf, &found))
		hand++;
	CU_ASSERT_TRUE_FATAL(hand > 1 && hand < 8);
	fill_space(&s, VA + hand * leaf, 1);
	fill_space(&s, 3 * VA, 64);
	fill_space(&s, 3 * VA + 2 * leaf, 30);
	CU_ASSERT_TRUE(pv_shadow_find(s.shadow, VA + hand * leaf, &found));
	CU_ASSERT_FALSE(pv_shadow_find(s.shadow, VA + (hand + 1) * leaf, &found));
}

/* Where most of the limit is used up, what is mapped on a guess would push out what is used. */
static void test_crowded(void)
{
	struct pv_shadow_limits limits = {400, 10000, 64 * MIB, 16};
	struct space s;

	fresh_with(64 * MIB, &limits);
	s = space();
	for (uint64_t i = 0; i < 512; i++)
		entry(&s, VA + i * 4096, DATA + 2 * i, PTE_READ);
	fault(&s, VA, PROT_READ);
	CU_ASSERT_TRUE(f.n > 10);
	for (uint64_t i = 16; i < 320; i += 16)
		fault(&s, VA + i * 4096, PROT_READ);
	CU_ASSERT_TRUE(pv_shadow_maps(s.shadow) > 300);
	CU_ASSERT_TRUE(maps_one(&s, VA + 400 * 4096, PROT_READ, DATA + 800, PROT_READ));
}

/* Pages terabytes apart would cost a path of the tree each: memory stays within its limit. */
static void test_sparse(void)
{
	struct pv_shadow_limits limits = {60000, 1000000, MIB, 16};
	struct space s;
	uint64_t seed = random_seed(42);

	fresh_with(64 * MIB, &limits);
	s = space();
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t va = BEGIN + random_below(&seed, (END - BEGIN) >> 30 << 18) * 4096;

		entry(&s, va, DATA, PTE_WRITE);
		CU_ASSERT_EQUAL_FATAL(fault(&s, va, PROT_WRITE), PV_FAULT_MAP);
		CU_ASSERT_TRUE_FATAL(pv_shadow_set_bytes(set) <= MIB);
		if (i % 8 == 0) /* so that the tables fit */
			tables.next = 0x200000, memset(ram_at(ram, s.root, 4096), 0, 4096);
	}
	CU_ASSERT_TRUE(pv_shadow_pages(s.shadow) > 100);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, 0, END, &map));
	CU_ASSERT_EQUAL(pv_shadow_set_bytes(set), 0);
}

static void test_refused(void)
{
	struct space s;

	fresh(1);
	s = space();
	for (uint64_t i = 0; i < 1000; i++) {
		entry(&s, VA + i * 4096, DATA + 2 * i, PTE_READ);
		fault(&s, VA + i * 4096, PROT_READ);
	}
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 1000);
	pv_shadow_refused(s.shadow, &map);
	CU_ASSERT_TRUE(unmaps(BEGIN, (END - BEGIN) / 4096));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 0);
	for (uint64_t i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(fault(&s, VA + i * 4096, PROT_READ), PV_FAULT_MAP);
	CU_ASSERT_TRUE(pv_shadow_maps(s.shadow) > 600 && pv_shadow_maps(s.shadow) <= 750);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pv_shadow_limits", NULL, NULL);
	CU_add_test(suite, "a shadow's own limit", test_own_limit);
	CU_add_test(suite, "a limit for one shadow", test_limit_of_one);
	CU_add_test(suite, "the limit of all", test_total_limit);
	CU_add_test(suite, "the limit of all: the oldest gives", test_total_order);
	CU_add_test(suite, "the limit of all: many small ones", test_total_small);
	CU_add_test(suite, "a second chance", test_second_chance);
	CU_add_test(suite, "no guesses where it is crowded", test_crowded);
	CU_add_test(suite, "huge sparse spaces", test_sparse);
	CU_add_test(suite, "a host that refuses", test_refused);
	CU_basic_run_tests();
	pv_shadow_set_destroy(set);
	ram_destroy(ram);
	return CU_get_number_of_failures() != 0;
}
