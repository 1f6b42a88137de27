/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cluster's store takes for what agents do all day, in microseconds: a transaction that
 * compares and writes, a lease kept, a range of a thousand keys, and another process's change being
 * seen. Each one after the other; median and 99th percentile.
 *
 *   bench-store [DIRECTORY (.)]     on the disk whose commits count
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cluster/store.h"

#define TIMES 1000u
#define KEYS  1000u

static uv_loop_t loop;
static bool here;
static int64_t revision, lease, seen;

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void on_answer(void *context, const struct store_answer *answer)
{
	(void)context;
	if (answer->error.code) {
		fprintf(stderr, "%s\n", answer->error.text);
		exit(1);
	}
	here = true;
	revision = answer->revision;
	lease = answer->lease ? answer->lease : lease;
}

static void on_watched(void *context, const struct store_kv *changes, size_t n, int64_t newest,
		       const struct error *err)
{
	(void)context;
	(void)changes;
	(void)n;
	if (err->code)
		exit(1);
	seen = newest;
}

static void await(void)
{
	for (here = false; !here;)
		uv_run(&loop, UV_RUN_ONCE);
}

static struct store *open_at(const char *path)
{
	struct error err = {0};
	struct store *store;

	if (store_sqlite_open(&loop, path, &store, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	return store;
}

static void put(struct store *store, unsigned number)
{
	static const char value[200];
	char key[32];
	struct store_change change = {key, value, sizeof(value), 0};
	struct store_compare compare = {"no/such/key", 0};
	struct store_txn txn = {&compare, 1, &change, 1};

	snprintf(key, sizeof(key), "guest/%04u", number % KEYS);
	store_txn(store, &txn, on_answer, NULL);
	await();
}

static void keep(struct store *store, unsigned number)
{
	(void)number;
	store_lease_keep(store, lease, on_answer, NULL);
	await();
}

static void range(struct store *store, unsigned number)
{
	(void)number;
	store_range(store, "guest/", NULL, 0, on_answer, NULL);
	await();
}

static void put_and_see(struct store *store, unsigned number)
{
	put(store, number);
	while (seen < revision)
		uv_run(&loop, UV_RUN_ONCE);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *what, struct store *store,
		    void (*step)(struct store *store, unsigned number))
{
	static double took[TIMES];

	for (unsigned i = 0; i < TIMES; i++) {
		double began;

		usleep(1100); /* two in one millisecond would write the same time to a lease */
		began = now_us();
		step(store, i);
		took[i] = now_us() - began;
	}
	qsort(took, TIMES, sizeof(took[0]), by_size);
	printf("%-40s %9.0f %9.0f us\n", what, took[TIMES / 2], took[TIMES - TIMES / 100]);
}

int main(int argc, char **argv)
{
	const char *directory = argc > 1 ? argv[1] : ".";
	struct store *store, *other;
	struct store_watch *watch;
	char path[4096], name[4200];

	snprintf(path, sizeof(path), "%s/bench-store-%d", directory, (int)getpid());
	uv_loop_init(&loop);
	store = open_at(path);
	other = open_at(path);
	store_lease_grant(store, STORE_TTL_MAX, on_answer, NULL);
	await();
	printf("%-40s %9s %9s\n", "SQLite", "median", "99 %");
	measure("a transaction", store, put);
	measure("keeping a lease", store, keep);
	measure("a range of 1000 keys", store, range);
	watch = store_watch(other, "guest/", revision, on_watched, NULL);
	measure("a transaction, seen by another process", store, put_and_see);
	store_unwatch(watch);
	store_close(store, NULL, NULL);
	store_close(other, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, i == 0 ? "" : i == 1 ? "-wal" : "-shm");
		unlink(name);
	}
	return 0;
}
