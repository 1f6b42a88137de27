/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pv_guest.h"

/*
 * The paravirtual engine's dirty source: a copy of memory that is kept up by nothing but what
 * harvests say is the memory in the end, however and by whom it was written.
 */
#define DATA   0x500000u /* gpa */
#define PAGES  512u
#define KVA    0x4000000000ull
#define ROUNDS 40u
#define WORDS  (GUEST_RAM / RAM_PAGE / 64)
#define WRITE  (SEGUE_PV_PTE_P | SEGUE_PV_PTE_A | SEGUE_PV_PTE_W | SEGUE_PV_PTE_D)

extern const uint8_t pv_program[], pv_program_touches[];

static struct guest g;
static uint8_t copy[GUEST_RAM];
static uint64_t kernel_root, root;

static int64_t call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return guest_op(&g, nr, a, b, c, 0);
}

static unsigned harvest(void)
{
	static uint64_t words[WORDS];
	struct error err = {0};
	unsigned n = 0;

	memset(words, 0, sizeof(words));
	CU_ASSERT_EQUAL(engine_pv.dirty_harvest(g.engine, words, &err), 0);
	ram_harvest(g.ram, words);
	for (uint64_t page = 0; page < GUEST_RAM / RAM_PAGE; page++) {
		if (!(words[page / 64] >> page % 64 & 1))
			continue;
		memcpy(copy + page * RAM_PAGE, ram_base(g.ram) + page * RAM_PAGE, RAM_PAGE);
		n++;
	}
	return n;
}

/* A program that goes over all of the data, from the page it is given to the end. */
static void touch_from(unsigned page)
{
	struct segue_pv_user *user = &guest_page(&g)->user;

	memset(&user->regs, 0, sizeof(user->regs));
	user->regs.rip = GUEST_CODE_VA + (uint64_t)(pv_program_touches - pv_program);
	user->regs.rbx = GUEST_DATA_VA + page * SEGUE_PV_PAGE;
	user->regs.rflags = 0x202;
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 0;
	ram_mark(g.ram, GUEST_PAGE, SEGUE_PV_PAGE);
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 1, 0, 0), SEGUE_PV_TRAP);
}

static void begin(const char *way)
{
	struct segue_pv_regs regs;

	setenv("SEGUE_PV_DIRTY", way, 1);
	guest_create(&g);
	unsetenv("SEGUE_PV_DIRTY");
	guest_boot(&g);
	guest_go(&g);
	kernel_root = guest_root(&g);
	root = guest_root(&g);
	guest_program(&g, root, DATA, &regs);
	for (unsigned i = 0; i < PAGES; i++) {
		guest_map(&g, root, GUEST_DATA_VA + i * SEGUE_PV_PAGE, DATA + i * SEGUE_PV_PAGE,
			  WRITE | SEGUE_PV_PTE_U);
		guest_map(&g, kernel_root, KVA + i * SEGUE_PV_PAGE, DATA + i * SEGUE_PV_PAGE,
			  WRITE);
	}
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, kernel_root, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, root, 1, 0), 0);
	touch_from(0);
}

static void track(void)
{
	struct error err = {0};

	ram_track(g.ram, true);
	CU_ASSERT_EQUAL(engine_pv.dirty_start(g.engine, &err), 0);
	memcpy(copy, ram_base(g.ram), GUEST_RAM);
}

static void compare(void)
{
	unsigned differ = 0;

	guest_pause(&g);
	harvest();
	for (uint64_t page = 0; page < GUEST_RAM / RAM_PAGE; page++)
		differ += memcmp(copy + page * RAM_PAGE, ram_base(g.ram) + page * RAM_PAGE,
				 RAM_PAGE) != 0;
	CU_ASSERT_EQUAL(differ, 0);
	CU_ASSERT_EQUAL(engine_pv.dirty_stop(g.engine), 0);
	guest_go(&g);
}

/* One of the ways in which memory is written or mappings change. */
static void step(unsigned round)
{
	uint64_t page = (uint64_t)rand() % PAGES, va = page * SEGUE_PV_PAGE;

	switch (round % 5) {
	case 0:
		touch_from((unsigned)page);
		break;
	case 1:
		CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, KVA + va, (uint64_t)rand(), 0, 0), 0);
		break;
	case 2:
		CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, DIRECT(DATA + va), (uint64_t)rand(), 0, 0),
				0);
		break;
	case 3:
		CU_ASSERT_EQUAL(call(SEGUE_PV_FLUSH, round % 2 ? root : ~0ull, 0, ~0ull), 0);
		break;
	case 4:
		CU_ASSERT_EQUAL(call(SEGUE_PV_PRINT, DATA, 0, 0), 0);
		touch_from(PAGES - 1);
		break;
	}
}

static void follow(const char *way)
{
	begin(way);
	for (unsigned times = 0; times < 3; times++) {
		track();
		for (unsigned i = 0; i < ROUNDS; i++) {
			step(i);
			if (rand() % 3 == 0)
				harvest();
		}
		compare();
		step(0); /* untracked */
	}
	guest_destroy(&g);
}

static bool has(const char *way)
{
	struct error err = {0};
	struct guest probe;
	Segue__Guest guest = SEGUE__GUEST__INIT;
	struct engine_config config = {.guest = &guest};
	int r;

	setenv("SEGUE_PV_DIRTY", way, 1);
	guest.name = "test";
	guest.cpus = 1;
	CU_ASSERT_EQUAL_FATAL(ram_create_flat(GUEST_RAM, &probe.ram, &err), 0);
	config.ram = probe.ram;
	r = engine_pv.create(&config, &probe.engine, &err);
	if (r == 0)
		engine_pv.destroy(probe.engine);
	else
		fprintf(stderr, "left out: %s\n", err.text);
	ram_destroy(probe.ram);
	unsetenv("SEGUE_PV_DIRTY");
	return r == 0;
}

static void test_uffd(void)
{
	if (has("uffd"))
		follow("uffd");
}

static void test_mprotect(void)
{
	CU_ASSERT_FATAL(has("mprotect"));
	follow("mprotect");
}

/* What is written is in the next harvest, and what is not is not, but for a little around. */
static void precise(const char *way, unsigned most)
{
	unsigned n;

	begin(way);
	track();
	harvest();
	CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, DIRECT(DATA), 1, 0, 0), 0);
	n = harvest();
	/* The page, the operations' list, notes, stack. */
	CU_ASSERT(n >= 2 && n <= most);
	touch_from(0);
	n = harvest();
	CU_ASSERT(n >= PAGES && n <= PAGES + most);
	guest_destroy(&g);
}

static void test_precise(void)
{
	if (has("uffd"))
		precise("uffd", 8);
	precise("mprotect", 16);
}

/* A move that begins while the guest reboots. */
static void test_reboot(void)
{
	begin("mprotect");
	track();
	guest_pause(&g);
	guest_boot(&g);
	for (uint64_t at = 0; at < GUEST_RAM; at += RAM_PAGE)
		ram_mark(g.ram, at, 1); /* as the loader would */
	guest_go(&g);
	CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, DIRECT(DATA), 1, 0, 0), 0);
	harvest();
	CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, DIRECT(DATA + 0x5000), 2, 0, 0), 0);
	compare();
	guest_destroy(&g);
}

static void test_unknown_way(void)
{
	CU_ASSERT_FALSE(has("prayer"));
}

int main(void)
{
	CU_pSuite suite;
	unsigned seed = 20260101;
	int failures;

	if (guest_cannot())
		return 77;
	if (getenv("SEED"))
		seed = (unsigned)atoi(getenv("SEED"));
	printf("seed %u\n", seed);
	srand(seed);
	CU_initialize_registry();
	suite = CU_add_suite("pv dirty source", NULL, NULL);
	CU_add_test(suite, "by the host's kernel", test_uffd);
	CU_add_test(suite, "by faults", test_mprotect);
	CU_add_test(suite, "precise", test_precise);
	CU_add_test(suite, "reboot", test_reboot);
	CU_add_test(suite, "unknown way", test_unknown_way);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = (int)CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
