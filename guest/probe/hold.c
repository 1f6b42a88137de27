/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

/*
 * hold=STATE: stays in one state nearly all of the time, so that it is what a move meets:
 *   kernel    kernel mode running, events on
 *   masked    the same with events off, and some pending
 *   block     in BLOCK
 *   user      user mode running
 *   syscall   contexts=N (50) contexts, each in a system call of its own
 *   trap      the same, each in a page fault
 *   event     the same, each interrupted somewhere
 *   fresh     the same, none of them loaded yet
 *   io        kernel mode reading and writing registers of devices
 *   print     in PRINT of long texts
 *
 * With each heartbeat it is looked whether everything still is what it was. "probe: ready"
 * once it holds; V every hundredth beat. SSE registers and segment bases belong to it.
 */
#define MANY      512u
#define SYS_DONE  1
#define FAR       0x30000000ull
#define KERNEL_FS 0x1234567000ull
#define KERNEL_GS 0x7654321000ull

extern const char u_sse[], u_read[], u_steady[], u_fs[];

static struct program programs[MANY];
static uint64_t n;
static volatile uint64_t stop, rounds;

static void beats(void)
{
	static uint64_t count;

	if (!heart_due()) {
		heart_wait();
		return;
	}
	heart_beat();
	if (++count % 100 == 0)
		heart_word('V');
	if (failed())
		heart_fail("frame", 0, 0, 0);
}

static void tick(struct segue_pv_frame *frame)
{
	(void)frame;
	heart_clear();
	stop = 1;
}

static void steadily(uint64_t times)
{
	uint64_t bad;

	rounds = times;
	bad = steady(&stop, &rounds);
	if (bad)
		heart_fail("kernel register", bad, 0, 0);
	if (!bases_are(KERNEL_FS, KERNEL_GS))
		heart_fail("kernel segment base", 0, 0, 0);
}

static void hold_kernel(void)
{
	event_hook = tick;
	for (;;) {
		stop = 0;
		events_unmask();
		steadily(~0ull);
		events_mask();
		beats();
	}
}

static void hold_masked(void)
{
	for (;;) {
		steadily(20000);
		if (vcpu->masked != 1)
			heart_fail("masked", 0, vcpu->masked, 1);
		if (heart_due() && !(vcpu->pending & TIMER)) {
			uint64_t end = clock_ns() + 2000 * MS;

			while (!(vcpu->pending & TIMER))
				if (clock_ns() > end)
					heart_fail("timer lost", 0, vcpu->pending, TIMER);
		}
		heart_clear();
		beats();
	}
}

static void hold_block(void)
{
	for (;;) {
		if (hypercall_check(SEGUE_PV_BLOCK, 0))
			heart_fail("register in BLOCK", 0, 0, 0);
		if (!vcpu->pending)
			heart_fail("BLOCK ended for nothing", 0, 0, 0);
		heart_clear();
		beats();
	}
}

/* Sleeps until the next beat; the timer may have gone off for somebody else meanwhile. */
static void rest(void)
{
	heart_wait();
	hv(SEGUE_PV_BLOCK, 0, 0, 0);
	heart_clear();
	beats();
}

/* ---- contexts ---- */

static void make(unsigned i, const char *code)
{
	if (!program_new(&programs[i], code))
		heart_fail("no context", i, 0, 0);
}

static int64_t enter_through(const struct program *p)
{
	int64_t reason;

	while ((reason = enter(p->id)) == SEGUE_PV_EVENT)
		heart_clear();
	return reason;
}

static void load_steady(uint64_t seed)
{
	uint64_t *r = (uint64_t *)&user->regs;

	user_load(u_steady);
	for (unsigned i = 8; i < 16; i++)
		r[i] = seed + i;
	user->regs.rdi = seed;
	user->regs.rsi = seed + 1;
	user->regs.rbx = seed + 3;
	user->regs.rcx = seed + 4;
	user->regs.rbp = seed + 5;
}

static void hold_user(void)
{
	make(0, u_steady);
	load_steady(0x123450000);
	for (;;) {
		int64_t reason = enter(programs[0].id);

		if (reason != SEGUE_PV_EVENT)
			heart_fail("user register", (uint64_t)reason, user->arguments[2], 0);
		heart_clear();
		beats();
	}
}

static void hold_event(void)
{
	for (unsigned i = 0; i < n; i++)
		make(i, u_steady);
	for (uint64_t turn = 0;; turn++) {
		const struct program *p = &programs[turn % n];

		if (turn < n)
			load_steady(turn << 32);
		do {
			set_timer(clock_ns() + 50000);
			if (enter(p->id) != SEGUE_PV_EVENT)
				heart_fail("user register", p->id, user->arguments[2], 0);
			heart_clear();
		} while (user->action != SEGUE_PV_CONTINUE); /* not even loaded */
		if (turn >= n)
			rest();
	}
}

static void hold_syscall(void)
{
	for (unsigned i = 0; i < n; i++) {
		make(i, u_sse);
		user->regs.rdi = 1000 + i;
		enter_through(&programs[i]);
	}
	for (uint64_t turn = 0;; turn++) {
		const struct program *p = &programs[turn % n];

		user->action = SEGUE_PV_RETURN;
		user->value = 0;
		if (enter_through(p) != SEGUE_PV_SYSCALL || user->number != SYS_DONE)
			heart_fail("user register", p->id, user->arguments[1], turn);
		if (user->arguments[0] != 1000 + turn % n)
			heart_fail("argument", p->id, user->arguments[0], 1000 + turn % n);
		rest();
	}
}

static void hold_trap(void)
{
	for (unsigned i = 0; i < n; i++) {
		make(i, u_read);
		user->regs.rdi = FAR + i * PAGE;
		user->regs.r12 = i;
		user->regs.fs_base = USER_DATA + i * 8;
		enter_through(&programs[i]);
	}
	for (uint64_t turn = 0;; turn++) {
		const struct program *p = &programs[turn % n];

		user->action = SEGUE_PV_CONTINUE;
		if (enter_through(p) != SEGUE_PV_TRAP ||
		    user->trap.vector != SEGUE_PV_VECTOR_PF ||
		    user->trap.address != FAR + turn % n * PAGE)
			heart_fail("trap", p->id, user->trap.address, FAR + turn % n * PAGE);
		if (hv(SEGUE_PV_GET_USER, p->id, 0, 0) || user->regs.r12 != turn % n ||
		    user->regs.fs_base != USER_DATA + turn % n * 8)
			heart_fail("registers", p->id, user->regs.r12, turn % n);
		rest();
	}
}

static void hold_fresh(void)
{
	for (unsigned i = 0; i < n; i++)
		make(i, u_read);
	for (uint64_t turn = 0;; turn++) {
		const struct program *p = &programs[turn % n];

		user->action = SEGUE_PV_CONTINUE;
		if (!is_error(enter(p->id)))
			heart_fail("ran without registers", p->id, 0, 0);
		user_load(u_read);
		*(uint64_t *)at(p->data) = turn;
		if (enter_through(p) != SEGUE_PV_SYSCALL || user->arguments[0] != turn)
			heart_fail("first LOAD", p->id, user->arguments[0], turn);
		context_end(p->id);
		if (hv(SEGUE_PV_CONTEXT_CREATE, p->root, p->id, 0))
			heart_fail("no context", p->id, 0, 0);
		rest();
	}
}

/* ---- the monitor at work ---- */

static void hold_io(void)
{
	for (uint64_t turn = 0;; turn++) {
		uint8_t want = (uint8_t)turn;

		io_write(SEGUE_PV_PORTS, 0x3ff, 1, want);
		if (io_read(SEGUE_PV_PORTS, 0x3ff, 1) != want)
			heart_fail("scratch register", turn, 0, want);
		if (turn % 16 == 0) {
			heart_clear();
			beats();
		}
	}
}

static void hold_print(void)
{
	static char text[8192];

	memset(text, '.', sizeof(text));
	for (;;) {
		if (hv(SEGUE_PV_PRINT, gpa_of(text), sizeof(text), 0))
			heart_fail("PRINT", 0, 0, 0);
		rest();
	}
}

void hold(const char *state)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} states[] = {
	    {"kernel", hold_kernel}, {"masked", hold_masked},   {"block", hold_block},
	    {"user", hold_user},     {"syscall", hold_syscall}, {"trap", hold_trap},
	    {"event", hold_event},   {"fresh", hold_fresh},     {"io", hold_io},
	    {"print", hold_print},
	};

	bases_set(KERNEL_FS, KERNEL_GS);
	n = cmdline_number("contexts", 50) % (MANY + 1);
	print("probe: ready\n");
	heart_start(cmdline_number("beat_us", 1000) * 1000);
	for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (word_is(state, states[i].name))
			states[i].run();
	heart_fail("no such state", 0, 0, 0);
}
