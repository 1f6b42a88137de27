/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pv_guest.h"

/*
 * User mode under the paravirtual engine, and guests that are saved and loaded wherever they
 * are. The program counts, calls its kernel when told to, and adds up what that returns.
 */
#define DATA  GUEST_FREE /* gpa of the program's data page; a page a program */
#define NONE  0, 0, 0, 0
#define MAGIC 0x5152535455565758ull

struct data {
	uint64_t count, stop, sum, xmm;
};

static struct guest g;

static void begin(void)
{
	guest_create(&g);
	guest_boot(&g);
	guest_go(&g);
}

static void end(void)
{
	guest_destroy(&g);
}

static int64_t call(uint64_t nr, uint64_t a, uint64_t b)
{
	return guest_op(&g, nr, a, b, 0, 0);
}

static volatile struct data *data_of(struct guest *guest, unsigned i)
{
	return guest_at(guest, DATA + i * SEGUE_PV_PAGE);
}

static struct segue_pv_user *user(void)
{
	return &guest_page(&g)->user;
}

static void stop_program(struct guest *guest, unsigned i)
{
	data_of(guest, i)->stop = 1;
	ram_mark(guest->ram, DATA + i * SEGUE_PV_PAGE, 1);
}

/* Context I in a root of its own, ready to be entered. */
static uint64_t program(unsigned i)
{
	uint64_t root = guest_root(&g);
	struct segue_pv_regs regs;

	guest_program(&g, root, DATA + i * SEGUE_PV_PAGE, &regs);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, root, i), 0);
	user()->regs = regs;
	user()->action = SEGUE_PV_LOAD;
	user()->has_xsave = 0;
	return root;
}

static void expect_call(unsigned i)
{
	CU_ASSERT_EQUAL(user()->action, SEGUE_PV_CONTINUE);
	CU_ASSERT_EQUAL(user()->number, 77);
	CU_ASSERT_EQUAL(user()->arguments[0], data_of(&g, i)->count);
	CU_ASSERT_EQUAL(user()->arguments[1], 2);
	CU_ASSERT_EQUAL(user()->arguments[2], 3);
	CU_ASSERT_EQUAL(user()->arguments[3], 4);
	CU_ASSERT_EQUAL(user()->arguments[4], 5);
	CU_ASSERT_EQUAL(user()->arguments[5], 6);
}

/* The program runs until it has been told to call. */
static int64_t enter_and_stop(unsigned i)
{
	unsigned entered = guest_post(&g, SEGUE_PV_ENTER_USER, i, 0, 0, 0);
	uint64_t count = data_of(&g, i)->count;

	UNTIL(data_of(&g, i)->count != count);
	stop_program(&g, i);
	return guest_wait(&g, entered);
}

static void test_calls(void)
{
	begin();
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, 0, 9), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 9, 0), -EINVAL); /* no registers yet */
	program(0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, 0, 9), -EINVAL); /* there is one */
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	expect_call(0);
	user()->action = SEGUE_PV_RETURN;
	user()->value = 1000;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	expect_call(0);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 1000);

	/* Nothing returned: it finds the call's number. */
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 1077);
	user()->action = 7;
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), -EINVAL);
	user()->action = SEGUE_PV_CONTINUE;
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_DESTROY, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), -EINVAL);
	end();
}

/* A RETURN that an event comes in front of has been made all the same, once. */
static void test_event_first(void)
{
	begin();
	program(0);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 7, true), 0);
	user()->action = SEGUE_PV_RETURN;
	user()->value = 5;
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), SEGUE_PV_EVENT);
	CU_ASSERT_EQUAL(user()->action, SEGUE_PV_CONTINUE);
	CU_ASSERT_EQUAL(call(SEGUE_PV_GET_USER, 0, 0), 0);
	CU_ASSERT_EQUAL(user()->regs.rax, 5);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 7, false), 0);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 5);
	end();
}

static void test_event_ends(void)
{
	unsigned entered;

	begin();
	program(0);
	entered = guest_post(&g, SEGUE_PV_ENTER_USER, NONE);
	UNTIL(data_of(&g, 0)->count > 1000);
	for (unsigned i = 0; i < 50; i++) {
		CU_ASSERT_FALSE(guest_done(&g, entered));
		CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 7, true), 0);
		CU_ASSERT_EQUAL(guest_wait(&g, entered), SEGUE_PV_EVENT);
		CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 7, false), 0);
		entered = guest_post(&g, SEGUE_PV_ENTER_USER, NONE);
	}
	stop_program(&g, 0);
	CU_ASSERT_EQUAL(guest_wait(&g, entered), SEGUE_PV_SYSCALL);
	expect_call(0);
	end();
}

static void put_xmm7(uint64_t value)
{
	memset(user()->xsave, 0, sizeof(user()->xsave));
	memcpy(user()->xsave + 24, &(uint32_t){0x1f80}, 4);
	memcpy(user()->xsave + 160 + 7 * 16, &value, 8);
	memcpy(user()->xsave + 512, &(uint64_t){2}, 8);
	user()->has_xsave = 1;
}

static void test_registers(void)
{
	struct segue_pv_regs regs;
	uint64_t xmm;

	begin();
	program(0);
	user()->regs.r12 = MAGIC;
	user()->regs.fs_base = 0x7f1234567000;
	regs = user()->regs;
	put_xmm7(MAGIC + 1);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	regs.rip = user()->rip;
	CU_ASSERT_EQUAL(call(SEGUE_PV_GET_USER, 0, 0), 0);
	CU_ASSERT_EQUAL(user()->regs.r12, MAGIC);
	CU_ASSERT_EQUAL(user()->regs.fs_base, 0x7f1234567000);
	CU_ASSERT_EQUAL(user()->regs.rbx, regs.rbx);
	CU_ASSERT_EQUAL(user()->regs.rsp, regs.rsp);
	CU_ASSERT_EQUAL(user()->regs.rip, regs.rip);
	CU_ASSERT_EQUAL(user()->regs.rax, 77);
	memcpy(&xmm, user()->xsave + 160 + 7 * 16, 8);
	CU_ASSERT_EQUAL(xmm, MAGIC + 1);
	/* Looked at, it goes on; its state has stayed with it. */
	user()->action = SEGUE_PV_RETURN;
	user()->value = 1;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 1);
	CU_ASSERT_EQUAL(data_of(&g, 0)->xmm, MAGIC + 1);
	/* New registers alone leave floating-point state as it is. */
	user()->regs = regs;
	user()->regs.rip = GUEST_CODE_VA;
	user()->has_xsave = 0;
	user()->action = SEGUE_PV_LOAD;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	data_of(&g, 0)->xmm = 0;
	user()->action = SEGUE_PV_RETURN;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->xmm, MAGIC + 1);
	end();
}

static void expect_trap(uint32_t vector, uint32_t error, uint64_t address)
{
	CU_ASSERT_EQUAL(user()->trap.vector, vector);
	CU_ASSERT_EQUAL(user()->trap.error, error);
	CU_ASSERT_EQUAL(user()->trap.address, address);
}

static void test_traps(void)
{
	uint64_t root;

	begin();
	root = program(0);
	user()->regs.rbx = GUEST_DATA_VA + SEGUE_PV_PAGE; /* nothing there */
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), SEGUE_PV_TRAP);
	expect_trap(SEGUE_PV_VECTOR_PF, SEGUE_PV_PF_USER | SEGUE_PV_PF_WRITE,
		    GUEST_DATA_VA + SEGUE_PV_PAGE + 8);
	CU_ASSERT_EQUAL(user()->rip, GUEST_CODE_VA);
	/* The kernel fills it in; the same instruction goes on. */
	guest_map(&g, root, GUEST_DATA_VA + SEGUE_PV_PAGE, DATA,
		  SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_A | SEGUE_PV_PTE_W |
			  SEGUE_PV_PTE_D);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	/* The kernel's memory is not there, whoever says what. */
	user()->regs.rip = DIRECT(GUEST_KERNEL);
	user()->action = SEGUE_PV_LOAD;
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), SEGUE_PV_TRAP);
	expect_trap(SEGUE_PV_VECTOR_PF, SEGUE_PV_PF_USER | SEGUE_PV_PF_FETCH,
		    DIRECT(GUEST_KERNEL));
	/* Data is not code. */
	user()->regs.rip = GUEST_DATA_VA;
	user()->action = SEGUE_PV_LOAD;
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), SEGUE_PV_TRAP);
	expect_trap(SEGUE_PV_VECTOR_PF,
		    SEGUE_PV_PF_USER | SEGUE_PV_PF_FETCH | SEGUE_PV_PF_PRESENT, GUEST_DATA_VA);
	CU_ASSERT_EQUAL(call(SEGUE_PV_DROP_ROOT, root, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 0, 0), -EINVAL);
	end();
}

/* More address spaces than the host is allowed processes: each goes on where it was. */
static void test_eviction(void)
{
	enum { N = 12, ROUNDS = 5 };

	begin();
	((struct pv_engine *)g.engine)->domains_max = 4;
	for (unsigned i = 0; i < N; i++) {
		program(i);
		put_xmm7(MAGIC + i);
		CU_ASSERT_EQUAL(enter_and_stop(i), SEGUE_PV_SYSCALL);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N; i++) {
			user()->action = SEGUE_PV_RETURN;
			user()->value = 10 + i;
			CU_ASSERT_EQUAL(enter_and_stop(i), SEGUE_PV_SYSCALL);
			expect_call(i);
		}
	}
	for (unsigned i = 0; i < N; i++) {
		CU_ASSERT_EQUAL(data_of(&g, i)->sum, ROUNDS * (10 + i));
		CU_ASSERT_EQUAL(data_of(&g, i)->xmm, MAGIC + i);
	}
	CU_ASSERT(((struct pv_engine *)g.engine)->n_domains <= 4);
	end();
}

/* ---- moves ---- */

static void swap_to(struct guest *other)
{
	guest_pause(&g);
	guest_move(other, &g);
	engine_pv.destroy(g.engine);
	ram_destroy(g.ram);
	g = *other;
	guest_go(&g);
}

static void test_move_kernel(void)
{
	struct guest other;

	begin();
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0), SEGUE_PV_VERSION);
	swap_to(&other);
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0), SEGUE_PV_VERSION);
	CU_ASSERT_EQUAL(guest_op(&g, OP_STORE, DIRECT(DATA), 44, 0, 0), 0);
	CU_ASSERT_EQUAL(guest_op(&g, OP_LOAD, DIRECT(DATA), 0, 0, 0), 44);
	end();
}

static void test_move_blocked(void)
{
	struct guest other;
	unsigned blocked;

	begin();
	blocked = guest_post(&g, SEGUE_PV_BLOCK, NONE);
	usleep(20000);
	swap_to(&other);
	usleep(20000);
	CU_ASSERT_FALSE(guest_done(&g, blocked));
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 3, true), 0);
	CU_ASSERT_EQUAL(guest_wait(&g, blocked), 0);
	end();
}

static void test_move_timer(void)
{
	struct segue_pv_clock *clock;
	struct guest other;
	unsigned blocked;
	uint32_t sequence;

	begin();
	clock = &guest_page(&g)->clock;
	sequence = clock->sequence;
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, clock->base_ns + 300000000, 0), 0);
	blocked = guest_post(&g, SEGUE_PV_BLOCK, NONE);
	usleep(20000);
	CU_ASSERT_FALSE(guest_done(&g, blocked));
	swap_to(&other);
	CU_ASSERT_NOT_EQUAL(guest_page(&g)->clock.sequence, sequence);
	CU_ASSERT_EQUAL(guest_wait(&g, blocked), 0);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 1u << SEGUE_PV_LINE_TIMER);
	end();
}

static void test_move_user(void)
{
	struct guest other;
	unsigned entered;
	uint64_t count;

	begin();
	program(0);
	put_xmm7(MAGIC);
	entered = guest_post(&g, SEGUE_PV_ENTER_USER, NONE);
	UNTIL(data_of(&g, 0)->count > 1000);
	swap_to(&other);
	CU_ASSERT_FALSE(guest_done(&g, entered));
	count = data_of(&g, 0)->count;
	UNTIL(data_of(&g, 0)->count > count);
	stop_program(&g, 0);
	CU_ASSERT_EQUAL(guest_wait(&g, entered), SEGUE_PV_SYSCALL);
	expect_call(0);
	user()->action = SEGUE_PV_RETURN;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->xmm, MAGIC);
	end();
}

static void test_move_in_call(void)
{
	struct guest other;

	begin();
	program(0);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	swap_to(&other);
	expect_call(0);
	user()->action = SEGUE_PV_RETURN;
	user()->value = 321;
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 321);
	/* Once: what has been returned is not returned again. */
	swap_to(&other);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	CU_ASSERT_EQUAL(data_of(&g, 0)->sum, 321 + 77);
	end();
}

/* A move that was given up: the source goes on. */
static void test_stay(void)
{
	struct buffer state = {0};
	struct error err = {0};
	unsigned entered;
	uint64_t count;

	begin();
	program(0);
	entered = guest_post(&g, SEGUE_PV_ENTER_USER, NONE);
	for (unsigned i = 0; i < 20; i++) {
		count = data_of(&g, 0)->count;
		UNTIL(data_of(&g, 0)->count > count);
		guest_pause(&g);
		CU_ASSERT_EQUAL(engine_pv.clock_freeze(g.engine, &err), 0);
		CU_ASSERT_EQUAL(engine_pv.save(g.engine, &state, &err), 0);
		CU_ASSERT_EQUAL(engine_pv.clock_release(g.engine, 0, &err), 0);
		guest_go(&g);
	}
	stop_program(&g, 0);
	CU_ASSERT_EQUAL(guest_wait(&g, entered), SEGUE_PV_SYSCALL);
	expect_call(0);
	buffer_done(&state);
	end();
}

static void test_bad_state(void)
{
	struct buffer state = {0};
	struct error err = {0};
	struct guest other;
	unsigned refused = 0;

	begin();
	program(0);
	CU_ASSERT_EQUAL(enter_and_stop(0), SEGUE_PV_SYSCALL);
	guest_pause(&g);
	CU_ASSERT_EQUAL(engine_pv.save(g.engine, &state, &err), 0);
	guest_create(&other);
	srand(4711);
	for (unsigned i = 0; i < 300; i++) {
		size_t at = (size_t)rand() % 200;
		uint8_t old = state.data[at];

		state.data[at] ^= (uint8_t)(1 + rand() % 255);
		refused += engine_pv.load(other.engine, state.data, state.len, NULL) < 0;
		state.data[at] = old;
	}
	CU_ASSERT(refused > 0);
	CU_ASSERT(engine_pv.load(other.engine, state.data, state.len - 1, NULL) < 0);
	CU_ASSERT_EQUAL(engine_pv.load(other.engine, state.data, state.len, NULL), 0);
	guest_destroy(&other);
	buffer_done(&state);
	end();
}

int main(void)
{
	CU_pSuite suite;
	int failures;

	if (guest_cannot())
		return 77;
	CU_initialize_registry();
	suite = CU_add_suite("pv user mode", NULL, NULL);
	CU_add_test(suite, "calls", test_calls);
	CU_add_test(suite, "event before a return", test_event_first);
	CU_add_test(suite, "events end it", test_event_ends);
	CU_add_test(suite, "registers", test_registers);
	CU_add_test(suite, "traps", test_traps);
	CU_add_test(suite, "eviction", test_eviction);
	CU_add_test(suite, "move: kernel", test_move_kernel);
	CU_add_test(suite, "move: blocked", test_move_blocked);
	CU_add_test(suite, "move: timer", test_move_timer);
	CU_add_test(suite, "move: user", test_move_user);
	CU_add_test(suite, "move: in a call", test_move_in_call);
	CU_add_test(suite, "move given up", test_stay);
	CU_add_test(suite, "damaged state", test_bad_state);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = (int)CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
