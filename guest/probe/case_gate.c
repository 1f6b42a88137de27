/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: that it does what ENTER_USER does, whatever it has of its own; and, since kernel mode
 * can write where it works and jump into it anywhere, that nothing comes of that but the loss
 * of programs.
 */
#include "escape.h"

extern const char u_echo[], u_spin[];
extern void hv_gate_at(const uint64_t *regs);

#define SYS_DONE 1
#define PROGRAMS 4u
#define ROUNDS   2000u
#define SHIM     SEGUE_PV_GATE
#define GATE_END 0x400u
#define SITES    4u /* of SYSCALL; what follows is no part of it */
#define BLOCK    (SHIM + 0x300000) /* where this monitor keeps what the gate works on */

/* Several programs in turn, by both ways: no call is lost, made twice, or another's. */
static void gate_calls(void)
{
	struct program programs[PROGRAMS];
	uint64_t seed = cmdline_number("seed", 11);

	for (unsigned i = 0; i < PROGRAMS; i++) {
		EXPECT(program_new(&programs[i], u_echo));
		EXPECT_EQ(hv_gate(programs[i].id), SEGUE_PV_SYSCALL);
	}
	for (uint64_t round = 0; round < ROUNDS; round++) {
		uint64_t x = random_next(&seed), value = x % 5 ? x : (uint64_t)-512 - x % 8;
		const struct program *p = &programs[x >> 32 & (PROGRAMS - 1)];

		user->action = SEGUE_PV_RETURN;
		user->value = value;
		EXPECT_EQ(hv_gate(p->id), SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->action, SEGUE_PV_CONTINUE);
		EXPECT_EQ(user->number, SYS_DONE);
		EXPECT_EQ(user->arguments[0], value);
		if (x >> 40 & 1)
			continue;
		EXPECT_EQ(hv(SEGUE_PV_GET_USER, p->id, 0, 0), 0);
		EXPECT_EQ(user->regs.rdi, value);
	}
}

/* What it refuses is refused in the same way. */
static void gate_errors(void)
{
	struct program p;

	EXPECT_EQ(hv_gate(~0ull), SEGUE_PV_EINVAL);
	EXPECT_EQ(hv_gate(1ull << 32), SEGUE_PV_EINVAL);
	EXPECT(program_new(&p, u_echo));
	user->action = SEGUE_PV_RETURN;
	EXPECT_EQ(hv_gate(p.id), SEGUE_PV_EINVAL);
	user_load(u_echo);
	EXPECT_EQ(hv_gate(p.id), SEGUE_PV_SYSCALL);
	context_end(p.id);
	user->action = SEGUE_PV_RETURN;
	EXPECT_EQ(hv_gate(p.id), SEGUE_PV_EINVAL);
}

/* Events come through to a program that the gate has let run, and none is lost. */
static void gate_events(void)
{
	struct program quick, slow;
	uint64_t seed = cmdline_number("seed", 13);
	unsigned told = 0;

	EXPECT(program_new(&quick, u_echo));
	EXPECT_EQ(hv_gate(quick.id), SEGUE_PV_SYSCALL);
	EXPECT(program_new(&slow, u_spin));
	for (unsigned i = 0; i < 200; i++) {
		int64_t reason;

		set_timer(clock_ns() + random_next(&seed) % (MS / 25));
		for (uint64_t value = i; !(vcpu->pending & TIMER) && value < i + 100000; value++) {
			user->action = SEGUE_PV_RETURN;
			user->value = value;
			while ((reason = hv_gate(quick.id)) == SEGUE_PV_EVENT)
				if (vcpu->pending & TIMER) {
					pending_clear(TIMER);
					told++;
				}
			EXPECT_EQ(reason, SEGUE_PV_SYSCALL);
			EXPECT_EQ(user->arguments[0], value);
		}
		pending_clear(TIMER);
	}
	note("events told", told);
	user_load(u_spin);
	set_timer(clock_ns() + MS);
	EXPECT_EQ(hv_gate(slow.id), SEGUE_PV_EVENT);
	pending_clear(TIMER);
}

/* ---- a kernel that lies ---- */

static bool fresh(struct program *p)
{
	context_end(p->id);
	return program_new(p, u_echo) && hv_gate(p->id) == SEGUE_PV_SYSCALL;
}

/* Words that mean something there, and any other. */
static uint64_t lie(uint64_t x, const struct program *p)
{
	const uint64_t words[] = {0, 1, p->id + 1, p->id, ~0ull, 128, 129,
				  BLOCK, SEGUE_PV_DIRECT + boot->vcpu, x};

	return words[x % (sizeof(words) / sizeof(*words))];
}

static void write_word(uint64_t va)
{
	*(volatile uint64_t *)va = 0x5e9;
}

static int64_t lied;

static void enter_lying(uint64_t id)
{
	lied = hv_gate(id);
}

static void gate_lies(void)
{
	volatile uint64_t *block = (volatile uint64_t *)BLOCK;
	uint64_t seed = cmdline_number("seed", 17), lost = 0;
	struct program p;

	if (try(write_word, BLOCK + 0x90, NULL)) {
		skip("this machine has no such memory");
		return;
	}
	EXPECT(program_new(&p, u_echo));
	EXPECT_EQ(hv_gate(p.id), SEGUE_PV_SYSCALL);
	for (unsigned round = 0; round < 400; round++) {
		uint64_t x = random_next(&seed), at = x >> 16 & 31;
		/* Its first words, the slot of the program, what it received. */
		uint64_t word = at < 18 ? at : 32 + p.id % 128 * 8 + (at - 18) % 5;
		uint64_t before = block[word];

		block[word] = lie(x >> 24, &p);
		user->action = SEGUE_PV_RETURN;
		set_timer(clock_ns() + 2 * MS);
		lied = SEGUE_PV_EFAULT;
		(void)try(enter_lying, p.id, NULL);
		set_timer(~0ull);
		pending_clear(TIMER);
		block[word] = before;
		if (lied == SEGUE_PV_SYSCALL && round % 16)
			continue;
		lost++;
		EXPECT(fresh(&p));
		EXPECT_EQ(enter_return(p.id, round), SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->arguments[0], round);
	}
	note("programs made anew", lost);
}

static void jump_in(uint64_t regs)
{
	hv_gate_at((const uint64_t *)regs);
}

/* Its system call instructions, with every number and the arguments of a break-out. */
static void gate_forged(void)
{
	const uint8_t *code = (const uint8_t *)SHIM;
	static char text[256];
	struct program p;
	unsigned sites = 0;

	escape_strings(text);
	escape_witness_new();
	EXPECT(program_new(&p, u_echo));
	EXPECT_EQ(hv_gate(p.id), SEGUE_PV_SYSCALL);
	for (unsigned i = 0; i < GATE_END && sites < SITES; i++) {
		if (code[i] != 0x0f || code[i + 1] != 0x05)
			continue;
		sites++;
		for (uint64_t number = 0; number < HOST_CALLS; number++) {
			uint64_t args[6], regs[8] = {number};

			escape_arguments(number, (unsigned)(number % ESCAPE_WAYS),
					 (uint64_t)text, args);
			for (unsigned k = 0; k < 3; k++)
				regs[1 + k] = args[k];
			regs[4] = BLOCK;
			regs[5] = BLOCK + 0x100;
			regs[6] = args[3];
			regs[7] = SHIM + i;
			user->action = SEGUE_PV_CONTINUE;
			set_timer(clock_ns() + 2 * MS);
			(void)try(jump_in, (uint64_t)regs, NULL);
			set_timer(~0ull);
			pending_clear(TIMER);
		}
		RUN(escape_witness_check());
	}
	note("system call instructions", sites);
}

const struct probe_case gate_cases[] = {
    {"gate-calls", gate_calls},   {"gate-errors", gate_errors}, {"gate-events", gate_events},
    {"gate-lies", gate_lies},     {"gate-forged", gate_forged}, {0},
};
