/* SPDX-License-Identifier: Apache-2.0 */
/* Events, the timer, the clock. */
#include "probe.h"

extern const char u_spin[], u_steady[], u_syscall[];

#define US 1000ull

static uint64_t pending(void)
{
	return __atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST);
}

/* Runs until DEADLINE or until the bits are up. */
static bool spin_until(uint64_t bits, uint64_t deadline)
{
	while (!(pending() & bits))
		if (clock_ns() > deadline)
			return false;
	return true;
}

/* ---- clock ---- */

static void clock_monotonic(void)
{
	uint64_t last = clock_ns(), begin = last, longest = 0;

	for (unsigned i = 0; i < 2000000; i++) {
		uint64_t now = clock_ns();

		EXPECT(now >= last);
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	EXPECT(last > begin);
	note("longest gap, us", longest / US);
}

static void clock_values(void)
{
	const volatile struct segue_pv_clock *c = &vcpu->clock;
	uint64_t seconds = (clock_ns() + c->wall_ns) / (1000 * MS);

	EXPECT_EQ(c->sequence & 1, 0);
	EXPECT(c->mul != 0 && c->shift < 64);
	/* Nothing of the host's age: a guest that has just begun is young. */
	EXPECT(clock_ns() < 3600 * 1000 * MS);
	EXPECT(seconds > 1700000000 && seconds < 4000000000);
	for (unsigned i = 0; i < sizeof(((struct segue_pv_vcpu *)0)->zero); i++)
		EXPECT_EQ(vcpu->zero[i], 0);
}

/* ---- masked: BLOCK and PENDING ---- */

static void timer_block(void)
{
	uint64_t late_most = 0;

	for (unsigned i = 0; i < 50; i++) {
		uint64_t due = clock_ns() + i * 100 * US, now;

		set_timer(due);
		EXPECT_EQ(hv(SEGUE_PV_BLOCK, 0, 0, 0), 0);
		now = clock_ns();
		EXPECT_EQ(pending(), TIMER);
		EXPECT(now >= due);
		if (now - due > late_most)
			late_most = now - due;
		/* Still pending: does not wait. */
		EXPECT_EQ(hv(SEGUE_PV_BLOCK, 0, 0, 0), 0);
		pending_clear(TIMER);
		EXPECT_EQ(events_taken, 0);
	}
	note("latest, us", late_most / US);
	EXPECT(late_most < 500 * MS);
}

static void timer_set(void)
{
	uint64_t begin = clock_ns();

	/* None, or one far away, is none. */
	set_timer(begin + 5 * MS);
	set_timer(~0ull);
	EXPECT(!spin_until(TIMER, begin + 20 * MS));
	set_timer(begin + 3600ull * 1000 * MS);
	EXPECT(!spin_until(TIMER, clock_ns() + 10 * MS));
	set_timer(~1ull);
	EXPECT(!spin_until(TIMER, clock_ns() + 10 * MS));
	/* The last one counts; it raises its line once. */
	begin = clock_ns();
	set_timer(begin + 3600ull * 1000 * MS);
	set_timer(begin + 2 * MS);
	EXPECT(spin_until(TIMER, begin + 1000 * MS));
	EXPECT(clock_ns() >= begin + 2 * MS);
	pending_clear(TIMER);
	EXPECT(!spin_until(TIMER, clock_ns() + 10 * MS));
	/* In the past: at once. */
	set_timer(0);
	EXPECT(spin_until(TIMER, clock_ns() + 1000 * MS));
	pending_clear(TIMER);
	set_timer(clock_ns() - 1);
	EXPECT(spin_until(TIMER, clock_ns() + 1000 * MS));
}

/* ---- unmasked, in kernel mode ---- */

static volatile uint64_t stop, rounds, period, depth, deepest, fired;

static void tick(struct segue_pv_frame *frame)
{
	(void)frame;
	pending_clear(TIMER);
	fired++;
	if (period)
		set_timer(clock_ns() + period);
}

#define ENOUGH 20u
#define LONG   (30000 * MS) /* on a host that has hardly any time for us */

/* Until END, and until events have come at all. */
static bool go_on(uint64_t before, uint64_t end)
{
	uint64_t now = clock_ns();

	return now < end || (events_taken - before <= ENOUGH && now < end + LONG);
}

/* Interrupted all over the place, the kernel's registers and stack stay what they were. */
static void event_kernel(void)
{
	static const uint64_t periods[] = {20 * US, 50 * US, 333 * US};

	event_hook = tick;
	bases_set(0x1234567000, 0x7654321000);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before = events_taken, end = clock_ns() + 200 * MS;

		period = periods[i];
		stop = 0;
		set_timer(clock_ns() + period);
		events_unmask();
		while (go_on(before, end)) {
			rounds = 20000;
			EXPECT_EQ(steady(&stop, &rounds), 0);
		}
		events_mask();
		note("events", events_taken - before);
		EXPECT(events_taken - before > ENOUGH);
		EXPECT(bases_are(0x1234567000, 0x7654321000));
		pending_clear(TIMER);
	}
	bases_set(0, 0);
}

/* Masked, nobody is interrupted; unmasked afterwards, what came meanwhile is there. */
static void event_masked(void)
{
	period = 0;
	event_hook = tick;
	events_taken = 0;
	set_timer(clock_ns() + 1 * MS);
	EXPECT(spin_until(TIMER, clock_ns() + 1000 * MS));
	for (uint64_t end = clock_ns() + 5 * MS; clock_ns() < end;)
		;
	EXPECT_EQ(events_taken, 0);
	events_unmask();
	EXPECT_EQ(events_taken, 1);
	EXPECT_EQ(pending(), 0);
	EXPECT_EQ(vcpu->masked, 0);
	/* The same thousand times at the worst moment: none is lost. */
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t before = fired, give_up;

		events_mask();
		set_timer(clock_ns() + 10 * US + i * 20);
		while (clock_ns() % (60 * US) < 30 * US)
			;
		events_unmask();
		give_up = clock_ns() + 2000 * MS;
		while (fired == before)
			if (clock_ns() > give_up) {
				fail_values("an event was lost", i, pending());
				return;
			}
	}
	events_mask();
}

static void nest(struct segue_pv_frame *frame)
{
	(void)frame;
	pending_clear(TIMER);
	fired++;
	if (++depth > deepest)
		deepest = depth;
	if (depth < 5) {
		uint64_t before = fired, end = clock_ns() + 1000 * MS;

		set_timer(clock_ns() + 100 * US);
		__atomic_store_n(&vcpu->masked, 0, __ATOMIC_SEQ_CST);
		while (fired == before && clock_ns() < end)
			;
		events_mask();
	}
	depth--;
}

static void event_nested(void)
{
	event_hook = nest;
	depth = deepest = 0;
	stop = 0;
	set_timer(clock_ns() + 1 * MS);
	events_unmask();
	for (uint64_t end = clock_ns() + 50 * MS; clock_ns() < end;) {
		rounds = 1000;
		EXPECT_EQ(steady(&stop, &rounds), 0);
	}
	events_mask();
	EXPECT_EQ(deepest, 5);
	EXPECT_EQ(depth, 0);
}

#define KVA 0x4000000000ull

static uint64_t root, page;

static bool fill_in(struct segue_pv_frame *frame)
{
	uint64_t va = frame->trap.address & ~(uint64_t)(PAGE - 1);

	if (frame->trap.vector != SEGUE_PV_VECTOR_PF || va < KVA)
		return false;
	map(root, va, page, K_RW);
	return true;
}

/* Traps, hypercalls and events of kernel mode at the same time. */
static void event_and_trap(void)
{
	uint64_t before, traps = 0;

	root = root_new();
	page = page_new();
	hv(SEGUE_PV_SET_KERNEL_ROOT, root, 0, 0);
	trap_hook = fill_in;
	event_hook = tick;
	barrier();
	period = 30 * US;
	set_timer(clock_ns() + period);
	before = events_taken;
	events_unmask();
	for (uint64_t end = clock_ns() + 300 * MS; go_on(before, end); traps++) {
		uint64_t va = KVA + traps % 2000 * PAGE;

		*(volatile uint64_t *)(va + 8 * (traps % 512)) = traps;
		barrier();
		EXPECT_EQ(*(volatile uint64_t *)(va + 8 * (traps % 512)), traps);
		EXPECT_EQ(hypercall_check(SEGUE_PV_VERSION_GET, SEGUE_PV_VERSION), 0);
	}
	events_mask();
	note("events", events_taken - before);
	EXPECT(events_taken - before > ENOUGH);
}

/* ---- user mode ---- */

static void event_user(void)
{
	struct program p;
	uint64_t last = 0, events = 0;

	EXPECT(program_new(&p, u_spin));
	for (uint64_t end = clock_ns() + 100 * MS; clock_ns() < end; events++) {
		set_timer(clock_ns() + 100 * US);
		EXPECT_EQ(enter(p.id), SEGUE_PV_EVENT);
		EXPECT_EQ(pending(), TIMER);
		if (events % 8 == 0) { /* still pending: nothing runs */
			uint64_t count = *(volatile uint64_t *)at(p.data);

			EXPECT_EQ(enter(p.id), SEGUE_PV_EVENT);
			EXPECT_EQ(*(volatile uint64_t *)at(p.data), count);
		}
		pending_clear(TIMER);
		EXPECT(*(volatile uint64_t *)at(p.data) >= last);
		last = *(volatile uint64_t *)at(p.data);
	}
	EXPECT(last > 1000);
	note("events", events);
	EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
	EXPECT(user->regs.rbx == last || user->regs.rbx == last + 1);
	EXPECT_EQ(user->regs.rdi, USER_DATA);
}

/* Interrupted at any instruction, looked at now and then, a program's registers are its own. */
static void event_user_steady(void)
{
	struct program p;
	uint64_t *r = (uint64_t *)&user->regs, seed = 5;

	EXPECT(program_new(&p, u_steady));
	for (unsigned i = 0; i < 16; i++)
		if (i != 0 && i != 7)
			r[i] = 0x5555000000ull;
	r[1] += 3; /* RBX, and so on as u_steady has it */
	r[2] += 4;
	r[4] += 1;
	r[6] += 5;
	for (unsigned i = 8; i < 16; i++)
		r[i] += i;
	for (unsigned i = 0; i < 3000; i++) {
		int64_t reason;

		set_timer(clock_ns() + random_next(&seed) % (100 * US));
		reason = enter(p.id);
		if (reason == SEGUE_PV_SYSCALL)
			fail_values("register changed", user->arguments[2], i);
		EXPECT_EQ(reason, SEGUE_PV_EVENT);
		pending_clear(TIMER);
		if (i % 5)
			continue;
		EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		EXPECT_EQ(user->regs.r15, 0x5555000000ull + 15);
		if (i % 10 == 0) {
			user->action = SEGUE_PV_LOAD;
			user->has_xsave = i % 20 == 0;
		}
	}
}

/* An event in the middle of a system call's return: the value is neither lost nor doubled. */
static void event_and_return(void)
{
	struct program p;
	uint64_t seed = 6, events = 0;

	EXPECT(program_new(&p, u_syscall));
	user->regs.rax = 0;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	for (unsigned i = 1000; i < 6000; i++) {
		int64_t reason;

		set_timer(clock_ns() + random_next(&seed) % (30 * US));
		reason = enter_return(p.id, i);
		while (reason == SEGUE_PV_EVENT) {
			events++;
			pending_clear(TIMER);
			reason = enter(p.id); /* with the action as it was left */
		}
		EXPECT_EQ(reason, SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->number, i);
		pending_clear(TIMER);
	}
	note("events", events);
}

const struct probe_case event_cases[] = {
    {"clock-monotonic", clock_monotonic},
    {"clock-values", clock_values},
    {"timer-block", timer_block},
    {"timer-set", timer_set},
    {"event-kernel", event_kernel},
    {"event-masked", event_masked},
    {"event-nested", event_nested},
    {"event-and-trap", event_and_trap},
    {"event-user", event_user},
    {"event-user-steady", event_user_steady},
    {"event-and-return", event_and_return},
    {NULL, NULL},
};
