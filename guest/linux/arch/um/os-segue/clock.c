// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the machine says how the processor's counter becomes guest time, and raises a line
 * when a moment of it has come.
 */
#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/sched/clock.h>
#include <linux/timekeeping.h>
#include <asm/barrier.h>
#include "segue.h"

#define RATING       400
#define MIN_DELTA_NS 1000
#define MAX_DELTA_NS (3600ull * NSEC_PER_SEC)
#define NO_TIMER     (~0ull)

static u64 read_counter(void)
{
	u32 low, high;

	/* Not before what comes before it. */
	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

static struct segue_pv_clock read_clock(u64 *ret_ns)
{
	const struct segue_pv_clock *shared = &segue_vcpu->clock;
	struct segue_pv_clock clock;
	s64 ticks;

	do {
		do {
			clock.sequence = READ_ONCE(shared->sequence);
		} while (clock.sequence & 1);
		smp_rmb();
		clock.shift = shared->shift;
		clock.base_tsc = shared->base_tsc;
		clock.base_ns = shared->base_ns;
		clock.mul = shared->mul;
		clock.wall_ns = shared->wall_ns;
		ticks = read_counter() - clock.base_tsc;
		smp_rmb();
	} while (READ_ONCE(shared->sequence) != clock.sequence);
	if (ticks < 0)
		ticks = 0;
	*ret_ns = clock.base_ns + (u64)((unsigned __int128)ticks * clock.mul >> clock.shift);
	return clock;
}

u64 segue_clock_read(void)
{
	u64 now;

	read_clock(&now);
	return now;
}

u64 segue_clock_wall(void)
{
	u64 now;
	struct segue_pv_clock clock = read_clock(&now);

	return now + clock.wall_ns;
}

unsigned long long sched_clock(void)
{
	return segue_clock_read();
}

void read_persistent_clock64(struct timespec64 *ts)
{
	*ts = ns_to_timespec64(segue_clock_wall());
}

static u64 source_read(struct clocksource *source)
{
	return segue_clock_read();
}

static struct clocksource source = {
	.name = "segue",
	.rating = RATING,
	.read = source_read,
	.mask = CLOCKSOURCE_MASK(64),
	.flags = CLOCK_SOURCE_IS_CONTINUOUS,
};

/*
 * The timer. Setting it is a hypercall, and most settings only put a deadline off: before and
 * after each short sleep of the processor. Those wait for the earlier one to come up.
 */
static u64 armed = NO_TIMER;  /* what the machine was told, and has not raised yet */
static u64 wanted = NO_TIMER;

static void arm(void)
{
	if (wanted >= armed)
		return;
	armed = wanted;
	segue_call1(SEGUE_PV_SET_TIMER, armed);
}

static int timer_set(unsigned long delta, struct clock_event_device *timer)
{
	wanted = segue_clock_read() + delta;
	arm();
	return 0;
}

static int timer_stop(struct clock_event_device *timer)
{
	wanted = NO_TIMER;
	return 0;
}

static struct clock_event_device timer = {
	.name = "segue",
	.rating = RATING,
	.features = CLOCK_EVT_FEAT_ONESHOT,
	.set_next_event = timer_set,
	.set_state_shutdown = timer_stop,
	.irq = SEGUE_PV_LINE_TIMER,
};

static irqreturn_t timer_handler(int irq, void *unused)
{
	armed = NO_TIMER;
	if (segue_clock_read() < wanted) {
		arm();
		return IRQ_HANDLED;
	}
	wanted = NO_TIMER;
	timer.event_handler(&timer);
	return IRQ_HANDLED;
}

static void __init timers_start(void)
{
	if (request_irq(SEGUE_PV_LINE_TIMER, timer_handler, IRQF_TIMER | IRQF_NOBALANCING,
			"timer", NULL))
		panic("The timer's line is taken");
	clocksource_register_hz(&source, NSEC_PER_SEC);
	timer.cpumask = cpumask_of(0);
	clockevents_config_and_register(&timer, NSEC_PER_SEC, MIN_DELTA_NS, MAX_DELTA_NS);
}

void __init time_init(void)
{
	late_time_init = timers_start;
}
