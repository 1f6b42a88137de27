/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of fault of user mode, and what each right of an entry is good for. */
#include "probe.h"

extern const char u_divide[], u_overflow[], u_breakpoint[], u_breakpoint_next[], u_undefined[],
    u_privileged[], u_noncanonical[], u_segment[], u_port[], u_softint[], u_alignment[],
    u_x87[], u_simd[], u_step[], u_step_first[], u_step_second[], u_harmless[], u_read[],
    u_write[], u_jump[], u_syscall[];

#define SYS_DONE 1
#define UVA      0x80000000ull
#define U        SEGUE_PV_PF_USER
#define P        SEGUE_PV_PF_PRESENT
#define W        SEGUE_PV_PF_WRITE
#define X        SEGUE_PV_PF_FETCH

static void expect_trap(int64_t reason, uint32_t vector)
{
	EXPECT_EQ(reason, SEGUE_PV_TRAP);
	EXPECT_EQ(user->trap.vector, vector);
}

static void fault_kinds(void)
{
	static const struct {
		const char *code, *rip; /* RIP 0: not looked at */
		uint32_t vector;
	} kinds[] = {
	    {u_overflow, NULL, SEGUE_PV_VECTOR_DE},
	    {u_breakpoint, u_breakpoint_next, SEGUE_PV_VECTOR_BP},
	    {u_undefined, u_undefined, SEGUE_PV_VECTOR_UD},
	    {u_privileged, u_privileged, SEGUE_PV_VECTOR_GP},
	    {u_noncanonical, NULL, SEGUE_PV_VECTOR_GP},
	    {u_segment, NULL, SEGUE_PV_VECTOR_GP},
	    {u_port, u_port, SEGUE_PV_VECTOR_GP},
	    {u_softint, u_softint, SEGUE_PV_VECTOR_GP},
	    {u_divide, NULL, SEGUE_PV_VECTOR_DE},
	    {u_alignment, NULL, SEGUE_PV_VECTOR_AC},
	    {u_x87, NULL, SEGUE_PV_VECTOR_MF},
	    {u_simd, NULL, SEGUE_PV_VECTOR_MF},
	    {u_step, u_step_second, SEGUE_PV_VECTOR_DB},
	};
	struct program p;

	EXPECT(program_new(&p, u_syscall));
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		user_load(kinds[i].code);
		EXPECT_EQ(enter(p.id), SEGUE_PV_TRAP);
		if (user->trap.vector != kinds[i].vector) {
			fail_values("vector", user->trap.vector, kinds[i].vector);
			return;
		}
		if (kinds[i].rip)
			EXPECT_EQ(user->rip, user_at(kinds[i].rip));
		/* The same context is none the worse for it. */
		user_load(u_syscall);
		user->regs.rax = i;
		EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->number, i);
	}
}

/* A fault met again is the same fault; registers can be looked at in between. */
static void fault_again(void)
{
	struct program p;

	EXPECT(program_new(&p, u_undefined));
	user->regs.r12 = 0x1212;
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_UD));
	for (unsigned i = 0; i < 20; i++) {
		user->action = SEGUE_PV_CONTINUE;
		RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_UD));
		EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		EXPECT_EQ(user->regs.rip, user_at(u_undefined));
		EXPECT_EQ(user->regs.r12, 0x1212);
	}
	/* A breakpoint is behind it already. */
	user_load(u_breakpoint);
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_BP));
	user->action = SEGUE_PV_CONTINUE;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number, SYS_DONE);
}

/* One page written, taken and given again and again, by the same instruction. */
static void fault_repeated(void)
{
	struct program p;
	uint64_t page = page_new();

	EXPECT(program_new(&p, u_write));
	for (unsigned i = 0; i < 2000; i++) {
		map(p.root, UVA, page, i & 1 ? U_RO : 0);
		EXPECT_EQ(flush(p.root, UVA, 1), 0);
		user_load(u_write);
		user->regs.rdi = UVA;
		user->regs.rsi = i;
		RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_PF));
		map(p.root, UVA, page, U_RW);
		user->action = SEGUE_PV_CONTINUE;
		EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
		EXPECT_EQ(*(uint64_t *)at(page), i);
		/* And without the kernel's hearing of it. */
		EXPECT_EQ(flush(p.root, UVA, 1), 0);
		user_load(u_write);
		user->regs.rdi = UVA;
		EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	}
	/* A fault nobody serves. */
	user_load(u_write);
	user->regs.rdi = UVA + PAGE;
	for (unsigned i = 0; i < 2000; i++) {
		RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_PF));
		user->action = SEGUE_PV_CONTINUE;
	}
}

static void fault_step(void)
{
	struct program p;

	EXPECT(program_new(&p, u_step));
	/* The instruction behind POPF is the first that is stepped over. */
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_DB));
	EXPECT_EQ(user->rip, user_at(u_step_second));
	for (unsigned i = 1; i < 3; i++) {
		user->action = SEGUE_PV_CONTINUE;
		RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_DB));
		EXPECT_EQ(user->rip, user_at(u_step_second) + i);
	}
	user->action = SEGUE_PV_CONTINUE;
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_UD));
	/* A debugger: LOAD with the flag set, step over a system call's neighbour. */
	user_load(u_step_first);
	user->regs.rflags |= 0x100;
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_DB));
	EXPECT_EQ(user->rip, user_at(u_step_second));
}

static void fault_harmless(void)
{
	struct program p;

	EXPECT(program_new(&p, u_harmless));
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number, SYS_DONE);
}

/* ---- page faults ---- */

#define NONE ~0u

/* One access at VA by CODE: it must fault with ERROR, or make its system call. */
static void access_at(const struct program *p, const char *code, uint64_t va, uint32_t error)
{
	int64_t r;

	user_load(code);
	user->regs.rdi = va;
	user->regs.rax = SYS_DONE;
	r = enter(p->id);
	if (error == NONE) {
		if (r == SEGUE_PV_TRAP)
			fail_values("fault without reason", user->trap.error,
				    user->trap.address);
		EXPECT_EQ(r, SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->number, SYS_DONE);
		return;
	}
	RUN(expect_trap(r, SEGUE_PV_VECTOR_PF));
	EXPECT_EQ(user->trap.address, va);
	EXPECT_EQ(user->trap.error, error);
	EXPECT_EQ(user->rip, code == u_jump ? va : user_at(code));
}

/* SYSCALL and UD2, where a jump goes; a write there is of other bytes. */
static void plant(uint64_t page)
{
	*(uint32_t *)at(page) = 0x0b0f050f;
}

static void fault_rights(void)
{
	static const struct {
		uint64_t flags;
		uint32_t read, write, jump;
	} rights[] = {
	    {U_RWX, NONE, NONE, NONE},
	    {U_RW, NONE, NONE, P | U | X},
	    {U_RO, NONE, P | U | W, P | U | X},
	    {U_RX, NONE, P | U | W, NONE},
	    {U_RWX & ~SEGUE_PV_PTE_U, P | U, P | U | W, P | U | X},
	    {U_RWX & ~SEGUE_PV_PTE_A, P | U, P | U | W, P | U | X},
	    {U_RWX & ~SEGUE_PV_PTE_D, NONE, P | U | W, NONE},
	    {U_RWX & ~SEGUE_PV_PTE_W, NONE, P | U | W, NONE},
	    {U_RWX & ~SEGUE_PV_PTE_P, U, U | W, U | X},
	};
	struct program p;
	uint64_t page = page_new();

	EXPECT(program_new(&p, u_syscall));
	for (unsigned i = 0; i < sizeof(rights) / sizeof(*rights); i++) {
		uint64_t va = UVA + i * 5 * PAGE;

		map(p.root, va, page, rights[i].flags);
		RUN(access_at(&p, u_write, va, rights[i].write));
		RUN(access_at(&p, u_read, va, rights[i].read));
		plant(page);
		RUN(access_at(&p, u_jump, va, rights[i].jump));
		RUN(access_at(&p, u_write, va, rights[i].write));
		/* Rights given count at once, rights taken after a FLUSH. */
		map(p.root, va, page, U_RWX);
		RUN(access_at(&p, u_write, va, NONE));
		plant(page);
		RUN(access_at(&p, u_jump, va, NONE));
		map(p.root, va, page, rights[i].flags);
		EXPECT_EQ(flush(p.root, va, 1), 0);
		RUN(access_at(&p, u_write, va, rights[i].write));
		plant(page);
		RUN(access_at(&p, u_jump, va, rights[i].jump));
		RUN(access_at(&p, u_read, va, rights[i].read));
	}
}

/* Filled in by the kernel, one right after the other, as Linux does. */
static void fault_steps(void)
{
	struct program p;
	uint64_t page = page_new(), flags = SEGUE_PV_PTE_P | SEGUE_PV_PTE_U;
	unsigned n = 0;

	EXPECT(program_new(&p, u_write));
	user->regs.rdi = UVA;
	user->regs.rsi = 1234;
	while (enter(p.id) == SEGUE_PV_TRAP) {
		EXPECT_EQ(user->trap.vector, SEGUE_PV_VECTOR_PF);
		EXPECT_EQ(user->trap.address, UVA);
		EXPECT(n < 4);
		switch (n++) {
		case 0:
			break;
		case 1:
			flags |= SEGUE_PV_PTE_A;
			break;
		case 2:
			flags |= SEGUE_PV_PTE_W;
			break;
		case 3:
			flags |= SEGUE_PV_PTE_D;
			break;
		}
		map(p.root, UVA, page, flags);
		user->action = SEGUE_PV_CONTINUE;
	}
	EXPECT_EQ(n, 4);
	EXPECT_EQ(user->number, SYS_DONE);
	EXPECT_EQ(*(uint64_t *)at(page), 1234);
	EXPECT_EQ(*entry(p.root, UVA), page | flags);
}

/* Where no root leads to: below USER_BEGIN, above VA_END, outside RAM. */
static void fault_beyond(void)
{
	static const uint64_t places[] = {0, 8, PAGE, SEGUE_PV_USER_BEGIN - PAGE};
	static const uint64_t above[] = {
	    SEGUE_PV_VA_END,
	    SEGUE_PV_VA_END + PAGE,
	    1ull << 40,
	    1ull << 46,
	};
	struct program p;

	EXPECT(program_new(&p, u_syscall));
	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		map(p.root, places[i], page_new(), U_RWX);
		RUN(access_at(&p, u_read, places[i], U));
		RUN(access_at(&p, u_write, places[i], U | W));
		RUN(access_at(&p, u_jump, places[i], U | X));
	}
	for (unsigned i = 0; i < sizeof(above) / sizeof(*above); i++) {
		RUN(access_at(&p, u_read, above[i], U));
		RUN(access_at(&p, u_write, above[i], U | W));
		RUN(access_at(&p, u_jump, above[i], U | X));
	}
	map(p.root, UVA, boot->ram, U_RWX);
	map(p.root, UVA + PAGE, SEGUE_PV_PTE_ADDRESS, U_RWX);
	RUN(access_at(&p, u_read, UVA, U));
	RUN(access_at(&p, u_write, UVA + PAGE, U | W));
	/* The ends of what there is. */
	map(p.root, SEGUE_PV_USER_BEGIN, page_new(), U_RWX);
	map(p.root, SEGUE_PV_VA_END - PAGE, page_new(), U_RWX);
	RUN(access_at(&p, u_write, SEGUE_PV_USER_BEGIN, NONE));
	RUN(access_at(&p, u_write, SEGUE_PV_VA_END - 8, NONE));
	/* Across the boundary of two pages of which the second is missing. */
	user_load(u_read);
	user->regs.rdi = SEGUE_PV_USER_BEGIN + PAGE - 4;
	RUN(expect_trap(enter(p.id), SEGUE_PV_VECTOR_PF));
	EXPECT_EQ(user->trap.address & ~(uint64_t)(PAGE - 1), SEGUE_PV_USER_BEGIN + PAGE);
}

const struct probe_case fault_cases[] = {
    {"fault-kinds", fault_kinds},
    {"fault-again", fault_again},
    {"fault-repeated", fault_repeated},
    {"fault-step", fault_step},
    {"fault-harmless", fault_harmless},
    {"fault-rights", fault_rights},
    {"fault-steps", fault_steps},
    {"fault-beyond", fault_beyond},
    {NULL, NULL},
};
