/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner against guests in virtual time. A guest writes pages of a working set at
 * random, a link carries them; both are arithmetic, with some noise that is the same in
 * every run. What the planner says is compared with what then happens.
 */
#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/plan.h"

#define MIB      256.0 /* pages */
#define GIB      (1024 * MIB)
#define MS       1e6 /* ns */
#define FIXED_NS (1.8 * MS)

struct guest {
	double total, used; /* pages */
	double rate;        /* writes a second */
	double set;         /* pages they go to */
	double calm_at;     /* ns from which on it hardly writes; 0: never */
	double noise;       /* share */
	double bandwidth;   /* bytes a second */
	double overhead;    /* ns a round */
	double delta;       /* bytes a page from the third round on; 0: whole pages */
};

/* What became of a move. */
struct outcome {
	enum plan_verdict verdict;
	unsigned rounds, throttle;
	double total, blackout;       /* ns */
	struct plan_output said[100]; /* after each round */
	double said_at[100];          /* ns */
};

static unsigned noise_state;

static double noisy(const struct guest *guest, double v)
{
	noise_state = noise_state * 1664525 + 1013904223;
	return v * (1 + guest->noise * ((double)(noise_state >> 8) / (1 << 23) - 1));
}

static double dirtied(const struct guest *guest, double at, double ns, unsigned throttle)
{
	double rate = guest->calm_at > 0 && at >= guest->calm_at ? 10 : guest->rate;
	double writes = rate * ns / 1e9 * (100 - throttle) / 100;

	if (guest->set <= 0)
		return 0;
	return noisy(guest, guest->set * (1 - exp(-writes / guest->set)));
}

static double page_bytes(const struct guest *guest, unsigned rounds)
{
	return rounds >= 2 && guest->delta > 0 ? guest->delta : 4112;
}

static double sending(const struct guest *guest, double bytes, double cap)
{
	double bandwidth = cap > 0 && cap < guest->bandwidth ? cap : guest->bandwidth;

	return noisy(guest, bytes / bandwidth * 1e9);
}

static void run(const struct guest *guest, const struct plan_limits *limits,
		struct outcome *ret)
{
	struct plan plan;
	struct plan_inputs in = { .limits = *limits, .pages_total = (uint64_t)guest->total };
	double at = 0, pages = guest->used, cap = (double)limits->bandwidth_cap;

	*ret = (struct outcome){ .verdict = PLAN_CONTINUE };
	noise_state = 1;
	plan_init(&plan);
	while (ret->rounds < 99) {
		struct plan_output *out = &ret->said[ret->rounds];
		double bytes = pages * page_bytes(guest, ret->rounds);
		double duration = sending(guest, bytes, cap) + guest->overhead / 2;
		double interval = duration + guest->overhead / 2;

		at += interval;
		in.last.pages = (uint64_t)pages;
		in.last.bytes = (uint64_t)bytes;
		in.last.duration_ns = (uint64_t)duration;
		in.last.interval_ns = (uint64_t)interval;
		in.bandwidth = (uint64_t)(in.last.bytes / (duration / 1e9));
		in.elapsed_us = (uint64_t)(at / 1e3);
		in.throttle = ret->throttle;
		pages = floor(dirtied(guest, at - interval, interval, ret->throttle));
		in.last.dirty = (uint64_t)pages;
		plan_step(&plan, &in, out);
		ret->said_at[ret->rounds++] = at;
		ret->verdict = out->verdict;
		ret->throttle = out->throttle;
		if (getenv("PLAN_TRACE"))
			printf("%8.2f ms round %u: %d %s\n", at / MS, ret->rounds, out->verdict,
			       out->words);
		if (out->verdict == PLAN_SWITCH || out->verdict == PLAN_GIVE_UP)
			break;
	}
	ret->blackout = FIXED_NS + sending(guest, pages * page_bytes(guest, ret->rounds), cap);
	ret->total = at + ret->blackout;
}

static const struct plan_limits plain = { 0 };

static struct guest loopback(double used, double rate, double set)
{
	return (struct guest){
		.total = 2 * GIB,
		.used = used,
		.rate = rate,
		.set = set,
		.noise = 0.05,
		.bandwidth = 2.7e9,
		.overhead = 0.4 * MS,
	};
}

static void test_idle(void)
{
	struct guest guest = loopback(512 * MIB, 200, 100);
	struct outcome outcome;

	run(&guest, &plain, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.rounds <= 2);
	CU_ASSERT_TRUE(outcome.blackout < 2 * MS);
	guest.rate = 0;
	run(&guest, &plain, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_EQUAL(outcome.rounds, 1);
}

/* 180,000 pages a second is what a small guest does at full rate in emulation. */
static void test_busy(void)
{
	static const double sets[] = { 16, 64, 256, 1024 };

	for (unsigned i = 0; i < 4; i++) {
		struct guest guest = loopback(GIB, 180e3, sets[i] * MIB);
		struct outcome outcome;

		run(&guest, &plain, &outcome);
		CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
		CU_ASSERT_TRUE(outcome.rounds <= 8);
		CU_ASSERT_TRUE(outcome.blackout < 3 * MS);
		CU_ASSERT_TRUE(outcome.said[0].converges);
	}
}

/* A small set rewritten without end never shrinks, and need not. */
static void test_small_hot_set(void)
{
	struct guest guest = loopback(GIB, 5e6, 1000);
	struct outcome outcome;

	run(&guest, &plain, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.rounds <= 4);
	CU_ASSERT_TRUE(outcome.blackout < 5 * MS);
}

/* Faster than the link: said at once, given up soon, because 5 ms were asked for. */
static void test_hopeless(void)
{
	struct guest guest = loopback(GIB, 2e6, 512 * MIB);
	struct plan_limits limits = { .downtime_us = 5000 };
	struct outcome outcome;

	guest.bandwidth = 1e9;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_GIVE_UP);
	/* two predictions from what pages sent again have cost: the third round is the first */
	CU_ASSERT_TRUE(outcome.rounds <= 4);
	CU_ASSERT_FALSE(outcome.said[1].converges);
	CU_ASSERT_PTR_NOT_NULL(strstr(outcome.said[1].words, "does not converge"));
	CU_ASSERT_TRUE(outcome.said[1].blackout_us > 100000);
}

/*
 * Rewritten faster than whole pages can be sent, but not than differences: neither given up nor
 * throttled before these have been seen.
 */
static void test_deltas(void)
{
	static const enum plan_unconverged choices[] = {
		PLAN_UNCONVERGED_GIVE_UP, PLAN_UNCONVERGED_KEEP_TRYING, PLAN_UNCONVERGED_THROTTLE
	};
	struct guest guest = loopback(GIB, 100e3, 64 * MIB);

	guest.delta = 60;
	for (double bandwidth = 125e6; bandwidth > 12e6; bandwidth /= 2) {
		guest.bandwidth = bandwidth;
		for (unsigned i = 0; i < 3; i++) {
			struct plan_limits limits = { .unconverged = choices[i] };
			struct outcome outcome;

			run(&guest, &limits, &outcome);
			CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
			CU_ASSERT_FALSE(outcome.said[1].converges);
			CU_ASSERT_TRUE(outcome.rounds <= 12);
			CU_ASSERT_EQUAL(outcome.throttle, 0);
			CU_ASSERT_TRUE(outcome.blackout < 5 * MS);
		}
	}
}

/* When nobody asked for a blackout, the least to be had is taken. */
static void test_patience(void)
{
	struct guest guest = loopback(GIB, 3e6, 48 * MIB);
	struct outcome outcome;

	guest.bandwidth = 2e9;
	run(&guest, &plain, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.rounds <= 8);
	CU_ASSERT_TRUE(outcome.blackout < 40 * MS);
}

static void test_throttle(void)
{
	struct guest guest = loopback(GIB, 2e6, 512 * MIB);
	struct plan_limits limits = {
		.downtime_us = 5000,
		.unconverged = PLAN_UNCONVERGED_THROTTLE,
	};
	struct outcome outcome;

	guest.bandwidth = 1e9;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.throttle >= 80 && outcome.throttle <= 99);
	CU_ASSERT_TRUE(outcome.blackout <= 5.5 * MS);
	CU_ASSERT_TRUE(outcome.rounds <= 15);
	/* no more than is needed, and none for a guest that needs none */
	guest.rate = 400e3;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.throttle >= 20 && outcome.throttle <= 80);
	guest.rate = 50e3;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_EQUAL(outcome.throttle, 0);
}

/* Keeps on, and takes the chance when the guest calms down. */
static void test_keep_trying(void)
{
	struct guest guest = loopback(GIB, 2e6, 512 * MIB);
	struct plan_limits limits = {
		.downtime_us = 5000,
		.unconverged = PLAN_UNCONVERGED_KEEP_TRYING,
	};
	struct outcome outcome;

	guest.bandwidth = 1e9;
	guest.calm_at = 8000 * MS;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.total > 8000 * MS && outcome.total < 10000 * MS);
	CU_ASSERT_TRUE(outcome.blackout < 5 * MS);
	limits.time_limit_us = 6000000;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_GIVE_UP);
	CU_ASSERT_TRUE(outcome.total > 5500 * MS && outcome.total < 7500 * MS);
	CU_ASSERT_PTR_NOT_NULL(strstr(outcome.said[outcome.rounds - 1].words, "time is up"));
}

static void test_cap(void)
{
	struct guest guest = loopback(GIB, 10e3, 256 * MIB);
	struct plan_limits limits = { .bandwidth_cap = 200000000 };
	struct outcome outcome;

	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.blackout < 5 * MS);
}

/* A burst while round 2 runs is not the end of the move. */
static void test_one_burst(void)
{
	struct guest guest = loopback(GIB, 1e6, 256 * MIB);
	struct plan_limits limits = { .downtime_us = 5000 };
	struct outcome outcome;

	guest.bandwidth = 1e9;
	guest.calm_at = 1000 * MS;
	run(&guest, &limits, &outcome);
	CU_ASSERT_EQUAL(outcome.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(outcome.blackout < 3 * MS);
}

/* ---- predictions ---- */

static double off(double said, double was)
{
	return fabs(said - was) / was;
}

/*
 * A grid of guests and links. Once the planner has seen two rounds, what it says of the end
 * (blackout and total) is to be near what comes of it. Where a guest writes nearly as fast
 * as the link sends, a few percent of noise are a round more or less, and with it half of a
 * blackout; elsewhere a tenth is kept.
 */
static void test_prediction(void)
{
	static const double rates[] = { 5e3, 20e3, 60e3, 180e3 };
	static const double sets[] = { 8, 64, 512 };
	static const double links[] = { 1.2e8, 1.2e9, 2.7e9 };
	double sum_blackout = 0, sum_total = 0, worst_total = 0, worst_blackout = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < 36; i++) {
		struct guest guest = loopback(GIB, rates[i % 4], sets[i / 4 % 3] * MIB);
		struct plan_limits limits = { .downtime_us = 500000 };
		struct outcome o;

		guest.bandwidth = links[i / 12];
		run(&guest, &limits, &o);
		CU_ASSERT_TRUE(o.verdict == PLAN_SWITCH || !o.said[1].converges);
		for (unsigned r = 1; o.verdict == PLAN_SWITCH && r < o.rounds; r++) {
			double total = off((double)o.said[r].total_us * 1e3, o.total);
			double blackout = off((double)o.said[r].blackout_us * 1e3, o.blackout);

			sum_total += total;
			sum_blackout += blackout;
			worst_total = fmax(worst_total, total);
			worst_blackout = fmax(worst_blackout, blackout);
			n++;
		}
	}
	if (getenv("PLAN_TRACE"))
		printf("%u predictions: blackout off by %.3f mean %.3f worst, total %.3f "
		       "%.3f\n",
		       n, sum_blackout / n, worst_blackout, sum_total / n, worst_total);
	CU_ASSERT_TRUE(n > 50);
	CU_ASSERT_TRUE(worst_total < 0.1);
	CU_ASSERT_TRUE(worst_blackout < 0.6);
	CU_ASSERT_TRUE(sum_total / n < 0.02);
	CU_ASSERT_TRUE(sum_blackout / n < 0.1);
}

static void test_dry_run(void)
{
	static const double rates[] = { 1e3, 20e3, 180e3, 3e6 };
	double worst = 0;

	for (unsigned i = 0; i < 4; i++) {
		struct guest guest = loopback(GIB, rates[i], 64 * MIB);
		struct plan_limits limits = { .downtime_us = 10000 };
		struct plan_guess guess = {
			.limits = limits,
			.pages_total = (uint64_t)guest.total,
			.pages_used = (uint64_t)guest.used,
			.bandwidth = (uint64_t)guest.bandwidth,
			.interval_ns = { 100000000, 10000000 },
		};
		struct plan_output out;
		struct outcome outcome;

		guess.dirty[0] = (uint64_t)dirtied(&guest, 0, 1e8, 0);
		guess.dirty[1] = (uint64_t)dirtied(&guest, 0, 1e7, 0);
		plan_predict(&guess, &out);
		run(&guest, &limits, &outcome);
		CU_ASSERT_EQUAL(out.verdict, outcome.verdict);
		CU_ASSERT_EQUAL(out.converges, outcome.verdict == PLAN_SWITCH);
		if (outcome.verdict != PLAN_SWITCH)
			continue;
		worst = fmax(worst, off((double)out.total_us * 1e3, outcome.total));
		worst = fmax(worst, off((double)out.blackout_us * 1e3, outcome.blackout));
	}
	CU_ASSERT_TRUE(worst < 0.35);
}

static void test_dry_run_words(void)
{
	struct plan_guess guess = {
		.pages_total = 262144,
		.dirty = { 200000, 0 },
		.interval_ns = { 100000000, 0 },
		.limits = { .downtime_us = 5000 },
	};
	struct plan_output out;
	uint64_t total;

	plan_predict(&guess, &out);
	CU_ASSERT_EQUAL(out.verdict, PLAN_GIVE_UP);
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "does not converge"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "were pages sent whole (bandwidth"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "1 GB/s assumed"));
	guess.link = 3000000000;
	plan_predict(&guess, &out);
	total = out.total_us;
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "carries more than the 1 GB/s"));
	guess.link = 100 << 20;
	plan_predict(&guess, &out);
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "(the link carries 100.0 MiB/s)"));
	CU_ASSERT_TRUE(out.total_us > total * 5);
	guess.limits.bandwidth_cap = 50 << 20;
	plan_predict(&guess, &out);
	CU_ASSERT_PTR_NULL(strstr(out.words, "link"));
	guess.limits.bandwidth_cap = guess.link = 0;
	guess.limits.unconverged = PLAN_UNCONVERGED_THROTTLE;
	guess.bandwidth = 1000000000;
	plan_predict(&guess, &out);
	CU_ASSERT_EQUAL(out.verdict, PLAN_THROTTLE);
	CU_ASSERT_TRUE(out.throttle > 50 && out.throttle < 100);
	CU_ASSERT_TRUE(out.converges);
	guess.limits.time_limit_us = 500000;
	plan_predict(&guess, &out);
	CU_ASSERT_FALSE(out.converges);
	CU_ASSERT_PTR_NOT_NULL(strstr(out.words, "time limit"));
}

/* ---- numbers nobody expects ---- */

static uint64_t any(void)
{
	uint64_t v = (uint64_t)rand() << 33 ^ (uint64_t)rand() << 16 ^ (uint64_t)rand();

	return v >> (unsigned)rand() % 65 % 64;
}

static void test_any_numbers(void)
{
	for (unsigned i = 0; i < 3000; i++) {
		struct plan plan;
		struct plan_output out;

		plan_init(&plan);
		for (unsigned r = 0; r < 6; r++) {
			struct plan_inputs in = {
				.limits = { any() * (r & 1), any() * (i & 1), any() * (i & 2),
					    (enum plan_unconverged)(i % 3) },
				.costs = { any(), any(), any(), any(), any() },
				.pages_total = any(),
				.bandwidth = any(),
				.elapsed_us = any(),
				.throttle = (unsigned)any() % 200,
				.last = { any(), any(), any(), any(), any() },
			};

			memset(&out, 0x55, sizeof(out));
			plan_step(&plan, &in, &out);
			CU_ASSERT_TRUE_FATAL(out.verdict <= PLAN_GIVE_UP && out.throttle <= 99);
			CU_ASSERT_TRUE_FATAL(strlen(out.words) < sizeof(out.words));
			CU_ASSERT_PTR_NULL_FATAL(strstr(out.words, "nan"));
		}
	}
	for (unsigned i = 0; i < 3000; i++) {
		struct plan_guess guess = {
			.limits = { any(), any(), any(), (enum plan_unconverged)(i % 3) },
			.pages_total = any(),
			.pages_used = any() * (i & 1),
			.bandwidth = any() * (i & 2),
			.dirty = { any(), any() },
			.interval_ns = { any() * (i & 1), any() * (i & 4) },
		};
		struct plan_output out;

		plan_predict(&guess, &out);
		CU_ASSERT_PTR_NULL_FATAL(strstr(out.words, "nan"));
	}
}

static void test_nothing(void)
{
	struct plan plan;
	struct plan_inputs in = { 0 };
	struct plan_output out;

	plan_init(&plan);
	plan_step(&plan, &in, &out);
	CU_ASSERT_EQUAL(out.verdict, PLAN_SWITCH);
	CU_ASSERT_TRUE(out.blackout_us > 0 && out.blackout_us < 5000);
}

int main(void)
{
	CU_pSuite suite;

	srand(1);
	CU_initialize_registry();
	suite = CU_add_suite("plan", NULL, NULL);
	CU_add_test(suite, "an idle guest", test_idle);
	CU_add_test(suite, "busy guests", test_busy);
	CU_add_test(suite, "a small hot set", test_small_hot_set);
	CU_add_test(suite, "a guest faster than the link", test_hopeless);
	CU_add_test(suite, "a guest whose deltas are small", test_deltas);
	CU_add_test(suite, "a wish is no condition", test_patience);
	CU_add_test(suite, "throttling, as much as it takes", test_throttle);
	CU_add_test(suite, "keep trying, until time is up", test_keep_trying);
	CU_add_test(suite, "a capped bandwidth", test_cap);
	CU_add_test(suite, "one burst", test_one_burst);
	CU_add_test(suite, "predictions come true", test_prediction);
	CU_add_test(suite, "so do those of a dry run", test_dry_run);
	CU_add_test(suite, "a dry run says what it assumes", test_dry_run_words);
	CU_add_test(suite, "any numbers", test_any_numbers);
	CU_add_test(suite, "nothing at all", test_nothing);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
