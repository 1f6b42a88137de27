/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/sqlite_internal.h"

int db_lease_there(struct db *db, int64_t lease, struct error *err)
{
	sqlite3_stmt *statement = db_query(db, Q_LEASE_FIND);
	int r;

	sqlite3_bind_int64(statement, 1, lease);
	r = db_next(db, statement, err);
	sqlite3_reset(statement);
	if (r == 0)
		return error_set(err, -ENOENT, "there is no lease %lld", (long long)lease);
	return r < 0 ? r : 0;
}

void db_lease_grant(struct db *db, uint32_t ttl_ms, uint64_t now_ms, struct store_answer *answer)
{
	sqlite3_stmt *statement;
	int r = db_begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	statement = db_query(db, Q_LEASE_GRANT);
	sqlite3_bind_int64(statement, 1, ttl_ms);
	sqlite3_bind_int64(statement, 2, (int64_t)(now_ms + ttl_ms));
	sqlite3_bind_text(statement, 3, db->boot, -1, SQLITE_STATIC);
	r = db_finish(db, statement, &answer->error);
	answer->lease = sqlite3_last_insert_rowid(db->handle);
	db_end(db, answer, r);
}

void db_lease_keep(struct db *db, int64_t lease, uint64_t now_ms, struct store_answer *answer)
{
	sqlite3_stmt *statement;
	int r = db_begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	answer->lease = lease;
	statement = db_query(db, Q_LEASE_KEEP);
	sqlite3_bind_int64(statement, 1, lease);
	sqlite3_bind_int64(statement, 2, (int64_t)now_ms);
	sqlite3_bind_text(statement, 3, db->boot, -1, SQLITE_STATIC);
	r = db_finish(db, statement, &answer->error);
	if (!r && !sqlite3_changes(db->handle))
		r = error_set(&answer->error, -ENOENT, "lease %lld is over", (long long)lease);
	db_end(db, answer, r);
}

/* Deletes the keys of LEASE, and then itself. */
static int lease_end(struct db *db, int64_t lease, struct store_answer *answer)
{
	struct store_change changes[STORE_TXN_MAX];
	sqlite3_stmt *statement;
	size_t n;
	int r;

	do {
		statement = db_query(db, Q_LEASE_KEYS);
		sqlite3_bind_int64(statement, 1, lease);
		for (n = 0; n < STORE_TXN_MAX && db_next(db, statement, &answer->error) == 1; n++) {
			const char *key = (const char *)sqlite3_column_text(statement, 0);

			changes[n] = (struct store_change){.key = strdup(key)};
			if (!changes[n].key)
				error_set(&answer->error, -ENOMEM, "no memory to end a lease");
		}
		sqlite3_reset(statement);
		r = answer->error.code;
		if (!r)
			r = db_change_all(db, changes, n, answer);
		for (size_t i = 0; i < n; i++)
			free((char *)(uintptr_t)changes[i].key);
	} while (!r && n == STORE_TXN_MAX);
	return r ? r : db_run_number(db, Q_LEASE_END, lease, &answer->error);
}

void db_lease_revoke(struct db *db, int64_t lease, struct store_answer *answer)
{
	int r = db_begin(db, Q_WRITE, answer, NULL);

	if (r)
		return;
	answer->lease = lease;
	r = db_lease_there(db, lease, &answer->error);
	if (!r)
		r = lease_end(db, lease, answer);
	db_end(db, answer, r);
}

/* One that is over, or 0. */
static int lease_over(struct db *db, uint64_t now_ms, int64_t *ret_lease, struct error *err)
{
	sqlite3_stmt *statement = db_query(db, Q_LEASE_OVER);
	int r;

	sqlite3_bind_int64(statement, 1, (int64_t)now_ms);
	sqlite3_bind_text(statement, 2, db->boot, -1, SQLITE_STATIC);
	r = db_next(db, statement, err);
	*ret_lease = r == 1 ? sqlite3_column_int64(statement, 0) : 0;
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
	r = db_begin(db, Q_WRITE, answer, NULL);
	if (r)
		return;
	while (!(r = lease_over(db, now_ms, &lease, &answer->error)) && lease) {
		r = lease_end(db, lease, answer);
		if (r)
			break;
	}
	db_end(db, answer, r);
}
