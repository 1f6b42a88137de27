/* SPDX-License-Identifier: Apache-2.0 */
/* User mode: in and out, and that what a program has in its registers stays there. */
#include "case_user.h"

extern const char u_syscall[], u_syscall_next[], u_rotate[], u_echo[], u_read[], u_write[],
    u_spin[];

void user_expect_syscall(int64_t reason, uint64_t number)
{
	if (reason == SEGUE_PV_TRAP) {
		fail_values("trap instead of system call", user->trap.vector,
			    user->trap.address);
		return;
	}
	EXPECT_EQ(reason, SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number & 0xffffffff, number);
}

void user_start(struct program *p, const char *code)
{
	EXPECT(program_new(p, code));
}

/* All registers of user->regs: their number times SEED. */
static void pattern(uint64_t seed)
{
	uint64_t *r = (uint64_t *)&user->regs;

	for (unsigned i = 0; i < 16; i++)
		if (i != 7) /* RSP */
			r[i] = (i + 1) * seed;
}

/* ---- system calls ---- */

static void user_syscall(void)
{
	struct program p;
	uint64_t *r = (uint64_t *)&user->regs;

	RUN(user_start(&p, u_syscall));
	pattern(0x111111111ull);
	r[0] = 0x1234; /* RAX */
	RUN(user_expect_syscall(enter(p.id), 0x1234));
	for (unsigned round = 0; round < 1000; round++) {
		EXPECT_EQ(user->rip, user_at(u_syscall_next));
		EXPECT_EQ(user->arguments[0], 6 * 0x111111111ull);  /* RDI */
		EXPECT_EQ(user->arguments[1], 5 * 0x111111111ull);  /* RSI */
		EXPECT_EQ(user->arguments[2], 4 * 0x111111111ull);  /* RDX */
		EXPECT_EQ(user->arguments[3], 11 * 0x111111111ull); /* R10 */
		EXPECT_EQ(user->arguments[4], 9 * 0x111111111ull);  /* R8 */
		EXPECT_EQ(user->arguments[5], 10 * 0x111111111ull); /* R9 */
		RUN(user_expect_syscall(enter_return(p.id, 1000 + round), 1000 + round));
		EXPECT_EQ(user->action, SEGUE_PV_CONTINUE);
	}
}

/* Results are 64 bits wide, and may look like a host's errors. */
static void user_results(void)
{
	static const uint64_t values[] = {
	    0,
	    ~0ull,
	    (uint64_t)-4,
	    (uint64_t)-512,
	    (uint64_t)-513,
	    (uint64_t)-514,
	    (uint64_t)-516,
	    (uint64_t)-38,
	    (uint64_t)-4095,
	    1ull << 63,
	    0x123456789abcdefull,
	    0x80000000,
	};
	uint64_t seed = 4;
	struct program p;
	int64_t r;

	RUN(user_start(&p, u_echo));
	user->regs.rax = 7;
	RUN(user_expect_syscall(enter(p.id), 7));
	for (unsigned round = 0; round < 200; round++) {
		uint64_t value = values[round % (sizeof(values) / sizeof(*values))];

		/* Now and then somebody looks, or an event is about to come. */
		if (round % 3 == 1)
			EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		user->action = SEGUE_PV_RETURN;
		user->value = value;
		if (round % 5 == 2)
			set_timer(clock_ns() + random_next(&seed) % 20000);
		while ((r = enter(p.id)) == SEGUE_PV_EVENT)
			pending_clear(TIMER);
		RUN(user_expect_syscall(r, SYS_DONE));
		EXPECT_EQ(user->arguments[0], value);
	}
}

/* Without anybody asking for registers, all of them come by in the arguments. */
static void user_registers(void)
{
	/* Who follows whom: a rotation of one place a call. */
	static const unsigned order[] = {5, 4, 3, 10, 8, 9, 1, 6, 12, 13, 14, 15};
	uint64_t held[12];
	struct program p;

	RUN(user_start(&p, u_rotate));
	pattern(0x0101010101ull);
	for (unsigned i = 0; i < 12; i++)
		held[i] = (order[i] + 1) * 0x0101010101ull;
	user->regs.rax = 5;
	RUN(user_expect_syscall(enter(p.id), 5));
	for (unsigned round = 0; round < 100; round++) {
		uint64_t first = held[0];

		for (unsigned i = 0; i < 6; i++)
			EXPECT_EQ(user->arguments[i], held[i]);
		for (unsigned i = 0; i < 11; i++)
			held[i] = held[i + 1];
		held[11] = first;
		if (round % 10 == 9)
			EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		RUN(user_expect_syscall(enter_return(p.id, 6), 6));
	}
}

static void user_get(void)
{
	struct program p;
	uint64_t *r = (uint64_t *)&user->regs;

	RUN(user_start(&p, u_syscall));
	pattern(0x1234567);
	user->regs.rax = 3;
	RUN(user_expect_syscall(enter(p.id), 3));
	for (unsigned again = 0; again < 3; again++) {
		memset(r, 0xee, sizeof(user->regs));
		EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		for (unsigned i = 0; i < 16; i++)
			/* Not RAX, RCX, RSP and R11. */
			if (i != 0 && i != 2 && i != 7 && i != 11)
				EXPECT_EQ(r[i], (i + 1) * 0x1234567);
		EXPECT_EQ(user->regs.rip, user_at(u_syscall_next));
		EXPECT_EQ(user->regs.rsp, USER_STACK + PAGE - 64);
		EXPECT_EQ(user->regs.rflags & 0xdd5, 0);
	}
	RUN(user_expect_syscall(enter_return(p.id, 44), 44));
	EXPECT_EQ(user->arguments[0], 6 * 0x1234567);
	/* Back with what was got, changed: as a debugger does. */
	EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
	user->action = SEGUE_PV_LOAD;
	user->regs.rdi = 999;
	user->regs.rax = 45;
	user->regs.rip = user_at(u_syscall);
	RUN(user_expect_syscall(enter(p.id), 45));
	EXPECT_EQ(user->arguments[0], 999);
	EXPECT_EQ(user->arguments[1], 5 * 0x1234567);
}

static void user_actions(void)
{
	struct program p;

	RUN(user_start(&p, u_syscall));
	user->action = SEGUE_PV_CONTINUE;
	EXPECT(is_error(enter(p.id)));
	user->action = SEGUE_PV_RETURN;
	EXPECT(is_error(enter(p.id)));
	user->action = 3;
	EXPECT(is_error(enter(p.id)));
	user->action = ~0u;
	EXPECT(is_error(enter(p.id)));
	user_load(u_syscall);
	user->regs.rax = 8;
	RUN(user_expect_syscall(enter(p.id), 8));
	/* CONTINUE after a system call: the program goes on, with whatever value. */
	user->action = SEGUE_PV_CONTINUE;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	/* The same id again is refused, and does no harm. */
	EXPECT(is_error(hv(SEGUE_PV_CONTEXT_CREATE, p.root, p.id, 0)));
	RUN(user_expect_syscall(enter_return(p.id, 9), 9));
	/* Its place is free afterwards. */
	EXPECT_EQ(hv(SEGUE_PV_CONTEXT_DESTROY, p.id, 0, 0), 0);
	EXPECT(is_error(enter(p.id)));
	EXPECT_EQ(hv(SEGUE_PV_CONTEXT_CREATE, p.root, p.id, 0), 0);
	user_load(u_syscall);
	user->regs.rax = 10;
	RUN(user_expect_syscall(enter(p.id), 10));
	/* The end of a root ends its contexts. */
	root_drop(p.root);
	EXPECT(is_error(enter_return(p.id, 0)));
}

/* ids up to the last one. */
static void user_ids(void)
{
	static const uint64_t ids[] = {0, 1, 63, 64, 65535, 1u << 20, (1u << 22) - 1};
	uint64_t root = user_root(NULL);

	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		EXPECT_EQ(hv(SEGUE_PV_CONTEXT_CREATE, root, ids[i], 0), 0);
	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		user_load(u_syscall);
		user->regs.rdi = ids[i];
		user->regs.rax = i;
		RUN(user_expect_syscall(enter(ids[i]), i));
	}
	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		RUN(user_expect_syscall(enter_return(ids[i], 20 + i), 20 + i));
		EXPECT_EQ(user->arguments[0], ids[i]);
	}
	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		EXPECT_EQ(hv(SEGUE_PV_CONTEXT_DESTROY, ids[i], 0, 0), 0);
}

/* ---- registers that make no sense ---- */

static void user_load_bad(void)
{
	static const struct segue_pv_regs odd[] = {
	    {.rip = ~0ull},
	    {.rip = 1ull << 47},
	    {.rip = 1ull << 63},
	    {.rip = 0},
	    {.rip = SEGUE_PV_VA_END},
	    {.rip = SEGUE_PV_DIRECT},
	    {.rip = USER_CODE, .rsp = ~0ull},
	    {.rip = USER_CODE, .rsp = 1ull << 63},
	    {.rip = USER_CODE, .rflags = ~0ull},
	    {.rip = USER_CODE, .rflags = 1u << 17},
	    {.rip = USER_CODE, .rflags = 1u << 14 | 3u << 12},
	    {.rip = USER_CODE, .fs_base = 1ull << 63},
	    {.rip = USER_CODE, .fs_base = ~0ull, .gs_base = ~0ull},
	    {.rip = USER_CODE, .fs_base = 1ull << 47, .gs_base = 0xffffffff80000000ull},
	};
	struct program p;

	RUN(user_start(&p, u_syscall));
	for (unsigned i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		int64_t r;

		user->action = SEGUE_PV_LOAD;
		user->has_xsave = 0;
		user->regs = odd[i];
		if (odd[i].rip == USER_CODE)
			user->regs.rip = user_at(u_syscall);
		r = enter(p.id);
		if (!is_error(r) && r != SEGUE_PV_SYSCALL && r != SEGUE_PV_TRAP)
			fail_values("odd registers", (uint64_t)r, i);
		if (r == SEGUE_PV_TRAP && user->trap.vector == SEGUE_PV_VECTOR_LOST) {
			context_end(p.id);
			p.id = context_new(p.root);
		}
		user_load(u_syscall);
		user->regs.rax = 50 + i;
		RUN(user_expect_syscall(enter(p.id), 50 + i));
	}
}

/* A jump to nowhere, by LOAD: the fault is the fetch. */
static void user_load_fault(void)
{
	struct program p;

	RUN(user_start(&p, u_syscall));
	user->regs.rip = 0x30000000;
	EXPECT_EQ(enter(p.id), SEGUE_PV_TRAP);
	EXPECT_EQ(user->trap.vector, SEGUE_PV_VECTOR_PF);
	EXPECT_EQ(user->trap.address, 0x30000000);
	EXPECT_EQ(user->trap.error, SEGUE_PV_PF_USER | SEGUE_PV_PF_FETCH);
	EXPECT_EQ(user->rip, 0x30000000);
}

/* Threads: one root, several contexts, one memory. */
static void user_threads(void)
{
	struct program p, q;

	RUN(user_start(&p, u_write));
	q = p;
	q.id = context_new(p.root);
	EXPECT(q.id != ~0ull);
	user_load(u_write);
	user->regs.rsi = 4711;
	RUN(user_expect_syscall(enter(q.id), SYS_DONE));
	user_load(u_read);
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
	EXPECT_EQ(user->arguments[0], 4711);
	EXPECT_EQ(*(uint64_t *)at(p.data), 4711);
	/* What the kernel writes, both see. */
	*(uint64_t *)at(p.data) = 815;
	user_load(u_read);
	RUN(user_expect_syscall(enter(q.id), SYS_DONE));
	EXPECT_EQ(user->arguments[0], 815);
	context_end(q.id);
	user_load(u_read);
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
}

/* Contexts of all kinds end without being asked to. */
static void user_abandon(void)
{
	struct program p;

	for (unsigned round = 0; round < 20; round++) {
		RUN(user_start(&p, round & 1 ? u_spin : u_syscall));
		if (round & 2) {
			set_timer(clock_ns() + 200000);
			enter(p.id);
			pending_clear(TIMER);
		}
		if (round & 4)
			context_end(p.id);
		if (round & 8)
			root_drop(p.root);
	}
}

const struct probe_case user_cases[] = {
    {"user-syscall", user_syscall},
    {"user-results", user_results},
    {"user-registers", user_registers},
    {"user-get", user_get},
    {"user-actions", user_actions},
    {"user-ids", user_ids},
    {"user-load-bad", user_load_bad},
    {"user-load-fault", user_load_fault},
    {"user-threads", user_threads},
    {"user-abandon", user_abandon},
    {NULL, NULL},
};
