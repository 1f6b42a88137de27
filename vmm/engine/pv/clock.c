/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/clock.h"

#include <time.h>
#include <x86intrin.h>

#define NS_PER_SEC 1000000000ull
/* A first measurement takes so long: both ends are known to some 50 ns, so 10 ppm. */
#define FIRST_NS   5000000ull
#define PAIR_TRIES 5u
#define KHZ_NS     1000000ull

__extension__ typedef unsigned __int128 wide;

uint64_t pv_tsc(void)
{
	return __rdtsc();
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t pv_monotonic(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Both clocks at one instant: the closest of several tries. */
static struct pv_clock_pair pair_read(void)
{
	struct pv_clock_pair best = {0};
	uint64_t least = ~0ull;

	for (unsigned i = 0; i < PAIR_TRIES; i++) {
		uint64_t before = pv_tsc(), ns = pv_monotonic(), after = pv_tsc();

		if (after - before >= least)
			continue;
		least = after - before;
		best = (struct pv_clock_pair){.tsc = before + least / 2, .ns = ns};
	}
	return best;
}

static uint64_t scaled(uint64_t ticks, uint64_t mul)
{
	return (uint64_t)((wide)ticks * mul >> PV_CLOCK_SHIFT);
}

/* The counter of another processor may be behind by a little; time does not go back. */
static uint64_t guest_ns(const struct pv_clock *clock, uint64_t tsc)
{
	uint64_t ticks = tsc > clock->base_tsc ? tsc - clock->base_tsc : 0;

	return clock->base_ns + scaled(ticks, clock->mul);
}

static void rate_measure(struct pv_clock *clock, const struct pv_clock_pair *now)
{
	if (now->tsc <= clock->first.tsc || now->ns <= clock->first.ns)
		return;
	clock->mul = (uint64_t)(((wide)(now->ns - clock->first.ns) << PV_CLOCK_SHIFT) /
				(now->tsc - clock->first.tsc));
}

void pv_clock_start(struct pv_clock *clock)
{
	*clock = (struct pv_clock){
		.first = pair_read(),
		.mul = 1ull << PV_CLOCK_SHIFT,
		.frozen = true,
	};
}

static void rate_settle(struct pv_clock *clock)
{
	struct pv_clock_pair now = pair_read();

	while (now.ns - clock->first.ns < FIRST_NS) {
		struct timespec rest = {.tv_nsec = (long)(FIRST_NS - (now.ns - clock->first.ns))};

		clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
		now = pair_read();
	}
	rate_measure(clock, &now);
	clock->refined = now.tsc;
}

uint64_t pv_clock_now(const struct pv_clock *clock)
{
	return clock->frozen ? clock->frozen_ns : guest_ns(clock, pv_tsc());
}

uint64_t pv_clock_khz(const struct pv_clock *clock)
{
	return (uint64_t)((wide)KHZ_NS << PV_CLOCK_SHIFT) / (clock->mul ? clock->mul : 1);
}

void pv_clock_freeze(struct pv_clock *clock)
{
	clock->frozen_ns = pv_clock_now(clock);
	clock->frozen = true;
}

void pv_clock_release(struct pv_clock *clock, uint64_t ns)
{
	if (!clock->refined)
		rate_settle(clock);
	clock->base_tsc = pv_tsc();
	clock->base_ns = ns;
	clock->frozen = false;
	clock->wall_ns = clock_ns(CLOCK_REALTIME) - ns;
}

bool pv_clock_refine(struct pv_clock *clock)
{
	struct pv_clock_pair now;
	uint64_t ns;

	/* After a span as long as what has been measured, half the error is left. */
	if (clock->frozen ||
	    pv_tsc() - clock->refined < (clock->refined - clock->first.tsc) / 2)
		return false;
	now = pair_read();
	ns = guest_ns(clock, now.tsc);
	rate_measure(clock, &now);
	clock->base_tsc = now.tsc;
	clock->base_ns = ns;
	clock->refined = now.tsc;
	return true;
}

void pv_clock_publish(const struct pv_clock *clock, struct segue_pv_clock *to)
{
	uint32_t sequence = __atomic_load_n(&to->sequence, __ATOMIC_RELAXED) | 1;

	__atomic_store_n(&to->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	to->shift = PV_CLOCK_SHIFT;
	to->base_tsc = clock->base_tsc;
	to->base_ns = clock->base_ns;
	to->mul = clock->mul;
	to->wall_ns = clock->wall_ns;
	__atomic_store_n(&to->sequence, sequence + 1, __ATOMIC_RELEASE);
}
