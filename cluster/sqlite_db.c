/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/sqlite_internal.h"
#include "cluster/store_internal.h"

/* Keys, transactions and history. */

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
	if (there && len)
		memcpy(kv->value, sqlite3_column_blob(row, 1), len);
	return 0;
}

static int take_rows(struct db *db, sqlite3_stmt *statement, struct store_answer *answer)
{
	int r;

	while ((r = db_next(db, statement, &answer->error)) == 1) {
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
	int r = db_begin(db, Q_BEGIN, answer, NULL);

	if (r)
		return;
	statement = db_query(db, Q_RANGE);
	bind_prefix(statement, prefix, beyond);
	if (after)
		sqlite3_bind_text(statement, 3, after, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, limit ? (int64_t)limit + 1 : -1);
	r = take_rows(db, statement, answer);
	db_end(db, answer, r);
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
	sqlite3_stmt *statement = db_query(db, Q_GET);
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
	sqlite3_stmt *statement = db_query(db, query);

	sqlite3_bind_text(statement, 1, kv->key, -1, SQLITE_STATIC);
	if (kv->value)
		sqlite3_bind_blob64(statement, 2, kv->value, kv->len, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 3, kv->created);
	sqlite3_bind_int64(statement, 4, kv->changed);
	sqlite3_bind_int64(statement, 5, kv->lease);
	return db_finish(db, statement, err);
}

static int delete_row(struct db *db, const char *key, struct error *err)
{
	sqlite3_stmt *statement = db_query(db, Q_DELETE);

	sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
	return db_finish(db, statement, err);
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

int db_change_all(struct db *db, const struct store_change *changes, size_t n,
		  struct store_answer *answer)
{
	bool made = false;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		if (changes[i].lease)
			r = db_lease_there(db, changes[i].lease, &answer->error);
		if (!r)
			r = change(db, &changes[i], answer->revision + 1, &made, &answer->error);
	}
	if (r || !made)
		return r;
	answer->revision++;
	return db_run_number(db, Q_META_SET, answer->revision, &answer->error);
}

void db_txn(struct db *db, const struct store_txn *txn, struct store_answer *answer)
{
	int r = db_begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	r = compare(db, txn, answer);
	if (!r && answer->done) {
		db_answer_done(answer);
		r = db_change_all(db, txn->changes, txn->n_changes, answer);
	}
	db_end(db, answer, r);
}

/* ---- history ---- */

void db_history(struct db *db, const char *prefix, int64_t after, struct store_answer *answer)
{
	char beyond[STORE_KEY_MAX + 1];
	sqlite3_stmt *statement;
	int64_t forgotten;
	int r = db_begin(db, Q_BEGIN, answer, &forgotten);

	if (r)
		return;
	if (after < forgotten && after < answer->revision) {
		r = error_set(&answer->error, -ESTALE,
			      "changes since revision %lld are asked for, the store has forgotten "
			      "those up to %lld", (long long)after, (long long)forgotten);
	} else {
		statement = db_query(db, Q_HISTORY);
		bind_prefix(statement, prefix, beyond);
		sqlite3_bind_int64(statement, 4, after);
		r = take_rows(db, statement, answer);
	}
	db_end(db, answer, r);
}

void db_compact(struct db *db, int64_t keep, struct store_answer *answer)
{
	int64_t forgotten, upto;
	int r = db_begin(db, Q_WRITE, answer, &forgotten);

	if (r)
		return;
	upto = answer->revision - keep;
	if (upto > forgotten) {
		r = db_run_number(db, Q_FORGET, upto, &answer->error);
		if (!r)
			r = db_run_number(db, Q_FORGOTTEN, upto, &answer->error);
	}
	db_end(db, answer, r);
}

bool db_moved(struct db *db)
{
	sqlite3_stmt *statement = db_query(db, Q_VERSION);
	int64_t version;

	/* Whoever cannot look had better look closely. */
	if (db_next(db, statement, NULL) != 1)
		return true;
	version = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	if (version == db->version)
		return false;
	db->version = version;
	return true;
}
