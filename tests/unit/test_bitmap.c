/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/bitmap.h"

#define PAGES 1003u /* no multiple of anything */

static void fill(uint64_t *words, unsigned char *plain, unsigned density)
{
	memset(words, 0, bitmap_words(PAGES) * 8);
	for (unsigned i = 0; i < PAGES; i++) {
		plain[i] = (unsigned)rand() % 100 < density;
		if (plain[i])
			bitmap_set(words, i);
	}
}

static bool same(const uint64_t *words, const unsigned char *plain)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (bitmap_test(words, i) != plain[i])
			return false;
	return bitmap_words(PAGES) * 64 == PAGES ||
	       words[bitmap_words(PAGES) - 1] >> (PAGES % 64) == 0;
}

static void test_ranges(void)
{
	uint64_t *words = bitmap_create(PAGES);
	unsigned char plain[PAGES];

	fill(words, plain, 50);
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t first = (unsigned)rand() % PAGES;
		uint64_t count = 1 + (unsigned)rand() % (PAGES - first);

		if (i % 3 == 0)
			count = count % 5 + 1 > PAGES - first ? 1 : count % 5 + 1;
		switch (i % 4) {
		case 0:
			bitmap_set_range(words, first, count);
			break;
		case 1:
			bitmap_clear_range(words, first, count);
			break;
		case 2:
			bitmap_set_range_atomic(words, first, count);
			break;
		case 3:
			bitmap_clear_range_atomic(words, first, count);
			break;
		}
		memset(plain + first, i % 2 == 0, count);
		CU_ASSERT_TRUE_FATAL(same(words, plain));
	}
	free(words);
}

static void test_next_run(void)
{
	uint64_t *words = bitmap_create(PAGES);
	unsigned char plain[PAGES], seen[PAGES];

	for (unsigned density = 0; density <= 100; density += 10) {
		uint64_t from = 7, end = PAGES - 5, first, n;

		fill(words, plain, density);
		memset(seen, 0, sizeof(seen));
		while ((n = bitmap_next_run(words, from, end, &first)) != 0) {
			CU_ASSERT_TRUE_FATAL(first >= from && first + n <= end);
			CU_ASSERT_TRUE(first == 7 || from == first || !plain[first - 1]);
			memset(seen + first, 1, n);
			CU_ASSERT_TRUE(first + n == end || !plain[first + n]);
			from = first + n;
		}
		CU_ASSERT_EQUAL(memcmp(seen + 7, plain + 7, PAGES - 12), 0);
		CU_ASSERT_EQUAL(seen[6] + seen[PAGES - 1], 0);
	}
	free(words);
}

static void test_count_or(void)
{
	uint64_t *a = bitmap_create(PAGES), *b = bitmap_create(PAGES);
	unsigned char pa[PAGES], pb[PAGES];
	uint64_t sum = 0;

	fill(a, pa, 30);
	fill(b, pb, 30);
	bitmap_or(a, b, bitmap_words(PAGES));
	for (unsigned i = 0; i < PAGES; i++)
		sum += pa[i] |= pb[i];
	CU_ASSERT_TRUE(same(a, pa));
	CU_ASSERT_EQUAL(bitmap_count(a, bitmap_words(PAGES)), sum);
	CU_ASSERT_TRUE(bitmap_any(a, bitmap_words(PAGES)));
	bitmap_clear_range(a, 0, PAGES);
	CU_ASSERT_FALSE(bitmap_any(a, bitmap_words(PAGES)));
	free(a);
	free(b);
}

#define SHARED 100000u

static unsigned char taken[SHARED];

static void *taker(void *arg)
{
	struct round_work *work = arg;
	uint64_t first, end, run, n;

	while (round_take(work, &first, &end)) {
		if (first % ROUND_CHUNK || end > SHARED || end - first > ROUND_CHUNK)
			abort();
		while ((n = bitmap_next_run(work->words, first, end, &run)) != 0) {
			for (uint64_t i = run; i < run + n; i++)
				taken[i]++;
			first = run + n;
		}
	}
	return NULL;
}

/* Every dirty page to exactly one thread, no clean one to any. */
static void test_round(void)
{
	uint64_t *words = bitmap_create(SHARED);
	struct round_work work;
	pthread_t thread[4];

	for (unsigned i = 0; i < SHARED; i++)
		if (rand() % 7 == 0 && (i < 20000 || i > 60000))
			bitmap_set(words, i);
	bitmap_set(words, SHARED - 1);
	round_begin(&work, words, SHARED);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, taker, &work), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < SHARED; i++)
		CU_ASSERT_EQUAL_FATAL(taken[i], bitmap_test(words, i));
	free(words);
}

static void test_round_empty(void)
{
	uint64_t *words = bitmap_create(5000);
	struct round_work work;
	uint64_t first, end;

	round_begin(&work, words, 5000);
	CU_ASSERT_FALSE(round_take(&work, &first, &end));
	round_begin(&work, words, 0);
	CU_ASSERT_FALSE(round_take(&work, &first, &end));
	bitmap_set(words, 4999);
	round_begin(&work, words, 5000);
	CU_ASSERT_TRUE(round_take(&work, &first, &end));
	CU_ASSERT_EQUAL(first, 4864);
	CU_ASSERT_EQUAL(end, 5000);
	CU_ASSERT_FALSE(round_take(&work, &first, &end));
	free(words);
}

int main(void)
{
	CU_pSuite suite;

	srand(1);
	CU_initialize_registry();
	suite = CU_add_suite("bitmap", NULL, NULL);
	CU_add_test(suite, "ranges set and cleared are those and no others", test_ranges);
	CU_add_test(suite, "runs are maximal and within bounds", test_next_run);
	CU_add_test(suite, "count, or, any", test_count_or);
	CU_add_test(suite, "a round is shared out exactly once", test_round);
	CU_add_test(suite, "empty rounds and tails", test_round_empty);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
