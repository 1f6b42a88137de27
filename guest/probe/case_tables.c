/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel mappings by tables that make no sense, and by very many entries. */
#include "case_kernel.h"

#define W SEGUE_PV_PF_WRITE
#define X SEGUE_PV_PF_FETCH

static void kernel_outside(void)
{
	static const uint64_t flags = K_RWX;
	uint64_t *top;

	RUN(kernel_root_new());
	top = at(kernel_root);
	/* Pages outside RAM: right behind it, far, and all bits of the address. */
	map(kernel_root, KVA, boot->ram, flags);
	map(kernel_root, KVA + PAGE, 1ull << 45, flags);
	map(kernel_root, KVA + 2 * PAGE, SEGUE_PV_PTE_ADDRESS, flags);
	for (unsigned i = 0; i < 3; i++) {
		RUN(kernel_expect_fault(try_read, KVA + i * PAGE, 0));
		RUN(kernel_expect_fault(try_write, KVA + i * PAGE, W));
		RUN(kernel_expect_fault(try_jump, KVA + i * PAGE, X));
	}
	/* Tables outside RAM, of either level. */
	top[KVA >> 30 & 511] = boot->ram | TABLE;
	RUN(kernel_expect_fault(try_read, KVA + 1000 * PAGE, 0));
	top[KVA >> 30 & 511] = SEGUE_PV_PTE_ADDRESS | TABLE;
	RUN(kernel_expect_fault(try_read, KVA + 1001 * PAGE, 0));
	top[KVA >> 30 & 511] = page_new() | TABLE;
	((uint64_t *)at(top[KVA >> 30 & 511] & SEGUE_PV_PTE_ADDRESS))[0] = boot->ram | TABLE;
	RUN(kernel_expect_fault(try_read, KVA + 3 * PAGE, 0));
	/* An upper entry without P, whatever else it says. */
	top[KVA >> 30 & 511] &= ~TABLE;
	RUN(kernel_expect_fault(try_read, KVA + 4 * PAGE, 0));
}

/* The last page of RAM as top-level table, and page tables in page 0. */
static void kernel_edges(void)
{
	uint64_t last = boot->ram - PAGE, page = page_new();
	uint64_t *top = at(last), middle = page_new(), low = page_new();

	memset(top, 0, PAGE);
	top[KVA >> 30 & 511] = middle | TABLE;
	((uint64_t *)at(middle))[0] = low | TABLE;
	((uint64_t *)at(low))[0] = page | K_RW;
	((uint64_t *)at(low))[1] = last | K_RW;
	((uint64_t *)at(low))[2] = 0 | K_RO;
	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, last, 0, 0), 0);
	kernel_put(KVA, 5);
	EXPECT_EQ(kernel_get(SEGUE_PV_DIRECT + page), 5);
	EXPECT_EQ(kernel_get(KVA + PAGE + (KVA >> 30 & 511) * 8), middle | TABLE);
	EXPECT_EQ(kernel_get(KVA + 2 * PAGE), kernel_get(SEGUE_PV_DIRECT));
	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, NO_ROOT, 0, 0), 0);
	hv(SEGUE_PV_FLUSH, NO_ROOT, 0, SEGUE_PV_VA_END);
	memset(top, 0, PAGE);
}

/* The table is its own middle and last level: a walk has three steps all the same. */
static void kernel_loop(void)
{
	const uint64_t self = 511ull << 30 | 511ull << 21 | 511ull << 12;
	uint64_t page = page_new(), *top;

	RUN(kernel_root_new());
	top = at(kernel_root);
	map(kernel_root, KVA, page, K_RW);
	top[511] = kernel_root | K_RW;
	EXPECT_EQ(kernel_get(self + 511 * 8), kernel_root | K_RW);
	EXPECT_EQ(kernel_get(self + (KVA >> 30 & 511) * 8), top[KVA >> 30 & 511]);
	/* A page table edited through its own mapping. */
	kernel_put(self + 100 * 8, 0xabc000);
	EXPECT_EQ(top[100], 0xabc000);
	kernel_put(self + 100 * 8, 0);
	/* Random jumps into a table whose every entry is itself. */
	for (unsigned i = 0; i < 512; i++)
		top[i] = kernel_root | K_RW;
	hv(SEGUE_PV_FLUSH, NO_ROOT, 0, SEGUE_PV_VA_END);
	for (uint64_t i = 1, seed = 99; i < 500; i++) {
		uint64_t va =
		    SEGUE_PV_DIRECT + boot->ram +
		    random_next(&seed) % (SEGUE_PV_VA_END - SEGUE_PV_DIRECT - boot->ram);

		EXPECT_EQ(kernel_get(va & ~7ull), kernel_root | K_RW);
	}
}

/* What is not kernel mode's: below RAM, above VA_END. */
static void kernel_beyond(void)
{
	static const uint64_t places[] = {
	    0,
	    8,
	    PAGE,
	    SEGUE_PV_USER_BEGIN,
	    0x400000,
	    SEGUE_PV_DIRECT - PAGE,
	    SEGUE_PV_VA_END,
	    SEGUE_PV_VA_END + PAGE,
	    1ull << 46,
	};

	RUN(kernel_root_new());
	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (places[i] < SEGUE_PV_DIRECT)
			map(kernel_root, places[i], page_new(), K_RWX);
		RUN(kernel_expect_fault(try_read, places[i], 0));
		RUN(kernel_expect_fault(try_write, places[i], W));
	}
}

/* More mappings than a host likes, none next to another of its kind. */
static void kernel_many(void)
{
	uint64_t n = cmdline_number("kernel_many", 20000), pages = 4096, base, sum = 0;

	if (pages_left() < pages + n / 512 + 8) {
		skip("too little memory");
		return;
	}
	RUN(kernel_root_new());
	base = pages_new(pages);
	for (uint64_t i = 0; i < n; i++)
		map(kernel_root, KVA + i * PAGE, base + i * 17 % pages * PAGE, K_RW);
	for (uint64_t i = 0; i < pages; i++)
		kernel_put(SEGUE_PV_DIRECT + base + i * PAGE, 0);
	for (uint64_t i = 0; i < n; i++)
		kernel_put(KVA + i * PAGE, kernel_get(KVA + i * PAGE) + 1);
	for (uint64_t i = 0; i < pages; i++)
		sum += kernel_get(SEGUE_PV_DIRECT + base + i * PAGE);
	EXPECT_EQ(sum, n);
}

const struct probe_case table_cases[] = {
    {"kernel-outside", kernel_outside}, {"kernel-edges", kernel_edges},
    {"kernel-loop", kernel_loop},       {"kernel-beyond", kernel_beyond},
    {"kernel-many", kernel_many},       {NULL, NULL},
};
