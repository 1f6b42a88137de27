/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/pagecache.h"

#define MIB (1u << 20)

/* Stores a page filled with BYTE; whether the cache took it. */
static bool store(struct pagecache *cache, unsigned region, uint64_t page, uint32_t round,
		  int byte)
{
	struct pagecache_place place;

	pagecache_hold(cache, region, page, round, true, &place);
	if (!place.data)
		return false;
	memset(place.data, byte, 4096);
	pagecache_release(cache, &place, region, page, round, true);
	return true;
}

/* The byte a page is remembered with, -1 when it is not. Keeps it. */
static int recall(struct pagecache *cache, unsigned region, uint64_t page, uint32_t round)
{
	struct pagecache_place place;
	int byte = -1;

	pagecache_hold(cache, region, page, round, false, &place);
	if (place.data) {
		CU_ASSERT_TRUE(place.hit);
		byte = place.data[4095];
		pagecache_release(cache, &place, region, page, round, true);
	}
	return byte;
}

static void test_remembers(void)
{
	struct pagecache *cache;

	CU_ASSERT_EQUAL_FATAL(pagecache_create(MIB, &cache, NULL), 0);
	CU_ASSERT_EQUAL(recall(cache, 0, 7, 1), -1);
	CU_ASSERT_TRUE(store(cache, 0, 7, 1, 0x11));
	CU_ASSERT_TRUE(store(cache, 1, 7, 1, 0x22));
	CU_ASSERT_EQUAL(recall(cache, 0, 7, 1), 0x11);
	CU_ASSERT_EQUAL(recall(cache, 1, 7, 1), 0x22);
	CU_ASSERT_EQUAL(pagecache_bytes(cache), 2 * 4096);
	pagecache_drop(cache, 0, 7);
	CU_ASSERT_EQUAL(recall(cache, 0, 7, 1), -1);
	CU_ASSERT_EQUAL(recall(cache, 1, 7, 1), 0x22);
	CU_ASSERT_EQUAL(pagecache_bytes(cache), 4096);
	pagecache_destroy(cache);
	pagecache_destroy(NULL);
}

/* A working set larger than the cache must not push itself out, round after round. */
static void test_keeps_the_young(void)
{
	struct pagecache *cache;

	CU_ASSERT_EQUAL_FATAL(pagecache_create(MIB, &cache, NULL), 0);
	CU_ASSERT_TRUE(store(cache, 0, 3, 5, 1));
	CU_ASSERT_FALSE(store(cache, 0, 3 + 256, 5, 2));
	CU_ASSERT_FALSE(store(cache, 0, 3 + 256, 6, 2));
	CU_ASSERT_EQUAL(recall(cache, 0, 3, 6), 1); /* and with that, used in 6 */
	CU_ASSERT_FALSE(store(cache, 0, 3 + 256, 7, 2));
	CU_ASSERT_TRUE(store(cache, 0, 3 + 256, 8, 2));
	CU_ASSERT_EQUAL(recall(cache, 0, 3, 8), -1);
	CU_ASSERT_EQUAL(recall(cache, 0, 3 + 256, 8), 2);
	pagecache_destroy(cache);
}

static void test_capacity(void)
{
	struct pagecache *cache;
	size_t stored = 0;

	CU_ASSERT_EQUAL_FATAL(pagecache_create(3 * MIB + 5, &cache, NULL), 0);
	for (uint64_t page = 0; page < 5000; page++)
		stored += store(cache, 0, page, 1, 1);
	CU_ASSERT_EQUAL(stored, 512); /* 2 MiB: rounded down to a power of two */
	CU_ASSERT_EQUAL(pagecache_bytes(cache), 2 * MIB);
	pagecache_destroy(cache);
	CU_ASSERT_EQUAL_FATAL(pagecache_create(0, &cache, NULL), 0);
	CU_ASSERT_TRUE(store(cache, 0, 1, 1, 1));
	pagecache_destroy(cache);
}

static void test_not_stored_is_empty(void)
{
	struct pagecache *cache;
	struct pagecache_place place;

	CU_ASSERT_EQUAL_FATAL(pagecache_create(MIB, &cache, NULL), 0);
	CU_ASSERT_TRUE(store(cache, 0, 1, 1, 1));
	pagecache_hold(cache, 0, 1, 1, true, &place);
	CU_ASSERT_TRUE(place.hit);
	pagecache_release(cache, &place, 0, 1, 1, false);
	CU_ASSERT_EQUAL(recall(cache, 0, 1, 1), -1);
	CU_ASSERT_EQUAL(pagecache_bytes(cache), 0);
	pagecache_destroy(cache);
}

static struct pagecache *shared;

/* Whatever the other threads do, a hit is one page's bytes, whole. */
static void *hammer(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uintptr_t torn = 0;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t page = (unsigned)rand_r(&seed) % 300;
		struct pagecache_place place;

		if (i % 16 == 0)
			pagecache_drop(shared, 0, page);
		pagecache_hold(shared, 0, page, i / 1000, true, &place);
		if (!place.data)
			continue;
		if (place.hit)
			torn += memcmp(place.data, place.data + 1, 4095) != 0;
		memset(place.data, rand_r(&seed), 4096);
		pagecache_release(shared, &place, 0, page, i / 1000, true);
	}
	return (void *)torn;
}

static void test_threads(void)
{
	pthread_t thread[4];
	void *torn;

	CU_ASSERT_EQUAL_FATAL(pagecache_create(MIB, &shared, NULL), 0);
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, hammer, (void *)(i + 1));
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(thread[i], &torn);
		CU_ASSERT_PTR_NULL(torn);
	}
	CU_ASSERT_TRUE(pagecache_bytes(shared) <= MIB);
	pagecache_destroy(shared);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pagecache", NULL, NULL);
	CU_add_test(suite, "remembers and drops", test_remembers);
	CU_add_test(suite, "does not push out what is in use", test_keeps_the_young);
	CU_add_test(suite, "stays within its capacity", test_capacity);
	CU_add_test(suite, "a place let go empty is empty", test_not_stored_is_empty);
	CU_add_test(suite, "threads", test_threads);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
