/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "migrate/ratelimit.h"

#define SECOND UINT64_C(1000000000)

/* A sender that waits when told to: how many bytes a second come through? */
static double through(uint64_t rate, uint64_t piece, uint64_t seconds)
{
	struct ratelimit_core core;
	uint64_t now = 12345, begin = now, bytes = 0;

	ratelimit_core_init(&core, rate, 0, now);
	while (now - begin < seconds * SECOND) {
		now += ratelimit_core_take(&core, piece, now);
		bytes += piece;
		now += 1000; /* the sending itself */
	}
	return (double)bytes / ((double)(now - begin) / 1e9);
}

static void test_rate(void)
{
	static const uint64_t rates[] = { 1000, 1000000, 125000000, 10000000000 };

	for (unsigned i = 0; i < 4; i++) {
		double burst = 70000.0 + (double)rates[i] / 100;
		double seen = through(rates[i], 4112, 10 + 100000000 / rates[i]);
		double allowed =
			(double)rates[i] + 2 * burst / (double)(10 + 100000000 / rates[i]);

		CU_ASSERT_TRUE(seen <= allowed * 1.001);
		/* the last rate is faster than one piece a microsecond can be */
		if (i < 3)
			CU_ASSERT_TRUE(seen >= (double)rates[i] * 0.999);
	}
}

static void test_unlimited(void)
{
	struct ratelimit_core core;

	ratelimit_core_init(&core, 0, 0, 5);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, UINT64_MAX, 5), 0);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, UINT64_MAX, 5), 0);
}

static void test_burst_and_debt(void)
{
	struct ratelimit_core core;

	ratelimit_core_init(&core, 1000000, 500000, 0);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 500000, 0), 0);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 1000000, 0), SECOND);
	/* a second taker waits for the first one's debt, too */
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 1000000, 0), 2 * SECOND);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 0, 2 * SECOND), 0);
	/* an idle bucket fills no further than its brim */
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 1500000, 100 * SECOND), SECOND);
}

static void test_extremes(void)
{
	struct ratelimit_core core;

	ratelimit_core_init(&core, UINT64_MAX, 0, 0);
	for (unsigned i = 0; i < 100; i++)
		ratelimit_core_take(&core, UINT64_MAX, UINT64_MAX / 100 * i);
	ratelimit_core_init(&core, 1, UINT64_MAX, UINT64_MAX);
	for (unsigned i = 0; i < 100; i++)
		ratelimit_core_take(&core, UINT64_MAX, i);
	CU_ASSERT_TRUE(ratelimit_core_take(&core, 1, 100) > 1000 * SECOND);
	/* a clock that stands or goes back credits nothing */
	ratelimit_core_init(&core, 1000000, 1, 1000);
	ratelimit_core_take(&core, 65536, 1000);
	CU_ASSERT_EQUAL(ratelimit_core_take(&core, 1000, 500), 1000000);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static struct ratelimit limit;
static atomic_bool cancel;

static void *waiter(void *arg)
{
	(void)arg;
	ratelimit_take(&limit, 65536, &cancel);
	return (void *)(intptr_t)ratelimit_take(&limit, 100 << 20, &cancel);
}

static void test_cancel(void)
{
	pthread_t thread;
	void *r = NULL;
	uint64_t began;

	ratelimit_init(&limit, 1 << 20);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, waiter, NULL), 0);
	nap(50);
	began = now_ns();
	atomic_store(&cancel, true);
	pthread_join(thread, &r);
	CU_ASSERT_EQUAL((int)(intptr_t)r, -ECANCELED);
	/* Undisturbed it would have slept for 100 s. */
	CU_ASSERT_TRUE(now_ns() - began < 50 * SECOND);
	ratelimit_done(&limit);
	atomic_store(&cancel, false);
}

static void test_lift(void)
{
	pthread_t thread;
	void *r = &r;
	uint64_t began;

	ratelimit_init(&limit, 1 << 20);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, waiter, NULL), 0);
	nap(50);
	began = now_ns();
	ratelimit_set(&limit, 0);
	pthread_join(thread, &r);
	CU_ASSERT_PTR_NULL(r);
	/* Undisturbed it would have slept for 100 s. */
	CU_ASSERT_TRUE(now_ns() - began < 50 * SECOND);
	ratelimit_done(&limit);
}

static void test_sleeps(void)
{
	uint64_t began = now_ns();

	ratelimit_init(&limit, 10 << 20);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(ratelimit_take(&limit, 64 << 10, NULL), 0);
	/* 1.25 MiB at 10 MiB/s, less a burst of 100 KiB */
	CU_ASSERT_TRUE(now_ns() - began > SECOND / 10);
	ratelimit_done(&limit);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("ratelimit", NULL, NULL);
	CU_add_test(suite, "the rate is kept, neither more nor less", test_rate);
	CU_add_test(suite, "no limit", test_unlimited);
	CU_add_test(suite, "burst and debt", test_burst_and_debt);
	CU_add_test(suite, "extreme numbers", test_extremes);
	CU_add_test(suite, "a cancelled wait ends", test_cancel);
	CU_add_test(suite, "a lifted limit ends the wait", test_lift);
	CU_add_test(suite, "it sleeps", test_sleeps);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
