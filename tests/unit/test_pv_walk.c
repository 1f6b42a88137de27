/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/walk.h"

#define MIB  (1ull << 20)
#define SIZE (4 * MIB)
#define LAST (SIZE - 4096)
#define VA   (0x7f1234567000ull % SEGUE_PV_VA_END)

static struct ram *ram;
static struct pv_tables tables;

static void fresh(uint64_t size)
{
	ram_destroy(ram);
	ram = NULL;
	CU_ASSERT_EQUAL_FATAL(ram_create(size, &ram, NULL), 0);
	tables = (struct pv_tables){.ram = ram, .next = 0x10000};
}

static struct pv_leaf walk(uint64_t root, uint64_t va, enum pv_mode mode)
{
	struct pv_leaf leaf = {.present = true, .prot = 99, .page = 99};

	pv_walk(ram, root, va, mode, &leaf);
	return leaf;
}

static bool nothing(uint64_t root, uint64_t va)
{
	struct pv_leaf leaf = walk(root, va, PV_KERNEL);

	return !leaf.present && leaf.prot == PROT_NONE &&
	       pv_fault_error(&leaf, PROT_READ, PV_KERNEL) == 0;
}

/* ---- one entry, all its bits ---- */

static int rights(uint64_t bits, enum pv_mode mode)
{
	int prot = 0;

	if ((bits & 0x081) != 0x081 || (mode == PV_USER && !(bits & 0x040)))
		return 0;
	prot = PROT_READ;
	if ((bits & 0x120) == 0x120)
		prot |= PROT_WRITE;
	if (bits & 0x200)
		prot |= PROT_EXEC;
	return prot;
}

static void check_error(const struct pv_leaf *leaf, bool present, enum pv_mode mode)
{
	uint32_t base = (present ? 1u : 0) | (mode == PV_USER ? 4u : 0);

	CU_ASSERT_EQUAL(pv_fault_error(leaf, PROT_READ, mode), base);
	CU_ASSERT_EQUAL(pv_fault_error(leaf, PROT_WRITE, mode), base | 2);
	CU_ASSERT_EQUAL(pv_fault_error(leaf, PROT_EXEC, mode), base | 0x10);
}

static void test_bits(void)
{
	uint64_t root, *entry;

	fresh(SIZE);
	root = tables_new(&tables);
	entry = tables_entry(&tables, root, VA);
	for (uint64_t bits = 0; bits < 4096; bits++) {
		for (enum pv_mode mode = PV_KERNEL; mode <= PV_USER; mode++) {
			struct pv_leaf leaf;

			/* The bits that the format does not have must not matter. */
			*entry = LAST | bits | (bits & 2 ? 0xfff0000000000000ull : 0);
			leaf = walk(root, VA + bits % 4096, mode);
			CU_ASSERT_EQUAL(leaf.present, bits & 1);
			CU_ASSERT_EQUAL(leaf.prot, rights(bits, mode));
			CU_ASSERT_TRUE(!leaf.present || leaf.page == LAST / 4096);
			CU_ASSERT_TRUE(pv_leaf_allows(&leaf, PROT_WRITE) ==
				       !!(leaf.prot & PROT_WRITE));
			check_error(&leaf, bits & 1, mode);
		}
	}
}

/* Of the levels above only P and the address count. */
static void test_upper_bits(void)
{
	uint64_t root, *top, *mid, top_plain, mid_plain;

	fresh(SIZE);
	root = tables_new(&tables);
	*tables_entry(&tables, root, VA) = 0x5000 | PTE_WRITE;
	top = tables_word(ram, root, VA >> 30 & 511);
	mid = tables_word(ram, *top & SEGUE_PV_PTE_ADDRESS, VA >> 21 & 511);
	top_plain = *top;
	mid_plain = *mid;
	for (uint64_t bits = 1; bits < 4096; bits += 2) {
		*top = top_plain | bits;
		*mid = mid_plain | (4096 - bits);
		CU_ASSERT_EQUAL(walk(root, VA, PV_USER).prot, PROT_READ | PROT_WRITE);
	}
	*top = top_plain & ~1ull;
	CU_ASSERT_TRUE(nothing(root, VA));
	*top = top_plain;
	*mid = mid_plain & ~1ull;
	CU_ASSERT_TRUE(nothing(root, VA));
}

/* ---- where tables and pages lie ---- */

static const uint64_t outside[] = {
    SIZE,       SIZE + 4096,  0xffffffff000ull, 0xffffffffff000ull, 1ull << 32,
    1ull << 40, (1ull << 51), 0xc0000000,       0x8000000000000ull,
};

static void test_outside(void)
{
	uint64_t root, *words[3], plain[3];

	fresh(SIZE);
	root = tables_new(&tables);
	words[2] = tables_entry(&tables, root, VA);
	*words[2] = 0x5000 | PTE_ALL;
	words[0] = tables_word(ram, root, VA >> 30 & 511);
	words[1] = tables_word(ram, *words[0] & SEGUE_PV_PTE_ADDRESS, VA >> 21 & 511);
	for (unsigned level = 0; level < 3; level++)
		plain[level] = *words[level];
	for (unsigned i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
		for (unsigned level = 0; level < 3; level++) {
			*words[level] = outside[i] | PTE_ALL;
			CU_ASSERT_TRUE(nothing(root, VA));
			*words[level] = plain[level];
		}
		CU_ASSERT_TRUE(nothing(outside[i], VA));
		CU_ASSERT_FALSE(nothing(root, VA));
	}
	CU_ASSERT_TRUE(nothing(~0ull, VA));
	CU_ASSERT_TRUE(nothing(root + 8, VA));
	CU_ASSERT_TRUE(nothing(LAST + 8, VA));
}

/* The last page of RAM may be a table, and may be a page. */
static void test_last_page(void)
{
	fresh(SIZE);
	*tables_word(ram, LAST, 511) = LAST | PTE_ALL;
	CU_ASSERT_EQUAL(walk(LAST, SEGUE_PV_VA_END - 1, PV_USER).page, LAST / 4096);
	CU_ASSERT_EQUAL(walk(LAST, SEGUE_PV_VA_END - 1, PV_USER).prot, 7);
	CU_ASSERT_TRUE(nothing(LAST, SEGUE_PV_VA_END - 4097));
}

static void test_va_limits(void)
{
	uint64_t root;

	fresh(SIZE);
	root = tables_new(&tables);
	*tables_entry(&tables, root, 0) = 0x5000 | PTE_ALL;
	*tables_entry(&tables, root, SEGUE_PV_VA_END - 1) = 0x6000 | PTE_ALL;
	CU_ASSERT_EQUAL(walk(root, 0, PV_USER).page, 5);
	CU_ASSERT_EQUAL(walk(root, SEGUE_PV_VA_END - 1, PV_USER).page, 6);
	CU_ASSERT_TRUE(nothing(root, SEGUE_PV_VA_END)); /* would wrap around to 0 */
	CU_ASSERT_TRUE(nothing(root, SEGUE_PV_VA_END + 4096));
	CU_ASSERT_TRUE(nothing(root, 1ull << 47));
	CU_ASSERT_TRUE(nothing(root, ~0ull));
	CU_ASSERT_PTR_NULL(pv_walk_table(ram, root, ~0ull));
	CU_ASSERT_PTR_NOT_NULL(pv_walk_table(ram, root, 0x1ff000));
	CU_ASSERT_PTR_NULL(pv_walk_table(ram, root, 0x200000));
}

/* Pages behind the hole for devices are told by where they are in the file. */
static void test_hole(void)
{
	uint64_t root;

	fresh(RAM_HOLE + 4 * MIB);
	root = tables_new(&tables);
	*tables_entry(&tables, root, VA) = RAM_HIGH | PTE_ALL;
	CU_ASSERT_EQUAL(walk(root, VA, PV_USER).page, RAM_HOLE / 4096);
	*tables_entry(&tables, root, VA) = (RAM_HIGH + 4 * MIB - 4096) | PTE_ALL;
	CU_ASSERT_EQUAL(walk(root, VA, PV_USER).page, (RAM_HOLE + 4 * MIB) / 4096 - 1);
	*tables_entry(&tables, root, VA) = (RAM_HIGH + 4 * MIB) | PTE_ALL;
	CU_ASSERT_TRUE(nothing(root, VA));
	*tables_entry(&tables, root, VA) = RAM_HOLE | PTE_ALL;
	CU_ASSERT_TRUE(nothing(root, VA));
	*tables_entry(&tables, root, VA) = (RAM_HOLE - 4096) | PTE_ALL;
	CU_ASSERT_EQUAL(walk(root, VA, PV_USER).page, RAM_HOLE / 4096 - 1);
}

/* ---- tables that are not trees ---- */

static void test_self_map(void)
{
	uint64_t root, middle, self = 0x1ffull << 30 | 0x1ffull << 21;

	fresh(SIZE);
	root = tables_new(&tables);
	*tables_word(ram, root, 511) = root | PTE_ALL;
	/* All three steps stay in the root: its own entry is the page's. */
	CU_ASSERT_EQUAL(walk(root, SEGUE_PV_VA_END - 4096, PV_USER).page, root / 4096);
	/* Two steps in the root, the third elsewhere in it. */
	*tables_entry(&tables, root, VA) = 0x5000 | PTE_READ;
	middle = *tables_word(ram, root, VA >> 30 & 511) & SEGUE_PV_PTE_ADDRESS;
	CU_ASSERT_EQUAL(walk(root, self | (VA >> 30 & 511) << 12, PV_KERNEL).page,
			middle / 4096);
	CU_ASSERT_EQUAL(walk(root, VA, PV_USER).page, 5);
}

static void test_loop(void)
{
	uint64_t a, b;

	fresh(SIZE);
	a = tables_new(&tables);
	b = tables_new(&tables);
	for (unsigned i = 0; i < 512; i++) {
		*tables_word(ram, a, i) = b | PTE_ALL;
		*tables_word(ram, b, i) = a | PTE_ALL;
	}
	for (uint64_t va = 0; va < SEGUE_PV_VA_END; va += 0x3456789000ull / 7) {
		CU_ASSERT_EQUAL(walk(a, va, PV_USER).page, b / 4096);
		CU_ASSERT_EQUAL(walk(b, va, PV_USER).page, a / 4096);
	}
}

/* ---- against a walk written the plain way, over tables of noise ---- */

#define NOISE_PAGES 64u

static uint64_t noise_entry(uint64_t *seed)
{
	uint64_t at = random_below(seed, NOISE_PAGES + 2) * 4096, r = random_next(seed);

	switch (random_below(seed, 8)) {
	case 0:
		return r;
	case 1:
		return (SIZE - 4096 * random_below(seed, 2)) | (r & 0xfff) | 1;
	default:
		return at | (r & 0xfff) | (r >> 20 & 3 ? 1 : 0);
	}
}

static bool plain_step(uint64_t table, uint64_t index, uint64_t *ret_entry)
{
	return table % 4096 == 0 && ram_read(ram, table + 8 * index, ret_entry, 8) == 0 &&
	       (*ret_entry & 1) && (*ret_entry & 0x000ffffffffff000ull) < SIZE;
}

static void check_noise(uint64_t root, uint64_t va, enum pv_mode mode)
{
	uint64_t entry = root;
	struct pv_leaf leaf = walk(root, va, mode);
	bool present = va < SEGUE_PV_VA_END && root % 4096 == 0;

	for (int shift = 30; present && shift >= 12; shift -= 9)
		present = plain_step(entry & 0x000ffffffffff000ull, va >> shift & 511, &entry);
	CU_ASSERT_EQUAL_FATAL(leaf.present, present);
	CU_ASSERT_EQUAL_FATAL(leaf.prot, present ? rights(entry, mode) : 0);
	if (present)
		CU_ASSERT_EQUAL_FATAL(leaf.page, (entry & 0x000ffffffffff000ull) / 4096);
}

static void test_noise(void)
{
	uint64_t seed = random_seed((uint64_t)time(NULL));

	fresh(SIZE);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < NOISE_PAGES * 512; i++)
			*tables_word(ram, i / 512 * 4096, i % 512) = noise_entry(&seed);
		for (unsigned i = 0; i < 20000; i++) {
			uint64_t va = random_next(&seed) >> (random_below(&seed, 50) ? 25 : 22);
			uint64_t root = random_below(&seed, NOISE_PAGES) * 4096;

			check_noise(root + (random_below(&seed, 50) ? 0 : 8), va,
				    random_below(&seed, 2) ? PV_USER : PV_KERNEL);
		}
	}
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pv_walk", NULL, NULL);
	CU_add_test(suite, "an entry's bits give the rights the ABI says", test_bits);
	CU_add_test(suite, "upper levels: only P and the address", test_upper_bits);
	CU_add_test(suite, "tables and pages outside RAM are not there", test_outside);
	CU_add_test(suite, "the last page of RAM is as good as any", test_last_page);
	CU_add_test(suite, "addresses end at VA_END and do not wrap", test_va_limits);
	CU_add_test(suite, "memory with a hole", test_hole);
	CU_add_test(suite, "tables that map themselves", test_self_map);
	CU_add_test(suite, "tables in a loop", test_loop);
	CU_add_test(suite, "noise, against a plain walk", test_noise);
	CU_basic_run_tests();
	ram_destroy(ram);
	return CU_get_number_of_failures() != 0;
}
