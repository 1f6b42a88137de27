/* SPDX-License-Identifier: Apache-2.0 */
/* What every back end of the store must do, and what is SQLite's alone. */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/sqlite_db.h"
#include "cluster/store.h"

static char directory[64], path[128];
static uv_loop_t loop;
static struct store *store;

/* ---- asking, and waiting for the answer ---- */

struct got {
	bool here;
	int code;
	int64_t revision, lease;
	bool done, more;
	size_t n;
	char keys[512]; /* "a=1 b=2" */
	int64_t created, changed, of_lease; /* the first's */
};

static void note(struct got *got, const struct store_kv *kv)
{
	size_t used = strlen(got->keys);

	snprintf(got->keys + used, sizeof(got->keys) - used, "%s%s=%.*s", used ? " " : "", kv->key,
		 (int)kv->len, kv->value ? (const char *)kv->value : "");
}

static void on_answer(void *context, const struct store_answer *answer)
{
	struct got *got = context;

	CU_ASSERT_FALSE(got->here);
	got->here = true;
	got->code = answer->error.code;
	CU_ASSERT_EQUAL(!answer->error.code, !answer->error.text[0]);
	got->revision = answer->revision;
	got->lease = answer->lease;
	got->done = answer->done;
	got->more = answer->more;
	got->n = answer->n;
	for (size_t i = 0; i < answer->n; i++)
		note(got, &answer->kvs[i]);
	if (answer->n) {
		got->created = answer->kvs[0].created;
		got->changed = answer->kvs[0].changed;
		got->of_lease = answer->kvs[0].lease;
	}
}

static struct got await(struct got *got)
{
	CU_ASSERT_FALSE(got->here); /* never before the call has returned */
	while (!got->here)
		uv_run(&loop, UV_RUN_ONCE);
	return *got;
}

static struct got range(const char *prefix, const char *after, unsigned limit)
{
	struct got got = {0};

	CU_ASSERT_EQUAL(store_range(store, prefix, after, limit, on_answer, &got), 0);
	return await(&got);
}

static struct got txn(const struct store_compare *compares, size_t n_compares,
		      const struct store_change *changes, size_t n_changes)
{
	struct store_txn all = {compares, n_compares, changes, n_changes};
	struct got got = {0};

	CU_ASSERT_EQUAL(store_txn(store, &all, on_answer, &got), 0);
	return await(&got);
}

static struct got put_with(const char *key, const char *value, int64_t lease)
{
	struct store_change change = {key, value, value ? strlen(value) : 0, lease};

	return txn(NULL, 0, &change, 1);
}

static struct got put(const char *key, const char *value)
{
	return put_with(key, value, 0);
}

static struct got grant(uint32_t ttl_ms)
{
	struct got got = {0};

	CU_ASSERT_EQUAL(store_lease_grant(store, ttl_ms, on_answer, &got), 0);
	return await(&got);
}

static struct got keep(int64_t lease)
{
	struct got got = {0};

	CU_ASSERT_EQUAL(store_lease_keep(store, lease, on_answer, &got), 0);
	return await(&got);
}

static struct got give_up(int64_t lease)
{
	struct got got = {0};

	CU_ASSERT_EQUAL(store_lease_revoke(store, lease, on_answer, &got), 0);
	return await(&got);
}

/* ---- keys ---- */

static void test_keys(void)
{
	struct got first = put("k/a", "1"), second, got;

	CU_ASSERT_TRUE(first.done);
	got = range("k/", NULL, 0);
	CU_ASSERT_STRING_EQUAL(got.keys, "k/a=1");
	CU_ASSERT_EQUAL(got.created, first.revision);
	CU_ASSERT_EQUAL(got.changed, first.revision);
	second = put("k/a", "2");
	CU_ASSERT_EQUAL(second.revision, first.revision + 1);
	got = range("k/a", NULL, 0);
	CU_ASSERT_STRING_EQUAL(got.keys, "k/a=2");
	CU_ASSERT_EQUAL(got.created, first.revision);
	CU_ASSERT_EQUAL(got.changed, second.revision);
	CU_ASSERT_EQUAL(put("k/a", NULL).revision, second.revision + 1);
	CU_ASSERT_EQUAL(range("k/", NULL, 0).n, 0);
	/* What is deleted and was not there is no change. */
	CU_ASSERT_EQUAL(put("k/a", NULL).revision, second.revision + 1);
	got = put("k/a", "");
	CU_ASSERT_EQUAL(got.revision, second.revision + 2);
	got = range("k/", NULL, 0);
	CU_ASSERT_STRING_EQUAL(got.keys, "k/a=");
	CU_ASSERT_EQUAL(got.created, second.revision + 2);
}

static void test_ranges(void)
{
	put("r", "0");
	put("r/b", "2");
	put("r/a", "1");
	put("r/c", "3");
	put("r0", "no");
	CU_ASSERT_STRING_EQUAL(range("r/", NULL, 0).keys, "r/a=1 r/b=2 r/c=3");
	CU_ASSERT_STRING_EQUAL(range("r/", "r/a", 0).keys, "r/b=2 r/c=3");
	CU_ASSERT_STRING_EQUAL(range("r", NULL, 2).keys, "r=0 r/a=1");
	CU_ASSERT_TRUE(range("r", NULL, 2).more);
	CU_ASSERT_FALSE(range("r/", NULL, 3).more);
	CU_ASSERT_STRING_EQUAL(range("r/", "r/a", 1).keys, "r/b=2");
	CU_ASSERT_EQUAL(range("r/none", NULL, 0).n, 0);
	CU_ASSERT_TRUE(range("", NULL, 0).n >= 5);
}

static void test_large(void)
{
	char *value = malloc(STORE_VALUE_MAX + 1);
	struct store_change change = {"large", value, STORE_VALUE_MAX, 0};

	memset(value, 'x', STORE_VALUE_MAX + 1);
	CU_ASSERT_EQUAL(txn(NULL, 0, &change, 1).code, 0);
	CU_ASSERT_EQUAL(range("large", NULL, 0).n, 1);
	change.len++;
	CU_ASSERT_EQUAL(txn(NULL, 0, &change, 1).code, -EINVAL);
	free(value);
}

static void test_bad(void)
{
	struct store_change twice[2] = {{"t", "1", 1, 0}, {"t", "2", 1, 0}};
	struct store_change many[STORE_TXN_MAX + 1] = {0};
	char key[STORE_KEY_MAX + 2];

	memset(key, 'k', sizeof(key));
	key[STORE_KEY_MAX + 1] = 0;
	CU_ASSERT_EQUAL(put("", "1").code, -EINVAL);
	CU_ASSERT_EQUAL(put("a b", "1").code, -EINVAL);
	CU_ASSERT_EQUAL(put("a\x7f", "1").code, -EINVAL);
	CU_ASSERT_EQUAL(put(key, "1").code, -EINVAL);
	CU_ASSERT_EQUAL(put(key + 1, "1").code, 0);
	CU_ASSERT_EQUAL(range("a\n", NULL, 0).code, -EINVAL);
	CU_ASSERT_EQUAL(range("a", "", 0).code, -EINVAL);
	CU_ASSERT_EQUAL(txn(NULL, 0, twice, 2).code, -EINVAL);
	CU_ASSERT_EQUAL(txn(NULL, 0, many, STORE_TXN_MAX + 1).code, -EINVAL);
	CU_ASSERT_EQUAL(grant(STORE_TTL_MIN - 1).code, -EINVAL);
	CU_ASSERT_EQUAL(grant(STORE_TTL_MAX + 1).code, -EINVAL);
	CU_ASSERT_PTR_NULL(store_watch(store, "a b", 0, NULL, NULL));
}

/* ---- transactions ---- */

static void test_compare(void)
{
	struct store_compare none = {"c/a", 0}, both[2] = {{"c/a", 0}, {"c/b", 0}};
	struct store_change changes[2] = {{"c/a", "1", 1, 0}, {"c/b", "2", 1, 0}};
	struct got made = txn(&none, 1, changes, 2), got;

	CU_ASSERT_TRUE(made.done);
	CU_ASSERT_EQUAL(range("c/a", NULL, 0).changed, made.revision);
	CU_ASSERT_EQUAL(range("c/b", NULL, 0).changed, made.revision);
	got = txn(&none, 1, changes, 2);
	CU_ASSERT_EQUAL(got.code, 0);
	CU_ASSERT_FALSE(got.done);
	CU_ASSERT_STRING_EQUAL(got.keys, "c/a=1");
	CU_ASSERT_EQUAL(got.revision, made.revision);
	both[0].changed = both[1].changed = made.revision;
	changes[0].value = NULL;
	CU_ASSERT_TRUE(txn(both, 2, changes, 2).done);
	CU_ASSERT_STRING_EQUAL(range("c/", NULL, 0).keys, "c/b=2");
	/* One that does not hold is enough, and the other is told too. */
	both[0].changed = 0;
	got = txn(both, 2, changes, 2);
	CU_ASSERT_FALSE(got.done);
	CU_ASSERT_STRING_EQUAL(got.keys, "c/b=2");
	/* Nothing to do is a question. */
	CU_ASSERT_TRUE(txn(&none, 1, NULL, 0).done);
}

/* ---- watches ---- */

struct seen {
	char keys[512]; /* "a=1 a-" */
	int64_t revision;
	int code;
	size_t calls;
};

static void on_watched(void *context, const struct store_kv *changes, size_t n,
		       int64_t revision, const struct error *err)
{
	struct seen *seen = context;

	seen->calls++;
	seen->code = err->code;
	CU_ASSERT_TRUE(err->code || revision > seen->revision);
	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(seen->keys);

		CU_ASSERT_TRUE(changes[i].changed > seen->revision);
		CU_ASSERT_TRUE(changes[i].changed <= revision);
		snprintf(seen->keys + used, sizeof(seen->keys) - used, "%s%s%s%.*s",
			 used ? " " : "", changes[i].key, changes[i].value ? "=" : "-",
			 (int)changes[i].len,
			 changes[i].value ? (const char *)changes[i].value : "");
	}
	seen->revision = revision;
}

static void until(const struct seen *seen, const char *keys)
{
	while (strcmp(seen->keys, keys) != 0 && strlen(seen->keys) <= strlen(keys))
		uv_run(&loop, UV_RUN_ONCE);
	CU_ASSERT_STRING_EQUAL(seen->keys, keys);
}

static void test_watch(void)
{
	struct store_change changes[2] = {{"w/b", "3", 1, 0}, {"w/a", NULL, 0, 0}};
	struct seen seen = {.revision = put("w/0", "before").revision}, all = {0};
	struct store_watch *watch = store_watch(store, "w/", seen.revision, on_watched, &seen);
	struct store_watch *past;
	int64_t from = seen.revision - 1;

	put("w/a", "1");
	put("x/a", "no");
	put("w/a", "2");
	txn(NULL, 0, changes, 2);
	until(&seen, "w/a=1 w/a=2 w/a- w/b=3");
	all.revision = from;
	past = store_watch(store, "w/", from, on_watched, &all);
	until(&all, "w/0=before w/a=1 w/a=2 w/a- w/b=3");
	store_unwatch(watch);
	put("w/c", "4");
	until(&all, "w/0=before w/a=1 w/a=2 w/a- w/b=3 w/c=4");
	CU_ASSERT_STRING_EQUAL(seen.keys, "w/a=1 w/a=2 w/a- w/b=3");
	store_unwatch(past);
}

/* ---- leases ---- */

static void test_lease(void)
{
	struct got lease = grant(60000), other = grant(60000), got;
	struct seen seen = {.revision = put("l/stays", "0").revision};
	struct store_watch *watch = store_watch(store, "l/", seen.revision, on_watched, &seen);

	CU_ASSERT_TRUE(lease.lease > 0);
	CU_ASSERT_TRUE(other.lease > 0 && other.lease != lease.lease);
	CU_ASSERT_EQUAL(keep(lease.lease).code, 0);
	put_with("l/a", "1", lease.lease);
	put_with("l/b", "2", lease.lease);
	put_with("l/c", "3", other.lease);
	CU_ASSERT_EQUAL(range("l/a", NULL, 0).of_lease, lease.lease);
	put("l/b", "mine");
	got = give_up(lease.lease);
	CU_ASSERT_EQUAL(got.code, 0);
	CU_ASSERT_STRING_EQUAL(range("l/", NULL, 0).keys, "l/b=mine l/c=3 l/stays=0");
	until(&seen, "l/a=1 l/b=2 l/c=3 l/b=mine l/a-");
	CU_ASSERT_EQUAL(keep(lease.lease).code, -ENOENT);
	CU_ASSERT_EQUAL(give_up(lease.lease).code, -ENOENT);
	CU_ASSERT_EQUAL(put_with("l/d", "4", lease.lease).code, -ENOENT);
	CU_ASSERT_EQUAL(range("l/d", NULL, 0).n, 0);
	give_up(other.lease);
	store_unwatch(watch);
}

/* On a busy machine a lease may be over before it is used. */
static struct got put_briefly(const char *key)
{
	struct got made;

	do
		made = put_with(key, "1", grant(STORE_TTL_MIN).lease);
	while (made.code == -ENOENT);
	return made;
}

static void test_lease_ends(void)
{
	struct seen seen = {.revision = put_briefly("e/a").revision};
	struct store_watch *watch = store_watch(store, "e/", seen.revision, on_watched, &seen);

	until(&seen, "e/a-");
	CU_ASSERT_EQUAL(range("e/", NULL, 0).n, 0);
	store_unwatch(watch);
}

/* ---- SQLite's own ---- */

static struct store *open_store(void)
{
	struct error err = {0};
	struct store *opened = NULL;

	if (store_sqlite_open(&loop, path, &opened, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort(); /* outside tests, too */
	}
	return opened;
}

static void on_closed(void *context)
{
	*(bool *)context = true;
}

static void close_store(struct store *which)
{
	bool closed = false;

	store_close(which, on_closed, &closed);
	while (!closed)
		uv_run(&loop, UV_RUN_ONCE);
}

static void test_close(void)
{
	struct got got[3] = {0};
	struct seen seen = {0};
	struct store *other = open_store();
	bool closed = false;

	store_unwatch(store_watch(other, "", 1, on_watched, &seen));
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(store_range(other, "", NULL, 0, on_answer, &got[i]), 0);
	store_close(other, on_closed, &closed);
	while (!closed)
		uv_run(&loop, UV_RUN_ONCE);
	CU_ASSERT_EQUAL(seen.calls, 0);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_TRUE(got[i].here);
		CU_ASSERT_TRUE(got[i].code == 0 || got[i].code == -ECANCELED);
	}
}

/* What one process changes another sees. */
static void test_two(void)
{
	struct store *mine = store, *other = open_store();
	struct seen seen = {.revision = put("two/a", "1").revision};
	struct store_watch *watch = store_watch(other, "two/", seen.revision, on_watched, &seen);

	put("two/a", "2");
	until(&seen, "two/a=2");
	store = other;
	CU_ASSERT_STRING_EQUAL(range("two/", NULL, 0).keys, "two/a=2");
	store = mine;
	store_unwatch(watch);
	close_store(other);
}

/* Each adds one where nobody else has in between; no addition may be lost. */
static void count(unsigned times)
{
	for (unsigned i = 0; i < times;) {
		struct got now = range("count", NULL, 0);
		struct store_compare compare = {"count", now.changed};
		char value[16];
		struct store_change change = {"count", value, 0, 0};

		snprintf(value, sizeof(value), "%d", now.n ? atoi(now.keys + 6) + 1 : 1);
		change.len = strlen(value);
		i += txn(&compare, 1, &change, 1).done;
	}
}

#define COUNTERS 3
#define COUNTS   40

static void test_many(void)
{
	pid_t children[COUNTERS];
	char expected[32];
	int status;

	close_store(store); /* threads do not survive a fork */
	for (int i = 0; i < COUNTERS; i++) {
		children[i] = fork();
		if (children[i])
			continue;
		uv_loop_init(&loop);
		store = open_store();
		count(COUNTS);
		close_store(store);
		_exit(CU_get_number_of_failures() != 0);
	}
	for (int i = 0; i < COUNTERS; i++) {
		CU_ASSERT_EQUAL(waitpid(children[i], &status, 0), children[i]);
		CU_ASSERT_EQUAL(status, 0);
	}
	store = open_store();
	snprintf(expected, sizeof(expected), "count=%d", COUNTERS * COUNTS);
	CU_ASSERT_STRING_EQUAL(range("count", NULL, 0).keys, expected);
}

static void test_forgotten(void)
{
	struct store_answer answer = {0};
	int64_t now = put("f/a", "1").revision;
	struct seen seen = {.revision = now}, old = {0};
	struct store_watch *watch, *stale;
	struct db *db;

	put("f/a", "2");
	CU_ASSERT_EQUAL(db_open(path, &db, NULL), 0);
	db_compact(db, 1, &answer);
	CU_ASSERT_EQUAL(answer.error.code, 0);
	db_close(db);
	watch = store_watch(store, "f/", now, on_watched, &seen);
	until(&seen, "f/a=2");
	stale = store_watch(store, "f/", now - 1, on_watched, &old);
	while (!old.calls)
		uv_run(&loop, UV_RUN_ONCE);
	CU_ASSERT_EQUAL(old.code, -ESTALE);
	store_unwatch(watch);
	store_unwatch(stale);
}

/* Done to a file by another program. */
static void sql(const char *file, const char *text)
{
	sqlite3 *handle;

	CU_ASSERT_EQUAL(sqlite3_open(file, &handle), SQLITE_OK);
	sqlite3_busy_timeout(handle, 5000);
	CU_ASSERT_EQUAL(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
}

static void write_file(const char *name, const void *bytes, size_t len)
{
	FILE *file = fopen(name, "w");

	fwrite(bytes, 1, len, file);
	fclose(file);
}

static size_t read_file(const char *name, void *bytes, size_t size)
{
	FILE *file = fopen(name, "r");
	size_t len = fread(bytes, 1, size, file);

	fclose(file);
	return len;
}

static void test_foreign(void)
{
	char foreign[160], missing[160], before[8192], after[8192];
	struct store *none = NULL;
	struct error err = {0};
	size_t len;

	snprintf(foreign, sizeof(foreign), "%s/foreign", directory);
	write_file(foreign, "Dear diary, today I was opened by a stranger. ....", 50);
	CU_ASSERT_TRUE(store_sqlite_open(&loop, foreign, &none, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, foreign));
	unlink(foreign);
	snprintf(missing, sizeof(missing), "%s/none/store", directory);
	err = (struct error){0};
	CU_ASSERT_TRUE(store_sqlite_open(&loop, missing, &none, &err) < 0);
	/* Another program's database stays as it was. */
	sql(foreign, "CREATE TABLE t(x)");
	len = read_file(foreign, before, sizeof(before));
	err = (struct error){0};
	CU_ASSERT_EQUAL(store_sqlite_open(&loop, foreign, &none, &err), -EINVAL);
	CU_ASSERT_EQUAL(read_file(foreign, after, sizeof(after)), len);
	CU_ASSERT_EQUAL(memcmp(before, after, len), 0);
	unlink(foreign);
}

/* By a clock of the test's own, in a file that no store's thread looks after. */
static void test_lease_clock(void)
{
	struct store_change change = {"a", "1", 1, 0};
	struct store_txn one = {NULL, 0, &change, 1};
	struct store_answer lease = {0}, answer = {0};
	char file[160];
	struct db *db;

	snprintf(file, sizeof(file), "%s/clock", directory);
	CU_ASSERT_EQUAL(db_open(file, &db, NULL), 0);
	db_lease_grant(db, 1000, 10000, &lease);
	change.lease = lease.lease;
	db_txn(db, &one, &answer);
	db_lease_keep(db, lease.lease, 10999, &answer);
	CU_ASSERT_EQUAL(answer.error.code, 0);
	db_lease_expire(db, 11998, &answer);
	db_range(db, "", NULL, 0, &answer);
	CU_ASSERT_EQUAL(answer.n, 1);
	db_answer_done(&answer);
	db_lease_keep(db, lease.lease, 11999, &answer);
	CU_ASSERT_EQUAL(answer.error.code, -ENOENT);
	answer = (struct store_answer){0};
	db_lease_expire(db, 11999, &answer);
	CU_ASSERT_EQUAL(answer.revision, 3);
	db_range(db, "", NULL, 0, &answer);
	CU_ASSERT_EQUAL(answer.n, 0);
	db_close(db);
	unlink(file);
}

/* A lease of before the machine was switched on is over, and so are its keys. */
static void test_reboot(void)
{
	struct got lease = grant(STORE_TTL_MAX);
	struct seen seen = {.revision = put_with("b/a", "1", lease.lease).revision};
	struct store_watch *watch = store_watch(store, "b/", seen.revision, on_watched, &seen);
	char command[80];

	snprintf(command, sizeof(command), "UPDATE lease SET boot = 'another' WHERE id = %lld",
		 (long long)lease.lease);
	sql(path, command);
	until(&seen, "b/a-");
	CU_ASSERT_EQUAL(keep(lease.lease).code, -ENOENT);
	store_unwatch(watch);
}

static void remove_all(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[160];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	rmdir(directory);
}

int main(void)
{
	CU_pSuite suite;

	snprintf(directory, sizeof(directory), "/tmp/segue-store-XXXXXX");
	if (!mkdtemp(directory) || CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	snprintf(path, sizeof(path), "%s/store", directory);
	uv_loop_init(&loop);
	store = open_store();
	suite = CU_add_suite("store", NULL, NULL);
	CU_add_test(suite, "keys", test_keys);
	CU_add_test(suite, "ranges", test_ranges);
	CU_add_test(suite, "a large value", test_large);
	CU_add_test(suite, "what is refused", test_bad);
	CU_add_test(suite, "comparisons", test_compare);
	CU_add_test(suite, "watches", test_watch);
	CU_add_test(suite, "leases", test_lease);
	CU_add_test(suite, "a lease that ends", test_lease_ends);
	CU_add_test(suite, "a lease by the clock", test_lease_clock);
	CU_add_test(suite, "closing", test_close);
	CU_add_test(suite, "two at one file", test_two);
	CU_add_test(suite, "many that count", test_many);
	CU_add_test(suite, "what is forgotten", test_forgotten);
	CU_add_test(suite, "files of others", test_foreign);
	CU_add_test(suite, "a machine switched off", test_reboot);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	close_store(store);
	uv_run(&loop, UV_RUN_DEFAULT);
	remove_all();
	return CU_get_number_of_failures() != 0 || uv_loop_close(&loop) != 0;
}
