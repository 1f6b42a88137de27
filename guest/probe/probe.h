/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PROBE_PROBE_H
#define GUEST_PROBE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/abi.h"

/*
 * A kernel that tries everything the paravirtual machine promises (docs/pv-abi.md) and a good
 * deal of what it forbids. It does not use the floating-point registers by itself, and does
 * use the red zone, so that an interruption that tramples on either is found out.
 */
#define PAGE SEGUE_PV_PAGE

static inline uint64_t gpa_of(const volatile void *p)
{
	return (uint64_t)p - SEGUE_PV_DIRECT;
}

static inline void *at(uint64_t gpa)
{
	return (void *)(gpa + SEGUE_PV_DIRECT);
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* Of FS and GS. The machine's own code needs these instructions, so they are there. */
static inline void bases_set(uint64_t fs, uint64_t gs)
{
	__asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(fs), "r"(gs));
}

static inline bool bases_are(uint64_t fs, uint64_t gs)
{
	uint64_t f, g;

	__asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(f), "=r"(g));
	return f == fs && g == gs;
}

static inline void barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

/* ---- hypercalls ---- */

int64_t hv(uint64_t call, uint64_t a, uint64_t b, uint64_t c);
int64_t hv6(uint64_t call, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
	    uint64_t f);

/* kernel.S: makes CALL without arguments; 0, or the number of the register it has spoilt. */
uint64_t hypercall_check(uint64_t call, int64_t result);
/*
 * Checks in a loop that every register, SSE ones and flags included, and the red zone hold
 * what was put there, until *STOP is not 0 or *ROUNDS, which it counts down, is; 0, or the
 * number of what changed.
 */
uint64_t steady(volatile uint64_t *stop, volatile uint64_t *rounds);

/* One of the negative numbers a hypercall may answer with. */
bool is_error(int64_t result);

/* ---- boot.c: what the machine told at the start ---- */

extern const struct segue_pv_boot *boot;
extern volatile struct segue_pv_vcpu *vcpu;

/* Words of the command line, NAME=VALUE. */
uint64_t cmdline_number(const char *name, uint64_t fallback); /* decimal or 0x... */
const char *cmdline_text(const char *name);       /* up to a blank or the end; NULL: missing */
bool word_is(const char *text, const char *word); /* TEXT up to its blank is WORD; NULL: no */

/* ---- print.c: lines for the serial port ---- */

void print(const char *text);
void print_hex(uint64_t value);
void print_decimal(uint64_t value);
void print_flush(void); /* what is not a whole line yet, too */

/* ---- clock.c ---- */

uint64_t clock_ns(void); /* guest time */
void set_timer(uint64_t at_ns);
#define MS 1000000ull

/* ---- memory.c: pages, tables, roots ---- */

#define NO_ROOT (~0ull)
#define U_RW                                                                                   \
	(SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_W | SEGUE_PV_PTE_A | SEGUE_PV_PTE_D)
#define U_RO  (SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_A)
#define U_RX  (U_RO | SEGUE_PV_PTE_X)
#define U_RWX (U_RW | SEGUE_PV_PTE_X)
#define K_RW  (U_RW & ~SEGUE_PV_PTE_U)
#define K_RO  (U_RO & ~SEGUE_PV_PTE_U)
#define K_RX  (U_RX & ~SEGUE_PV_PTE_U)
#define K_RWX (U_RWX & ~SEGUE_PV_PTE_U)

void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);
void memory_init(void);
void memory_reset(void);            /* every page handed out is free again, and no root there */
uint64_t page_new(void);            /* gpa of a zeroed page */
uint64_t pages_new(uint64_t count); /* of that many in a row, not zeroed */
uint64_t pages_left(void);

uint64_t root_new(void); /* dropped at the end of the case if not before */
void root_drop(uint64_t root);
/* The entry of VA, its tables made if missing. */
volatile uint64_t *entry(uint64_t root, uint64_t va);
void map(uint64_t root, uint64_t va, uint64_t gpa, uint64_t flags);
void map_range(uint64_t root, uint64_t va, uint64_t gpa, uint64_t pages, uint64_t flags);
int64_t flush(uint64_t root, uint64_t va, uint64_t pages);

/* The next of a sequence that never is zero. */
uint64_t random_next(uint64_t *state);

/* ---- trap.c: interruptions of kernel mode ---- */

/* A hook of a case: true: dealt with, go on with the frame as it now is. */
typedef bool (*trap_hook_fn)(struct segue_pv_frame *frame);
extern volatile trap_hook_fn trap_hook;
/* Called for events instead of looking at the timer alone. */
typedef void (*event_hook_fn)(struct segue_pv_frame *frame);
extern volatile event_hook_fn event_hook;
extern volatile uint64_t events_taken;

void trap_init(void);
void trap_reset(void); /* no hooks, events masked, no timer, no line asked for */
/* Calls FUNCTION(ARGUMENT); true if a trap ended it, whose frame is then in *RET_FRAME. */
bool try(void (*function)(uint64_t argument), uint64_t argument,
	 struct segue_pv_frame *ret_frame);
/* For a hook: the innermost try() ends, as if FRAME's were a trap. */
void try_give_up(struct segue_pv_frame *frame);
/* One access of kernel mode; the vector, or -1 if it went well. */
int try_read(uint64_t va, struct segue_pv_frame *ret_frame);
int try_write(uint64_t va, struct segue_pv_frame *ret_frame);
int try_jump(uint64_t va, struct segue_pv_frame *ret_frame);
void events_unmask(void);
void events_mask(void);
#define TIMER (1ull << SEGUE_PV_LINE_TIMER)
void pending_clear(uint64_t bits);

/* ---- user.c: programs in user mode ---- */

#define USER_CODE  0x400000ull   /* the pages of user.S, in every root */
#define USER_DATA  0x10000000ull /* one page, of the program's own */
#define USER_STACK 0x20000000ull /* another; the stack pointer starts at its end */

/* Entry points, in user.S: take the address where they are mapped with user_at(). */
extern const char user_begin[], user_end[];

struct program {
	uint64_t root;
	uint64_t id;
	uint64_t data; /* gpa of the page at USER_DATA */
};

#define user (&((struct segue_pv_vcpu *)vcpu)->user)

uint64_t user_at(const char *code);
/* A root with code, data and stack. */
uint64_t user_root(uint64_t *ret_data);
uint64_t context_new(uint64_t root); /* its id; ~0: the machine refuses */
void context_end(uint64_t id);
/* A context in a root of its own, to LOAD next: user->regs are set up for CODE. */
bool program_new(struct program *p, const char *code);
void user_load(const char *code); /* LOAD, all registers zero but RIP and RSP */
int64_t hv_gate(uint64_t id);
int64_t enter(uint64_t id);       /* ENTER_USER, by hypercall or gate */
int64_t enter_return(uint64_t id, uint64_t value);
void user_reset(void); /* ends all contexts */

/* ---- cases ---- */

typedef void (*case_fn)(void);
struct probe_case {
	const char *name;
	case_fn run;
};

void fail(const char *why);
void fail_values(const char *what, uint64_t got, uint64_t want);
void skip(const char *why);
bool failed(void);
void note(const char *what, uint64_t value); /* "probe: NAME: WHAT VALUE" */

/* In cases and their helpers without a result: the first thing that is wrong ends it. */
#define EXPECT(condition)                                                                      \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fail(#condition);                                                      \
			return;                                                                \
		}                                                                              \
	} while (0)
#define EXPECT_EQ(got, want)                                                                   \
	do {                                                                                   \
		uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                     \
		if (got_ != want_) {                                                           \
			fail_values(#got, got_, want_);                                        \
			return;                                                                \
		}                                                                              \
	} while (0)
/* A helper that may have failed. */
#define RUN(call)                                                                              \
	do {                                                                                   \
		call;                                                                          \
		if (failed())                                                                  \
			return;                                                                \
	} while (0)

extern const struct probe_case start_cases[], kernel_cases[], table_cases[], user_cases[],
    fpu_cases[], fault_cases[], space_cases[], event_cases[], device_cases[], escape_cases[],
    shim_cases[], gate_cases[];

/* heart.c: what tests of moves listen to. */
void heart_start(uint64_t period_ns); /* also the first timer */
bool heart_due(void); /* looks at the clock, too, which must never go back; ends after POWER */
void heart_clear(void); /* the lines that only come up: takes note of them */
void heart_beat(void);  /* a to z in turn; sets the timer for the next */
void heart_wait(void);  /* sets the timer again: an event may have been taken meanwhile */
void heart_word(char word);
_Noreturn void heart_fail(const char *what, uint64_t at, uint64_t got, uint64_t want);

/* work.c, hold.c: do not come back. */
_Noreturn void work(void);
_Noreturn void hold(const char *state);
/* end.c: ways to end, END= of the command line. */
_Noreturn void end(const char *how);
_Noreturn void end_off(void);
void astray(uint64_t site, uint64_t number); /* astray.c */

#endif
