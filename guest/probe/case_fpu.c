/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point state and segment bases of user mode: kept apart, fetched and loaded. */
#include "case_user.h"

extern const char u_sse[], u_avx[], u_fs[];

static bool has_avx2(void)
{
	uint32_t a = 7, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b >> 5 & 1;
}

/* Programs that each look whether theirs have survived the others. */
static void take_turns(const char *code, unsigned n)
{
	struct program p[8];

	for (unsigned i = 0; i < n; i++) {
		RUN(user_start(&p[i], code));
		user->regs.rdi = 0x1000 * (i + 1) + i;
		RUN(user_expect_syscall(enter(p[i].id), SYS_DONE));
	}
	for (unsigned round = 0; round < 50; round++)
		for (unsigned i = 0; i < n; i++) {
			if (round % 7 == 3)
				EXPECT_EQ(hv(SEGUE_PV_GET_USER, p[i].id, 0, 0), 0);
			EXPECT_EQ(enter_return(p[i].id, 0), SEGUE_PV_SYSCALL);
			if (user->number != SYS_DONE)
				fail_values("register", user->arguments[1], i);
			if (failed())
				return;
		}
}

static void user_sse(void)
{
	take_turns(u_sse, 4);
}

static void user_avx(void)
{
	if (boot->xsave_size < 832 || !has_avx2())
		skip("no AVX2 here");
	else
		take_turns(u_avx, 4);
}

#define XMM0      160u /* in an XSAVE area; its header, with XSTATE_BV, is at 512 */
#define XSTATE_BV 512u
#define MXCSR     24u

/* Floating-point state can be looked at, changed, and given to somebody else. */
static void user_xsave(void)
{
	struct program p, q;
	uint64_t xmm;

	RUN(user_start(&p, u_sse));
	user->regs.rdi = 0x5000;
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
	EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
	for (unsigned i = 0; i < 16; i++) {
		memcpy(&xmm, user->xsave + XMM0 + 16 * i, 8);
		EXPECT_EQ(xmm, 0x5000 + i);
	}
	memcpy(&xmm, user->xsave + XSTATE_BV, 8);
	EXPECT_EQ(xmm & 3, 3);
	/* As it is, into another context: fork. */
	q.root = user_root(NULL);
	q.id = context_new(q.root);
	EXPECT(q.id != ~0ull);
	/* What u_sse still needs of its stack: nothing but the words it writes itself. */
	memcpy(at(*entry(q.root, USER_STACK) & SEGUE_PV_PTE_ADDRESS),
	       at(*entry(p.root, USER_STACK) & SEGUE_PV_PTE_ADDRESS), PAGE);
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 1;
	RUN(user_expect_syscall(enter(q.id), SYS_DONE));
	/* One register changed: the program notices. */
	EXPECT_EQ(hv(SEGUE_PV_GET_USER, q.id, 0, 0), 0);
	user->xsave[XMM0 + 16 * 6] ^= 1;
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 1;
	RUN(user_expect_syscall(enter(q.id), 2));
	EXPECT_EQ(user->arguments[1], 6);
	/* And the first program has seen nothing of all that. */
	RUN(user_expect_syscall(enter_return(p.id, 0), SYS_DONE));
}

static void bad_xsave(struct program *p, unsigned offset, uint64_t value, unsigned bytes)
{
	int64_t r;

	EXPECT_EQ(hv(SEGUE_PV_GET_USER, p->id, 0, 0), 0);
	memcpy(user->xsave + offset, &value, bytes);
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 1;
	r = enter(p->id);
	if (is_error(r) || r == SEGUE_PV_SYSCALL)
		return;
	EXPECT_EQ(r, SEGUE_PV_TRAP); /* LOST or what the processor says */
	context_end(p->id);
	p->id = context_new(p->root);
	EXPECT(p->id != ~0ull);
	user_load(u_sse);
	RUN(user_expect_syscall(enter(p->id), SYS_DONE));
}

/* State no processor would take: refused, or made good, or the context's end. */
static void user_xsave_bad(void)
{
	struct program p, q;

	RUN(user_start(&q, u_sse));
	user->regs.rdi = 0x7000;
	RUN(user_expect_syscall(enter(q.id), SYS_DONE));
	RUN(user_start(&p, u_sse));
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
	RUN(bad_xsave(&p, XSTATE_BV, ~0ull, 8));
	RUN(bad_xsave(&p, XSTATE_BV, 1ull << 62, 8));
	RUN(bad_xsave(&p, XSTATE_BV + 8, ~0ull, 8)); /* XCOMP_BV */
	RUN(bad_xsave(&p, XSTATE_BV + 8, 1ull << 63, 8));
	RUN(bad_xsave(&p, XSTATE_BV + 16, ~0ull, 8)); /* reserved */
	RUN(bad_xsave(&p, MXCSR, ~0ull, 4));
	RUN(bad_xsave(&p, MXCSR + 4, 0, 4));
	RUN(bad_xsave(&p, 464, ~0ull, 8)); /* what the host's kernel keeps */
	RUN(bad_xsave(&p, 468, 0xffffffff, 4));
	RUN(bad_xsave(&p, 480, 0xffffffff, 4));
	RUN(user_expect_syscall(enter_return(q.id, 0), SYS_DONE));
}

static void user_segments(void)
{
	struct program p, q;

	RUN(user_start(&p, u_fs));
	*(uint64_t *)at(p.data + 0x100) = 111;
	*(uint64_t *)at(p.data + 0x208) = 222;
	user->regs.fs_base = USER_DATA + 0x100;
	user->regs.gs_base = USER_DATA + 0x200;
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
	EXPECT(user->arguments[0] == 111 && user->arguments[1] == 222);
	RUN(user_start(&q, u_fs));
	*(uint64_t *)at(q.data + 0x300) = 333;
	*(uint64_t *)at(q.data + 0x408) = 444;
	user->regs.fs_base = USER_DATA + 0x300;
	user->regs.gs_base = USER_DATA + 0x400;
	for (unsigned round = 0; round < 20; round++) {
		RUN(user_expect_syscall(enter(q.id), SYS_DONE));
		EXPECT(user->arguments[0] == 333 && user->arguments[1] == 444);
		RUN(user_expect_syscall(enter(p.id), SYS_DONE));
		EXPECT(user->arguments[0] == 111 && user->arguments[1] == 222);
	}
	EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
	EXPECT_EQ(user->regs.fs_base, USER_DATA + 0x100);
	EXPECT_EQ(user->regs.gs_base, USER_DATA + 0x200);
	/* Another base, by a LOAD of nothing else. */
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 0;
	user->regs.fs_base = USER_DATA + 0x208;
	RUN(user_expect_syscall(enter(p.id), SYS_DONE));
	EXPECT_EQ(user->arguments[0], 222);
}

const struct probe_case fpu_cases[] = {
    {"user-sse", user_sse},           {"user-avx", user_avx},
    {"user-xsave", user_xsave},       {"user-xsave-bad", user_xsave_bad},
    {"user-segments", user_segments}, {NULL, NULL},
};
