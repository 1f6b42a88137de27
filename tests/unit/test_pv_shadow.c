/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/pv_spaces.h"

/* ---- what a fault is ---- */

static void test_reflect(void)
{
	struct space u, k;

	fresh(1);
	u = space();
	k = space_in(PV_KERNEL, 0x70000000, END);
	CU_ASSERT_TRUE(reflects(&u, VA, PROT_READ, 4));
	entry(&u, VA, DATA, PTE_READ);
	CU_ASSERT_TRUE(reflects(&u, VA, PROT_WRITE, 7));
	CU_ASSERT_TRUE(reflects(&u, VA, PROT_EXEC, 0x15));
	entry(&u, VA, 1ull << 35, PTE_READ);
	CU_ASSERT_TRUE(reflects(&u, VA, PROT_WRITE, 6));
	entry(&u, VA, DATA, PTE_ALL & ~SEGUE_PV_PTE_U);
	CU_ASSERT_TRUE(reflects(&u, VA, PROT_READ, 5));
	entry(&k, VA * 2, DATA, PTE_ALL & ~SEGUE_PV_PTE_U);
	CU_ASSERT_TRUE(maps_one(&k, VA * 2 + 5, PROT_WRITE, DATA, 7));
	entry(&k, VA * 2, DATA, 0);
	CU_ASSERT_TRUE(reflects(&k, VA * 2, PROT_WRITE, 2));
}

/* Addresses that are not the shadow's get nothing, whatever the tables have. */
static void test_limits_of_space(void)
{
	struct space s;

	fresh(64);
	s = space_in(PV_USER, VA + 0x3000, VA + 0x8000);
	for (uint64_t i = 0; i < 16; i++)
		entry(&s, VA + i * 4096, DATA + i, PTE_READ);
	CU_ASSERT_TRUE(reflects(&s, VA + 0x2fff, PROT_READ, 4));
	CU_ASSERT_TRUE(reflects(&s, VA + 0x8000, PROT_READ, 4));
	CU_ASSERT_TRUE(reflects(&s, ~0ull, PROT_READ, 4));
	CU_ASSERT_EQUAL(fault(&s, VA + 0x4000, PROT_READ), PV_FAULT_MAP);
	CU_ASSERT_TRUE(f.n == 1 && order_is(f.maps, VA + 0x3000, DATA + 3, 5, PROT_READ));
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, 0, ~0ull, &map));
	CU_ASSERT_TRUE(unmaps(VA + 0x3000, 5));
	CU_ASSERT_EQUAL(pv_shadow_create(set, 0, PV_USER, 5, END, NULL, &s.shadow), -EINVAL);
	CU_ASSERT_EQUAL(pv_shadow_create(set, 0, PV_USER, 0, END + 4096, NULL, &s.shadow),
			-EINVAL);
	CU_ASSERT_EQUAL(pv_shadow_create(set, 0, PV_USER, VA, VA, NULL, &s.shadow), -EINVAL);
}

/* D and A are set by the guest, upon faults; the page is then mapped over with more rights. */
static void test_upgrade(void)
{
	struct space s;

	fresh(1);
	s = space();
	entry(&s, VA, DATA, PTE_WRITE & ~(SEGUE_PV_PTE_D | SEGUE_PV_PTE_A));
	CU_ASSERT_TRUE(reflects(&s, VA, PROT_READ, 5));
	entry(&s, VA, DATA, PTE_WRITE & ~SEGUE_PV_PTE_D);
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_READ, DATA, PROT_READ));
	CU_ASSERT_TRUE(reflects(&s, VA, PROT_WRITE, 7));
	entry(&s, VA, DATA, PTE_WRITE);
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_WRITE, DATA, PROT_READ | PROT_WRITE));
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_WRITE, DATA, PROT_READ | PROT_WRITE));
	CU_ASSERT_EQUAL(pv_shadow_pages(s.shadow), 1);
}

/* An entry that leads elsewhere now: who faults gets what it says now, without a flush. */
static void test_stale(void)
{
	struct space s;
	struct pv_leaf leaf;

	fresh(1);
	s = space();
	entry(&s, VA, DATA, PTE_READ);
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_READ, DATA, PROT_READ));
	entry(&s, VA, DATA + 9, PTE_WRITE);
	CU_ASSERT_TRUE(pv_shadow_find(s.shadow, VA + 17, &leaf));
	CU_ASSERT_EQUAL(leaf.page, DATA);
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_WRITE, DATA + 9, PROT_READ | PROT_WRITE));
	CU_ASSERT_TRUE(pv_shadow_find(s.shadow, VA, &leaf));
	CU_ASSERT_EQUAL(leaf.page, DATA + 9);
	pv_shadow_set_root(s.shadow, ~0ull);
	CU_ASSERT_TRUE(reflects(&s, VA, PROT_READ, 4));
	CU_ASSERT_EQUAL(pv_shadow_pages(s.shadow), 1);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, VA, VA + 1, &map));
	CU_ASSERT_TRUE(unmaps(VA, 1));
	CU_ASSERT_FALSE(pv_shadow_find(s.shadow, VA, &leaf));
	CU_ASSERT_FALSE(pv_shadow_flush(s.shadow, VA, VA + 1, &map));
}

/* ---- fault-around ---- */

static void test_around(void)
{
	struct space s;

	fresh(16);
	s = space();
	/* Pages 0 to 31; 20 is not there, from 24 on they lie elsewhere, 28 can be written. */
	for (uint64_t i = 0; i < 32; i++)
		entry(&s, VA + i * 4096, DATA + i + (i >= 24 ? 100 : 0),
		      i == 20   ? 0
		      : i == 28 ? PTE_WRITE
				: PTE_READ);
	CU_ASSERT_EQUAL(fault(&s, VA + 25 * 4096, PROT_READ), PV_FAULT_MAP);
	CU_ASSERT_EQUAL_FATAL(f.n, 5);
	CU_ASSERT_TRUE(order_is(&f.maps[0], VA + 24 * 4096, DATA + 124, 4, PROT_READ));
	CU_ASSERT_TRUE(order_is(&f.maps[1], VA + 16 * 4096, DATA + 16, 4, PROT_READ));
	CU_ASSERT_TRUE(order_is(&f.maps[2], VA + 21 * 4096, DATA + 21, 3, PROT_READ));
	CU_ASSERT_TRUE(order_is(&f.maps[3], VA + 28 * 4096, DATA + 128, 1, 3));
	CU_ASSERT_TRUE(order_is(&f.maps[4], VA + 29 * 4096, DATA + 129, 3, PROT_READ));
	CU_ASSERT_EQUAL(pv_shadow_pages(s.shadow), 15);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 5);
	/* What came to be there later is not mapped again with it. */
	entry(&s, VA + 20 * 4096, DATA + 20, PTE_READ);
	CU_ASSERT_TRUE(maps_one(&s, VA + 20 * 4096, PROT_READ, DATA + 20, PROT_READ));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 4);
}

/* A list has room for so many orders; the page's own is among them, and is the first. */
static void test_around_scattered(void)
{
	struct space s;
	uint64_t own = VA + 40 * 4096;

	fresh(64);
	s = space();
	for (uint64_t i = 0; i < 64; i++)
		entry(&s, VA + i * 4096, DATA + 2 * i, PTE_READ);
	CU_ASSERT_EQUAL(fault(&s, own, PROT_READ), PV_FAULT_MAP);
	CU_ASSERT_TRUE(f.n > 10 && f.n <= PV_SHADOW_ORDERS);
	CU_ASSERT_TRUE(order_is(f.maps, own, DATA + 80, 1, PROT_READ));
	CU_ASSERT_EQUAL(pv_shadow_pages(s.shadow), f.n);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), f.n);
	for (unsigned i = 1; i < f.n; i++)
		CU_ASSERT_TRUE(f.maps[i].pages == 1 && f.maps[i].va != own);
}

/* ---- counting as the host does ---- */

static void test_counts(void)
{
	struct space s;
	const uint64_t leaf = 64 * 4096;

	fresh(64);
	s = space();
	for (uint64_t i = 0; i < 192; i++)
		entry(&s, VA + i * 4096, DATA + i, PTE_READ);
	fault(&s, VA + leaf, PROT_READ);
	CU_ASSERT_TRUE(f.n == 1 && f.maps[0].pages == 64);
	fault(&s, VA + 2 * leaf, PROT_READ);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 1);
	fault(&s, VA, PROT_READ);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 1);
	/* Other rights on the first page of the middle: before, it, behind. */
	entry(&s, VA + leaf, DATA + 64, PTE_WRITE);
	fault(&s, VA + leaf, PROT_WRITE);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 3);
	/* And on the last of the one before: the two are one. */
	entry(&s, VA + leaf - 4096, DATA + 63, PTE_WRITE);
	fault(&s, VA + leaf - 4096, PROT_WRITE);
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 3);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, VA + leaf - 4096, VA + leaf, &map));
	CU_ASSERT_TRUE(unmaps(VA + leaf - 4096, 1));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 3);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, VA + leaf, VA + leaf + 4096, &map));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 2);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, VA + leaf, VA + 2 * leaf, &map));
	CU_ASSERT_TRUE(unmaps(VA + leaf + 4096, 63));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 2);
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, 0, END, &map));
	CU_ASSERT_TRUE(unmaps(VA, 192));
	CU_ASSERT_EQUAL(pv_shadow_maps(s.shadow), 0);
	CU_ASSERT_EQUAL(pv_shadow_set_bytes(set), 0);
}

/* ---- tables that are not trees, and pages in two spaces ---- */

static void test_self_map(void)
{
	struct space s;
	uint64_t *top, pages = 0;

	fresh(64);
	s = space();
	top = tables_word(ram, s.root, 0);
	for (unsigned i = 0; i < 512; i++)
		top[i] = s.root | PTE_ALL;
	for (uint64_t va = BEGIN; va < END; va += 0x123456789 & ~4095ull) {
		CU_ASSERT_EQUAL_FATAL(fault(&s, va, PROT_EXEC), PV_FAULT_MAP);
		CU_ASSERT_EQUAL(f.maps[f.n - 1].offset, s.root);
		pages += f.n;
	}
	CU_ASSERT_TRUE(pages > 100);
}

static void test_sharing(void)
{
	struct space a, b;
	struct pv_leaf leaf;

	fresh(1);
	a = space();
	b = space();
	entry(&a, VA, DATA, PTE_WRITE);
	entry(&b, VA + 4096, DATA, PTE_READ);
	CU_ASSERT_TRUE(maps_one(&a, VA, PROT_WRITE, DATA, 3));
	CU_ASSERT_TRUE(maps_one(&b, VA + 4096, PROT_READ, DATA, 1));
	CU_ASSERT_TRUE(pv_shadow_flush(a.shadow, 0, END, &map));
	CU_ASSERT_TRUE(pv_shadow_find(b.shadow, VA + 4096, &leaf));
	CU_ASSERT_TRUE(leaf.page == DATA && leaf.prot == PROT_READ);
	pv_shadow_destroy(a.shadow);
	CU_ASSERT_PTR_EQUAL(pv_shadow_next(set, NULL), b.shadow);
	CU_ASSERT_PTR_NULL(pv_shadow_next(set, b.shadow));
	CU_ASSERT_EQUAL(pv_shadow_set_maps(set), 1);
}

/* ---- dirty pages ---- */

static bool logged(uint64_t page)
{
	uint64_t *words = calloc(64 * MIB / 4096 / 64, 8);
	bool is;

	pv_shadow_harvest(set, words);
	is = words[page / 64] >> (page % 64) & 1;
	words[page / 64] &= ~(1ull << (page % 64));
	for (uint64_t i = 0; i < 64 * MIB / 4096 / 64; i++)
		CU_ASSERT_EQUAL(words[i], 0);
	free(words);
	return is;
}

static void test_track_shadow(void)
{
	struct space s;
	uint64_t cursor = 0;
	struct pv_map maps[2];

	fresh(16);
	s = space();
	for (uint64_t i = 0; i < 130; i++)
		entry(&s, VA + i * 4096, DATA + (i ^ 1), i == 70 ? PTE_ALL : PTE_WRITE);
	for (uint64_t i = 0; i < 130; i += 16)
		fault(&s, VA + i * 4096, PROT_READ);
	pv_shadow_track(set, PV_TRACK_SHADOW);
	/* Runs by address and rights, whatever lies behind: 0-69, 70, 71-129. */
	CU_ASSERT_EQUAL_FATAL(pv_shadow_protect(s.shadow, &cursor, maps, 2), 2);
	CU_ASSERT_TRUE(maps[0].op == PV_PROTECT && maps[0].va == VA && maps[0].pages == 70);
	CU_ASSERT_TRUE(maps[1].pages == 1 && maps[1].prot == (PROT_READ | PROT_EXEC));
	CU_ASSERT_EQUAL_FATAL(pv_shadow_protect(s.shadow, &cursor, maps, 2), 1);
	CU_ASSERT_TRUE(maps[0].va == VA + 71 * 4096 && maps[0].pages == 59);
	CU_ASSERT_TRUE(maps[0].prot == PROT_READ);
	CU_ASSERT_EQUAL(pv_shadow_protect(s.shadow, &cursor, maps, 2), 0);
	CU_ASSERT_FALSE(logged(0));
	CU_ASSERT_TRUE(maps_one(&s, VA + 8192, PROT_WRITE, DATA + 3, 3));
	CU_ASSERT_TRUE(maps_one(&s, VA + 4096, PROT_READ, DATA, 1));
	CU_ASSERT_TRUE(logged(DATA + 3));
	CU_ASSERT_FALSE(logged(DATA + 3));
}

static void test_track_kernel(void)
{
	struct space s;
	uint64_t va = 0, words[64 * MIB / 4096 / 64] = {0};

	fresh(1);
	s = space();
	for (uint64_t i = 0; i < 3; i++) {
		entry(&s, VA + i * 4096, DATA + i, i == 1 ? PTE_READ : PTE_WRITE);
		fault(&s, VA + i * 4096, PROT_READ);
	}
	pv_shadow_track(set, PV_TRACK_KERNEL);
	CU_ASSERT_EQUAL(pv_shadow_writable(s.shadow, &va), 1);
	CU_ASSERT_EQUAL(va, VA);
	va += 4096;
	CU_ASSERT_EQUAL(pv_shadow_writable(s.shadow, &va), 1);
	CU_ASSERT_EQUAL(va, VA + 8192);
	va += 4096;
	CU_ASSERT_EQUAL(pv_shadow_writable(s.shadow, &va), 0);
	pv_shadow_written(s.shadow, VA + 4096, ~0ull, words);
	CU_ASSERT_EQUAL(words[DATA / 64], 6);
	CU_ASSERT_FALSE(logged(DATA));
	CU_ASSERT_TRUE(pv_shadow_flush_scanned(s.shadow, VA, VA + 4096, &map));
	CU_ASSERT_FALSE(logged(DATA));
	pv_shadow_written(s.shadow, VA + 8192, 1, NULL);
	CU_ASSERT_TRUE(logged(DATA + 2));
	CU_ASSERT_TRUE(pv_shadow_flush(s.shadow, VA, VA + 3 * 4096, &map));
	CU_ASSERT_TRUE(unmaps(VA + 4096, 2));
	CU_ASSERT_TRUE(logged(DATA + 2));
	/* A page mapped over loses what the host's kernel knew as well. */
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_WRITE, DATA, 3));
	CU_ASSERT_FALSE(logged(DATA));
	entry(&s, VA, DATA + 7, PTE_WRITE);
	CU_ASSERT_TRUE(maps_one(&s, VA, PROT_WRITE, DATA + 7, 3));
	CU_ASSERT_TRUE(logged(DATA));
}

static void test_arguments(void)
{
	struct pv_shadow_limits limits = pv_shadow_usual;
	struct pv_shadow_set *none = NULL;
	struct error err = {0};

	fresh(1);
	limits.around = 3;
	CU_ASSERT_EQUAL(pv_shadow_set_create(ram, &limits, &none, &err), -EINVAL);
	CU_ASSERT_TRUE(err.text[0]);
	limits.around = 128;
	CU_ASSERT_EQUAL(pv_shadow_set_create(ram, &limits, &none, NULL), -EINVAL);
	CU_ASSERT_PTR_NULL(none);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pv_shadow", NULL, NULL);
	CU_add_test(suite, "what is the guest's fault", test_reflect);
	CU_add_test(suite, "addresses outside are nobody's", test_limits_of_space);
	CU_add_test(suite, "rights that grow", test_upgrade);
	CU_add_test(suite, "entries that changed", test_stale);
	CU_add_test(suite, "fault-around", test_around);
	CU_add_test(suite, "fault-around, all scattered", test_around_scattered);
	CU_add_test(suite, "mappings are counted as the host does", test_counts);
	CU_add_test(suite, "tables that map themselves", test_self_map);
	CU_add_test(suite, "two spaces, one page", test_sharing);
	CU_add_test(suite, "tracking by faults", test_track_shadow);
	CU_add_test(suite, "tracking by the host's kernel", test_track_kernel);
	CU_add_test(suite, "arguments", test_arguments);
	CU_basic_run_tests();
	pv_shadow_set_destroy(set);
	ram_destroy(ram);
	return CU_get_number_of_failures() != 0;
}
