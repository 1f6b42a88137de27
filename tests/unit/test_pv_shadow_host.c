/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders carried out for real, in this process: what is in /proc/self/maps must be what the
 * shadow counts, with the offsets and rights it says. That this host merges and splits mappings
 * the way shadow_pages.c has it is the assumption under test.
 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/shadow.h"

#define BEGIN 0x40000000ull
#define PAGES 2048u
#define END   (BEGIN + PAGES * 4096ull)
#define DATA  1024u
#define OPS   3000u

static struct ram *ram;
static struct pv_tables tables;
static struct pv_shadow_set *set;
static struct pv_shadow *shadow;
static uint64_t root, seed;

static void *address(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static void carry_out(const struct pv_map *map)
{
	size_t len = map->pages * 4096;
	void *at = address(map->va);

	CU_ASSERT_TRUE_FATAL(map->va >= BEGIN && map->va + len <= END);
	if (map->op == PV_UNMAP)
		CU_ASSERT_EQUAL_FATAL(munmap(at, len), 0);
	if (map->op == PV_PROTECT)
		CU_ASSERT_EQUAL_FATAL(mprotect(at, len, map->prot), 0);
	if (map->op == PV_MAP)
		CU_ASSERT_EQUAL_FATAL(mmap(at, len, map->prot, MAP_SHARED | MAP_FIXED,
					   ram_fd(ram), (off_t)map->offset),
				      at);
}

/* One line of /proc/self/maps against the shadow. */
static void check_mapping(uint64_t begin, uint64_t end, const char *rights, uint64_t offset)
{
	int prot = (rights[0] == 'r' ? PROT_READ : 0) | (rights[1] == 'w' ? PROT_WRITE : 0) |
		   (rights[2] == 'x' ? PROT_EXEC : 0);

	for (uint64_t va = begin; va < end; va += 4096) {
		struct pv_leaf leaf;

		CU_ASSERT_TRUE_FATAL(pv_shadow_find(shadow, va, &leaf));
		CU_ASSERT_EQUAL_FATAL(leaf.page * 4096, offset + (va - begin));
		CU_ASSERT_EQUAL_FATAL(leaf.prot, prot);
	}
}

static void check(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	uint64_t begin, end, offset, pages = 0;
	unsigned maps = 0;
	char line[512], rights[8];

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	while (fgets(line, sizeof(line), file)) {
		CU_ASSERT_EQUAL_FATAL(sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64,
					     &begin, &end, rights, &offset),
				      4);
		if (end <= BEGIN || begin >= END)
			continue;
		check_mapping(begin, end, rights, offset);
		pages += (end - begin) / 4096;
		maps++;
	}
	fclose(file);
	CU_ASSERT_EQUAL_FATAL(maps, pv_shadow_maps(shadow));
	CU_ASSERT_EQUAL_FATAL(pages, pv_shadow_pages(shadow));
}

static void edit(uint64_t first, uint64_t n)
{
	static const uint64_t usual[] = {PTE_READ, PTE_READ, PTE_WRITE, PTE_ALL};
	uint64_t page = DATA + random_below(&seed, 2000), bits = usual[random_below(&seed, 4)];

	for (uint64_t i = first; i < first + n && i < PAGES; i++, page++) {
		if (!random_below(&seed, 12))
			page = DATA + random_below(&seed, 2000);
		if (!random_below(&seed, 12))
			bits = usual[random_below(&seed, 4)];
		*tables_entry(&tables, root, BEGIN + i * 4096) = page * 4096 | bits;
	}
}

static void flush(uint64_t first, uint64_t n)
{
	struct pv_map map;

	if (pv_shadow_flush(shadow, BEGIN + first * 4096, BEGIN + (first + n) * 4096, &map))
		carry_out(&map);
}

static void protect(void)
{
	struct pv_map maps[16];
	uint64_t cursor = 0;
	unsigned n;

	while ((n = pv_shadow_protect(shadow, &cursor, maps, 16)) > 0)
		for (unsigned i = 0; i < n; i++)
			carry_out(&maps[i]);
}

static void fault(uint64_t page)
{
	struct pv_fault f;
	int access = random_below(&seed, 2) ? PROT_READ : PROT_WRITE;

	CU_ASSERT_EQUAL_FATAL(pv_shadow_fault(shadow, BEGIN + page * 4096, access, &f), 0);
	for (unsigned i = 0; i < f.n; i++)
		carry_out(&f.maps[i]);
}

static void step(void)
{
	uint64_t page = random_below(&seed, PAGES), n = 1 + random_below(&seed, 90);

	switch (random_below(&seed, 16)) {
	case 0:
		flush(page, random_below(&seed, 4) ? 1 + n / 30 : n * 8);
		break;
	case 1:
	case 2:
	case 3:
		edit(page, n);
		break;
	case 4:
		if (!random_below(&seed, 20))
			protect();
		break;
	default:
		fault(page);
	}
}

static void run(unsigned limit, unsigned around)
{
	struct pv_shadow_limits limits = {limit, 100000, 64 << 20, around};

	CU_ASSERT_EQUAL_FATAL(ram_create(16 << 20, &ram, NULL), 0);
	tables = (struct pv_tables){.ram = ram, .next = 4096};
	root = tables_new(&tables);
	CU_ASSERT_EQUAL_FATAL(pv_shadow_set_create(ram, &limits, &set, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pv_shadow_create(set, root, PV_USER, BEGIN, END, NULL, &shadow),
			      0);
	pv_shadow_track(set, limit % 2 ? PV_TRACK_SHADOW : PV_TRACK_OFF);
	check(); /* nothing there: the addresses are free */
	for (unsigned i = 0; i < OPS; i++) {
		step();
		if (i % 10 == 0)
			check();
	}
	flush(0, PAGES);
	check();
	pv_shadow_set_destroy(set);
	ram_destroy(ram);
}

static void test_host(void)
{
	seed = random_seed((uint64_t)time(NULL));
	run(60000, 16);
	run(60001, 4);
	run(101, 16);
	run(100, 64);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pv_shadow_host", NULL, NULL);
	CU_add_test(suite, "mappings are what the host says", test_host);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
