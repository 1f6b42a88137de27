/* SPDX-License-Identifier: Apache-2.0 */
#include "test_kvm_guest.h"

/* The dirty log: complete, exact where it can be, and clean when it starts. */

static uint64_t *words_of(struct guest *g)
{
	return calloc(ram_size(g->ram) / RAM_PAGE / 64, sizeof(uint64_t));
}

static bool bit(const uint64_t *words, uint64_t page)
{
	return words[page / 64] >> (page % 64) & 1;
}

static uint64_t count(struct guest *g, const uint64_t *words)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < ram_size(g->ram) / RAM_PAGE / 64; i++)
		n += (uint64_t)__builtin_popcountll(words[i]);
	return n;
}

static uint64_t harvest(struct guest *g, uint64_t *words)
{
	memset(words, 0, ram_size(g->ram) / RAM_PAGE / 8);
	CU_ASSERT_EQUAL(g->ops->dirty_harvest(g->engine, words, &g->err), 0);
	return count(g, words);
}

/* Pages of the guest's own page tables: the processor marks them accessed. */
static bool is_table(uint64_t page)
{
	return page >= LAYOUT_PAGE_TABLE / 4096 && page < LAYOUT_PAGE_TABLE / 4096 + 8;
}

static void test_exact(void)
{
	struct guest g;
	struct vcpu_exit exit;
	uint64_t *words, n;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 64 * MIB), 0);
	/* One byte in each of 20 pages, 33 pages apart; report; and the same again. */
	GUEST_CODE(&g, 0xbb, IMM32(0x200000),       /* 0: mov $0x200000, %ebx */
		   0xb9, IMM32(20),                 /* mov $20, %ecx */
		   0xfe, 0x03,                      /* 1: incb (%rbx) */
		   0x81, 0xc3, IMM32(33 * 4096),    /* add $.., %ebx */
		   0xff, 0xc9,                      /* dec %ecx */
		   0x75, 0xf4,                      /* jnz 1b */
		   0xe6, 0x99,                      /* out %al, $0x99 */
		   0xeb, 0xe6);                     /* jmp 0b */
	words = words_of(&g);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(g.ops->dirty_harvest(g.engine, words, NULL), -EINVAL);
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	CU_ASSERT_EQUAL(harvest(&g, words), 0);
	for (unsigned round = 0; round < 3; round++) {
		guest_run(&g, 0, &exit);
		CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
		n = harvest(&g, words);
		for (unsigned i = 0; i < 20; i++)
			CU_ASSERT_TRUE(bit(words, 0x200 + i * 33));
		for (uint64_t page = 0; page < 16384; page++)
			n -= is_table(page) && bit(words, page);
		CU_ASSERT_EQUAL(n, 20);
		CU_ASSERT_EQUAL(harvest(&g, words), 0);
	}
	CU_ASSERT_EQUAL(g.ops->dirty_stop(g.engine), 0);
	CU_ASSERT_EQUAL(g.ops->dirty_stop(g.engine), 0);
	CU_ASSERT_EQUAL(g.ops->dirty_harvest(g.engine, words, NULL), -EINVAL);
	guest_run(&g, 0, &exit);
	/* What was written meanwhile is not told, neither the first time nor the second. */
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	CU_ASSERT_EQUAL(harvest(&g, words), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	CU_ASSERT_EQUAL(harvest(&g, words), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_TRUE(harvest(&g, words) >= 20);
	free(words);
	guest_free(&g);
}

/* Harvesting ORs into what the caller has, the high slot at its place in the memfd. */
static void test_slots(void)
{
	struct guest g;
	struct vcpu_exit exit;
	uint64_t pdpt = LAYOUT_PAGE_TABLE + 0x1000, entry = (LAYOUT_PAGE_TABLE + 0x6000) | 3;
	uint64_t page = RAM_HIGH | 0x83, *words;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 3072 * MIB + 4 * MIB), 0);
	ram_write(g.ram, pdpt + 4 * 8, &entry, 8);
	ram_write(g.ram, LAYOUT_PAGE_TABLE + 0x6000, &page, 8);
	GUEST_CODE(&g, 0xe6, 0x98,                          /* out %al, $0x98 */
		   0x48, 0xbb, IMM32(0x5000), IMM32(1),     /* mov $0x100005000, %rbx */
		   0xc7, 0x03, IMM32(0xcafe),               /* movl $0xcafe, (%rbx) */
		   0xbb, IMM32(0xbffff000),                 /* the low slot's last page */
		   0xc7, 0x03, IMM32(0xcafe),
		   0xe6, 0x99);                             /* out %al, $0x99 */
	words = words_of(&g);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	guest_run(&g, 0, &exit);
	words[7] = 1;
	CU_ASSERT_EQUAL(g.ops->dirty_harvest(g.engine, words, &g.err), 0);
	CU_ASSERT_TRUE(words[7] & 1);
	CU_ASSERT_TRUE(bit(words, 0xbffff));
	CU_ASSERT_TRUE(bit(words, 0xc0005));
	CU_ASSERT_FALSE(bit(words, 0xc0004));
	CU_ASSERT_TRUE(count(&g, words) < 3 + 9);
	free(words);
	guest_free(&g);
}

struct runner {
	struct guest *g;
	atomic_bool stop;
};

static void *run(void *context)
{
	struct runner *r = context;
	struct vcpu_exit exit = {.kind = VCPU_EXIT_KICKED};

	while (!atomic_load(&r->stop) && exit.kind == VCPU_EXIT_KICKED)
		r->g->ops->vcpu_run(guest_cpu(r->g, 0), &exit);
	r->g->ops->vcpu_settle(guest_cpu(r->g, 0));
	return NULL;
}

static uint64_t copy_dirty(struct guest *g, const uint64_t *words, uint8_t *to)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < ram_size(g->ram) / 4096; page++) {
		if (!bit(words, page))
			continue;
		memcpy(to + page * 4096, ram_base(g->ram) + page * 4096, 4096);
		n++;
	}
	return n;
}

/*
 * A move in small: copy all, then what is dirty, while the guest writes pages in an order
 * of its own and the monitor writes too; after the last harvest both must be equal.
 */
static void test_complete(void)
{
	struct guest g;
	struct runner r = {.g = &g};
	pthread_t thread;
	uint64_t *words, size = 8 * MIB, copied = 0, sum = 0;
	uint8_t *copy = malloc(size);

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, size), 0);
	GUEST_CODE(&g, 0x69, 0xc9, IMM32(1103515245), /* 1: imul $.., %ecx, %ecx */
		   0x81, 0xc1, IMM32(12345),          /* add $.., %ecx */
		   0x89, 0xcb,                        /* mov %ecx, %ebx */
		   0x81, 0xe3, IMM32(0x3ff000),       /* and $0x3ff000, %ebx */
		   0x48, 0xff, 0x83, IMM32(0x200000), /* incq 0x200000(%rbx) */
		   0xeb, 0xe3);                       /* jmp 1b */
	words = words_of(&g);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	pthread_create(&thread, NULL, run, &r);
	usleep(20000);
	ram_track(g.ram, true);
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	memcpy(copy, ram_base(g.ram), size);
	for (unsigned round = 0; round < 40; round++) {
		uint32_t mark = round;

		ram_write(g.ram, 0x700000 + round * 4096, &mark, 4);
		ram_harvest(g.ram, words);
		CU_ASSERT_EQUAL(g.ops->dirty_harvest(g.engine, words, &g.err), 0);
		copied += copy_dirty(&g, words, copy);
		memset(words, 0, size / 4096 / 8);
		usleep(2000);
	}
	atomic_store(&r.stop, true);
	g.ops->vcpu_kick(guest_cpu(&g, 0));
	pthread_join(thread, NULL);
	ram_harvest(g.ram, words);
	CU_ASSERT_EQUAL(g.ops->dirty_harvest(g.engine, words, &g.err), 0);
	copied += copy_dirty(&g, words, copy);
	CU_ASSERT_EQUAL(memcmp(copy, ram_base(g.ram), size), 0);
	for (uint64_t page = 0; page < 1024; page++)
		sum += le64_get(ram_at(g.ram, 0x200000 + page * 4096, 8));
	printf("(%llu writes, %llu pages copied) ", (unsigned long long)sum,
	       (unsigned long long)copied);
	/* It was live: pages were copied, written again and copied again. */
	CU_ASSERT_TRUE(copied > 1024);
	CU_ASSERT_TRUE(sum > 1024);
	free(copy);
	free(words);
	guest_free(&g);
}

/* What KVM itself writes for the guest counts too: here its clock page. */
static void test_kvm_writes(void)
{
	struct guest g;
	struct vcpu_exit exit;
	uint64_t *words;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 8 * MIB), 0);
	GUEST_CODE(&g, 0xe6, 0x98, 0xe6, 0x99); /* out; out */
	words = words_of(&g);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(g.ops->dirty_start(g.engine, &g.err), 0);
	CU_ASSERT_EQUAL(kvm_msr_write(kvm_engine_of(g.engine), 0, 0x4b564d01, 0x400001), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_TRUE(harvest(&g, words) > 0);
	CU_ASSERT_TRUE(bit(words, 0x400));
	free(words);
	guest_free(&g);
}

int main(void)
{
	char why[128];

	if (guest_skip_reason(why, sizeof(why))) {
		printf("skipped: %s\n", why);
		return 77;
	}
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("kvm dirty log", NULL, NULL);
	CU_ADD_TEST(suite, test_exact);
	CU_ADD_TEST(suite, test_slots);
	CU_ADD_TEST(suite, test_complete);
	CU_ADD_TEST(suite, test_kvm_writes);
	return guest_tests_run();
}
