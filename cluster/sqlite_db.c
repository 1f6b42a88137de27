/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/sqlite_db.h"
#include "cluster/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION 0x53677565 /* "Sgue": PRAGMA application_id tells whose file it is */
#define SCHEMA      1
#define BUSY_MS     5000
#define BOOT_ID     "/proc/sys/kernel/random/boot_id"
#define BOOT_MAX    64u

static const char schema[] =
    "CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK(one = 1), revision INTEGER NOT NULL,"
    " forgotten INTEGER NOT NULL);"
    "INSERT INTO meta VALUES(1, 1, 1);"
    "CREATE TABLE kv(key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL,"
    " changed INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX kv_lease ON kv(lease) WHERE lease != 0;"
    "CREATE TABLE history(changed INTEGER, key TEXT, value BLOB, created INTEGER NOT NULL,"
    " lease INTEGER NOT NULL, PRIMARY KEY(changed, key)) WITHOUT ROWID;"
    /* A time is one since the machine was switched on; a lease of before that is over. */
    "CREATE TABLE lease(id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL,"
    " until INTEGER NOT NULL, boot TEXT NOT NULL);";

/* Columns of what is read as a key: key, value, created, changed, lease. */
enum query {
	Q_BEGIN,
	Q_WRITE,
	Q_COMMIT,
	Q_ROLLBACK,
	Q_META,
	Q_META_SET,
	Q_RANGE,
	Q_GET,
	Q_PUT,
	Q_DELETE,
	Q_REMEMBER,
	Q_HISTORY,
	Q_FORGET,
	Q_FORGOTTEN,
	Q_LEASE_GRANT,
	Q_LEASE_KEEP,
	Q_LEASE_FIND,
	Q_LEASE_END,
	Q_LEASE_OVER,
	Q_LEASE_KEYS,
	Q_VERSION,
	QUERIES,
};

static const char *const queries[QUERIES] = {
	[Q_BEGIN] = "BEGIN",
	[Q_WRITE] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_META] = "SELECT revision, forgotten FROM meta",
	[Q_META_SET] = "UPDATE meta SET revision = ?1",
	[Q_RANGE] = "SELECT key, value, created, changed, lease FROM kv"
		    " WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND (?3 IS NULL OR key > ?3)"
		    " ORDER BY key LIMIT ?4",
	[Q_GET] = "SELECT key, value, created, changed, lease FROM kv WHERE key = ?1",
	[Q_PUT] = "INSERT INTO kv VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(key)"
		  " DO UPDATE SET value = ?2, created = ?3, changed = ?4, lease = ?5",
	[Q_DELETE] = "DELETE FROM kv WHERE key = ?1",
	[Q_REMEMBER] = "INSERT INTO history(key, value, created, changed, lease)"
		       " VALUES(?1, ?2, ?3, ?4, ?5)",
	[Q_HISTORY] = "SELECT key, value, created, changed, lease FROM history"
		      " WHERE changed > ?4 AND key >= ?1 AND (?2 IS NULL OR key < ?2)"
		      " ORDER BY changed, key",
	[Q_FORGET] = "DELETE FROM history WHERE changed <= ?1",
	[Q_FORGOTTEN] = "UPDATE meta SET forgotten = ?1",
	[Q_LEASE_GRANT] = "INSERT INTO lease(ttl, until, boot) VALUES(?1, ?2, ?3)",
	[Q_LEASE_KEEP] = "UPDATE lease SET until = ?2 + ttl WHERE id = ?1 AND until > ?2 AND boot = ?3",
	[Q_LEASE_FIND] = "SELECT id FROM lease WHERE id = ?1",
	[Q_LEASE_END] = "DELETE FROM lease WHERE id = ?1",
	[Q_LEASE_OVER] = "SELECT id FROM lease WHERE until <= ?1 OR boot != ?2",
	[Q_LEASE_KEYS] = "SELECT key FROM kv WHERE lease = ?1 ORDER BY key",
	[Q_VERSION] = "PRAGMA data_version",
};

struct db {
	sqlite3 *handle;
	sqlite3_stmt *statements[QUERIES];
	int64_t version; /* of Q_VERSION, when it was last looked at */
	char boot[BOOT_MAX];
};

/* ---- one statement ---- */

static sqlite3_stmt *get(struct db *db, enum query query)
{
	sqlite3_stmt *statement = db->statements[query];

	if (!statement)
		sqlite3_prepare_v3(db->handle, queries[query], -1, SQLITE_PREPARE_PERSISTENT,
				   &db->statements[query], NULL);
	else
		sqlite3_reset(statement);
	if (db->statements[query])
		sqlite3_clear_bindings(db->statements[query]);
	return db->statements[query];
}

/* What another process holds for five seconds can be had later; the rest is for a person. */
static int fail(struct db *db, struct error *err)
{
	int code = sqlite3_errcode(db->handle);

	if (code == SQLITE_BUSY)
		return error_set(err, -EAGAIN, "the store is held by another process");
	return error_set(err, code == SQLITE_FULL ? -ENOSPC : -EIO, "the store: %s",
			 sqlite3_errmsg(db->handle));
}

/* Runs to the end what gives no rows. */
static int finish(struct db *db, sqlite3_stmt *statement, struct error *err)
{
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (r != SQLITE_DONE)
		r = fail(db, err);
	else
		r = 0;
	if (statement)
		sqlite3_reset(statement);
	return r;
}

static int run(struct db *db, enum query query, struct error *err)
{
	return finish(db, get(db, query), err);
}

static int run_number(struct db *db, enum query query, int64_t number, struct error *err)
{
	sqlite3_stmt *statement = get(db, query);

	sqlite3_bind_int64(statement, 1, number);
	return finish(db, statement, err);
}

/* 1 with a row, 0 at the end. */
static int next(struct db *db, sqlite3_stmt *statement, struct error *err)
{
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (r == SQLITE_ROW)
		return 1;
	r = r == SQLITE_DONE ? 0 : fail(db, err);
	if (statement)
		sqlite3_reset(statement);
	return r;
}

/* ---- transactions ---- */

/* HOW: Q_BEGIN for reading, of one moment; Q_WRITE, with nobody else writing. */
static int begin(struct db *db, enum query how, struct store_answer *answer,
		 int64_t *ret_forgotten)
{
	sqlite3_stmt *statement;
	int r = run(db, how, &answer->error);

	if (r)
		return r;
	statement = get(db, Q_META);
	r = next(db, statement, &answer->error);
	if (r == 1) {
		answer->revision = sqlite3_column_int64(statement, 0);
		if (ret_forgotten)
			*ret_forgotten = sqlite3_column_int64(statement, 1);
		sqlite3_reset(statement);
		return 0;
	}
	run(db, Q_ROLLBACK, NULL);
	return r ? r : error_set(&answer->error, -EIO, "the store has lost its revision");
}

/* R is what came of it so far. */
static void end(struct db *db, struct store_answer *answer, int r)
{
	if (!r)
		r = run(db, Q_COMMIT, &answer->error);
	if (r)
		run(db, Q_ROLLBACK, NULL);
}

/* ---- keys ---- */

static int take_row(struct store_answer *answer, sqlite3_stmt *row)
{
	size_t len = (size_t)sqlite3_column_bytes(row, 1);
	bool there = sqlite3_column_type(row, 1) != SQLITE_NULL;
	struct store_kv *kvs, *kv;

	kvs = reallocarray(answer->kvs, answer->n + 1, sizeof(*kvs));
	if (!kvs)
		return error_set(&answer->error, -ENOMEM, "no memory for what the store says");
	answer->kvs = kvs;
	kv = &kvs[answer->n];
	*kv = (struct store_kv){
		.key = strdup((const char *)sqlite3_column_text(row, 0)),
		.value = there ? malloc(len + 1) : NULL,
		.len = len,
		.created = sqlite3_column_int64(row, 2),
		.changed = sqlite3_column_int64(row, 3),
		.lease = sqlite3_column_int64(row, 4),
	};
	answer->n++;
	if (!kv->key || (there && !kv->value))
		return error_set(&answer->error, -ENOMEM, "no memory for what the store says");
	if (len)
		memcpy(kv->value, sqlite3_column_blob(row, 1), len);
	return 0;
}

static int take_rows(struct db *db, sqlite3_stmt *statement, struct store_answer *answer)
{
	int r;

	while ((r = next(db, statement, &answer->error)) == 1) {
		r = take_row(answer, statement);
		if (r) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}

void db_answer_done(struct store_answer *answer)
{
	store_kvs_free(answer->kvs, answer->n);
	answer->kvs = NULL;
	answer->n = 0;
}

/* The first key that does not begin with PREFIX any more: keys are below 0x7f. */
static void bind_prefix(sqlite3_stmt *statement, const char *prefix, char *beyond)
{
	size_t len = strlen(prefix);

	sqlite3_bind_text(statement, 1, prefix, -1, SQLITE_STATIC);
	if (!len)
		return;
	memcpy(beyond, prefix, len + 1);
	beyond[len - 1]++;
	sqlite3_bind_text(statement, 2, beyond, -1, SQLITE_STATIC);
}

void db_range(struct db *db, const char *prefix, const char *after, unsigned limit,
	      struct store_answer *answer)
{
	sqlite3_stmt *statement;
	char beyond[STORE_KEY_MAX + 1];
	int r = begin(db, Q_BEGIN, answer, NULL);

	if (r)
		return;
	statement = get(db, Q_RANGE);
	bind_prefix(statement, prefix, beyond);
	if (after)
		sqlite3_bind_text(statement, 3, after, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, limit ? (int64_t)limit + 1 : -1);
	r = take_rows(db, statement, answer);
	end(db, answer, r);
	if (limit && answer->n > limit) {
		answer->more = true;
		answer->n--;
		free(answer->kvs[answer->n].key);
		free(answer->kvs[answer->n].value);
	}
}

/* What the key is now goes behind answer->kvs; *ret_changed 0: there is none. */
static int look(struct db *db, const char *key, struct store_answer *answer, int64_t *ret_changed)
{
	sqlite3_stmt *statement = get(db, Q_GET);
	size_t before = answer->n;
	int r;

	sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
	r = take_rows(db, statement, answer);
	*ret_changed = answer->n > before ? answer->kvs[before].changed : 0;
	return r;
}

static int compare(struct db *db, const struct store_txn *txn, struct store_answer *answer)
{
	int r = 0;

	answer->done = true;
	for (size_t i = 0; !r && i < txn->n_compares; i++) {
		int64_t changed;

		r = look(db, txn->compares[i].key, answer, &changed);
		answer->done &= changed == txn->compares[i].changed;
	}
	return r;
}

/* KV's row in the table of QUERY, Q_PUT or Q_REMEMBER. */
static int write_row(struct db *db, enum query query, const struct store_kv *kv, struct error *err)
{
	sqlite3_stmt *statement = get(db, query);

	sqlite3_bind_text(statement, 1, kv->key, -1, SQLITE_STATIC);
	if (kv->value)
		sqlite3_bind_blob64(statement, 2, kv->value, kv->len, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 3, kv->created);
	sqlite3_bind_int64(statement, 4, kv->changed);
	sqlite3_bind_int64(statement, 5, kv->lease);
	return finish(db, statement, err);
}

static int delete_row(struct db *db, const char *key, struct error *err)
{
	sqlite3_stmt *statement = get(db, Q_DELETE);

	sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
	return finish(db, statement, err);
}

/* Makes CHANGE at REVISION; *ret_made is set if it changes anything. */
static int change(struct db *db, const struct store_change *change, int64_t revision,
		  bool *ret_made, struct error *err)
{
	static const uint8_t empty[1];
	struct store_answer was = {0};
	struct store_kv kv = {
		.key = (char *)(uintptr_t)change->key,
		.changed = revision,
		.lease = change->lease,
	};
	int64_t changed;
	int r = look(db, change->key, &was, &changed);

	kv.created = changed ? was.kvs[0].created : revision;
	db_answer_done(&was);
	if (r)
		return error_set(err, r, "%s", was.error.text);
	if (!change->value && !changed)
		return 0;
	*ret_made = true;
	if (change->value) {
		kv.value = (uint8_t *)(uintptr_t)(change->len ? change->value : empty);
		kv.len = change->len;
		r = write_row(db, Q_PUT, &kv, err);
	} else {
		r = delete_row(db, change->key, err);
	}
	return r ? r : write_row(db, Q_REMEMBER, &kv, err);
}

static int lease_there(struct db *db, int64_t lease, struct error *err)
{
	sqlite3_stmt *statement = get(db, Q_LEASE_FIND);
	int r;

	sqlite3_bind_int64(statement, 1, lease);
	r = next(db, statement, err);
	if (statement)
		sqlite3_reset(statement);
	if (r == 0)
		return error_set(err, -ENOENT, "there is no lease %lld", (long long)lease);
	return r < 0 ? r : 0;
}

/* All of CHANGES at the revision after answer->revision, which goes there if one did anything. */
static int change_all(struct db *db, const struct store_change *changes, size_t n,
		      struct store_answer *answer)
{
	bool made = false;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		if (changes[i].lease)
			r = lease_there(db, changes[i].lease, &answer->error);
		if (!r)
			r = change(db, &changes[i], answer->revision + 1, &made, &answer->error);
	}
	if (r || !made)
		return r;
	answer->revision++;
	return run_number(db, Q_META_SET, answer->revision, &answer->error);
}

void db_txn(struct db *db, const struct store_txn *txn, struct store_answer *answer)
{
	int r = begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	r = compare(db, txn, answer);
	if (!r && answer->done) {
		db_answer_done(answer);
		r = change_all(db, txn->changes, txn->n_changes, answer);
	}
	end(db, answer, r);
}

/* ---- history ---- */

void db_history(struct db *db, const char *prefix, int64_t after, struct store_answer *answer)
{
	char beyond[STORE_KEY_MAX + 1];
	sqlite3_stmt *statement;
	int64_t forgotten;
	int r = begin(db, Q_BEGIN, answer, &forgotten);

	if (r)
		return;
	if (after < forgotten && after < answer->revision) {
		r = error_set(&answer->error, -ESTALE,
			      "changes since revision %lld are asked for, the store has forgotten "
			      "those up to %lld", (long long)after, (long long)forgotten);
	} else {
		statement = get(db, Q_HISTORY);
		bind_prefix(statement, prefix, beyond);
		sqlite3_bind_int64(statement, 4, after);
		r = take_rows(db, statement, answer);
	}
	end(db, answer, r);
}

void db_compact(struct db *db, int64_t keep, struct store_answer *answer)
{
	int64_t forgotten, upto;
	int r = begin(db, Q_WRITE, answer, &forgotten);

	if (r)
		return;
	upto = answer->revision - keep;
	if (upto > forgotten) {
		r = run_number(db, Q_FORGET, upto, &answer->error);
		if (!r)
			r = run_number(db, Q_FORGOTTEN, upto, &answer->error);
	}
	end(db, answer, r);
}

bool db_moved(struct db *db)
{
	sqlite3_stmt *statement = get(db, Q_VERSION);
	int64_t version;

	/* Whoever cannot look had better look closely. */
	if (next(db, statement, NULL) != 1)
		return true;
	version = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	if (version == db->version)
		return false;
	db->version = version;
	return true;
}

/* ---- leases ---- */

void db_lease_grant(struct db *db, uint32_t ttl_ms, uint64_t now_ms, struct store_answer *answer)
{
	sqlite3_stmt *statement;
	int r = begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	statement = get(db, Q_LEASE_GRANT);
	sqlite3_bind_int64(statement, 1, ttl_ms);
	sqlite3_bind_int64(statement, 2, (int64_t)(now_ms + ttl_ms));
	sqlite3_bind_text(statement, 3, db->boot, -1, SQLITE_STATIC);
	r = finish(db, statement, &answer->error);
	answer->lease = sqlite3_last_insert_rowid(db->handle);
	end(db, answer, r);
}

void db_lease_keep(struct db *db, int64_t lease, uint64_t now_ms, struct store_answer *answer)
{
	sqlite3_stmt *statement;
	int r = begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	answer->lease = lease;
	statement = get(db, Q_LEASE_KEEP);
	sqlite3_bind_int64(statement, 1, lease);
	sqlite3_bind_int64(statement, 2, (int64_t)now_ms);
	sqlite3_bind_text(statement, 3, db->boot, -1, SQLITE_STATIC);
	r = finish(db, statement, &answer->error);
	if (!r && !sqlite3_changes(db->handle))
		r = error_set(&answer->error, -ENOENT, "lease %lld is over", (long long)lease);
	end(db, answer, r);
}

/* The keys of LEASE as deletions, in answer->kvs, and then done. */
static int lease_end(struct db *db, int64_t lease, struct store_answer *answer)
{
	struct store_change changes[STORE_TXN_MAX];
	sqlite3_stmt *statement;
	size_t n;
	int r;

	do {
		statement = get(db, Q_LEASE_KEYS);
		sqlite3_bind_int64(statement, 1, lease);
		for (n = 0; n < STORE_TXN_MAX && next(db, statement, &answer->error) == 1; n++) {
			const char *key = (const char *)sqlite3_column_text(statement, 0);

			changes[n] = (struct store_change){.key = strdup(key)};
			if (!changes[n].key)
				error_set(&answer->error, -ENOMEM, "no memory to end a lease");
		}
		sqlite3_reset(statement);
		r = answer->error.code;
		if (!r)
			r = change_all(db, changes, n, answer);
		for (size_t i = 0; i < n; i++)
			free((char *)(uintptr_t)changes[i].key);
	} while (!r && n == STORE_TXN_MAX);
	return r ? r : run_number(db, Q_LEASE_END, lease, &answer->error);
}

void db_lease_revoke(struct db *db, int64_t lease, struct store_answer *answer)
{
	int r = begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	answer->lease = lease;
	r = lease_there(db, lease, &answer->error);
	if (!r)
		r = lease_end(db, lease, answer);
	end(db, answer, r);
}

/* One that is over, or 0. */
static int lease_over(struct db *db, uint64_t now_ms, int64_t *ret_lease, struct error *err)
{
	sqlite3_stmt *statement = get(db, Q_LEASE_OVER);
	int r;

	sqlite3_bind_int64(statement, 1, (int64_t)now_ms);
	sqlite3_bind_text(statement, 2, db->boot, -1, SQLITE_STATIC);
	r = next(db, statement, err);
	*ret_lease = r == 1 ? sqlite3_column_int64(statement, 0) : 0;
	if (statement)
		sqlite3_reset(statement);
	return r < 0 ? r : 0;
}

void db_lease_expire(struct db *db, uint64_t now_ms, struct store_answer *answer)
{
	int64_t lease;
	int r;

	/* Nearly always there is none, and nobody need be kept from writing to see that. */
	if (lease_over(db, now_ms, &lease, &answer->error) || !lease)
		return;
	r = begin(db, Q_WRITE, answer, NULL);
	if (r)
		return;
	while (!(r = lease_over(db, now_ms, &lease, &answer->error)) && lease) {
		r = lease_end(db, lease, answer);
		if (r)
			break;
	}
	end(db, answer, r);
}

/* ---- the file ---- */

static int64_t pragma(struct db *db, const char *text)
{
	sqlite3_stmt *statement;
	int64_t value = -1;

	if (sqlite3_prepare_v2(db->handle, text, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

/* Ours, or empty: 0. Otherwise nothing may be done to it. */
static int check_owner(struct db *db, struct error *err)
{
	if (pragma(db, "PRAGMA application_id") == APPLICATION ||
	    pragma(db, "SELECT count(*) FROM sqlite_schema") == 0)
		return 0;
	return error_set(err, -EINVAL, "it is not a file of this program");
}

/* Under the write lock: two processes may find an empty file at once. */
static int make_schema(struct db *db, struct error *err)
{
	char *text;
	int r = run(db, Q_WRITE, err);

	if (r)
		return r;
	if (pragma(db, "PRAGMA application_id") != APPLICATION) {
		text = sqlite3_mprintf("%s PRAGMA application_id = %d; PRAGMA user_version = %d;",
				       schema, APPLICATION, SCHEMA);
		r = !text || sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK
			? fail(db, err)
			: 0;
		sqlite3_free(text);
	}
	if (!r)
		r = run(db, Q_COMMIT, err);
	if (r)
		run(db, Q_ROLLBACK, NULL);
	return r;
}

static int read_boot(struct db *db, struct error *err)
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, db->boot, sizeof(db->boot) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return error_system(err, n < 0 ? -errno : -EIO, "cannot read %s", BOOT_ID);
	db->boot[strcspn(db->boot, "\n")] = 0;
	return 0;
}

/* A commit is on the disk before it is answered: a guest's owner must not be forgotten. */
static int set_up(struct db *db, struct error *err)
{
	int r;

	sqlite3_busy_timeout(db->handle, BUSY_MS);
	r = check_owner(db, err);
	if (r)
		return r;
	if (sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", NULL,
			 NULL, NULL) != SQLITE_OK)
		return fail(db, err);
	r = make_schema(db, err);
	if (!r && pragma(db, "PRAGMA user_version") != SCHEMA)
		r = error_set(err, -EINVAL, "it was made by a newer version of this program");
	return r ? r : read_boot(db, err);
}

int db_open(const char *path, struct db **ret_db, struct error *err)
{
	struct db *db = calloc(1, sizeof(*db));
	int r = 0;

	if (!db)
		return error_set(err, -ENOMEM, "no memory for the store");
	if (sqlite3_open_v2(path, &db->handle,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		r = fail(db, err);
	if (!r)
		r = set_up(db, err);
	if (r) {
		error_prefix(err, "%s", path);
		db_close(db);
		return r;
	}
	*ret_db = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	for (unsigned i = 0; i < QUERIES; i++)
		sqlite3_finalize(db->statements[i]);
	sqlite3_close(db->handle);
	free(db);
}
