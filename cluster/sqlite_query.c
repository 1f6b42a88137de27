/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "cluster/sqlite_internal.h"

/* The SQL there is, and running it. */

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

sqlite3_stmt *db_query(struct db *db, enum query query)
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

int db_fail(struct db *db, struct error *err)
{
	int code = sqlite3_errcode(db->handle);

	if (code == SQLITE_BUSY)
		return error_set(err, -EAGAIN, "the store is held by another process");
	return error_set(err, code == SQLITE_FULL ? -ENOSPC : -EIO, "the store: %s",
			 sqlite3_errmsg(db->handle));
}

int db_finish(struct db *db, sqlite3_stmt *statement, struct error *err)
{
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	r = r == SQLITE_DONE ? 0 : db_fail(db, err);
	sqlite3_reset(statement);
	return r;
}

int db_run(struct db *db, enum query query, struct error *err)
{
	return db_finish(db, db_query(db, query), err);
}

int db_run_number(struct db *db, enum query query, int64_t number, struct error *err)
{
	sqlite3_stmt *statement = db_query(db, query);

	sqlite3_bind_int64(statement, 1, number);
	return db_finish(db, statement, err);
}

int db_next(struct db *db, sqlite3_stmt *statement, struct error *err)
{
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (r == SQLITE_ROW)
		return 1;
	r = r == SQLITE_DONE ? 0 : db_fail(db, err);
	sqlite3_reset(statement);
	return r;
}

int db_begin(struct db *db, enum query how, struct store_answer *answer, int64_t *ret_forgotten)
{
	sqlite3_stmt *statement;
	int r = db_run(db, how, &answer->error);

	if (r)
		return r;
	statement = db_query(db, Q_META);
	r = db_next(db, statement, &answer->error);
	if (r == 1) {
		answer->revision = sqlite3_column_int64(statement, 0);
		if (ret_forgotten)
			*ret_forgotten = sqlite3_column_int64(statement, 1);
		sqlite3_reset(statement);
		return 0;
	}
	db_run(db, Q_ROLLBACK, NULL);
	return r ? r : error_set(&answer->error, -EIO, "the store has lost its revision");
}

void db_end(struct db *db, struct store_answer *answer, int r)
{
	if (!r)
		r = db_run(db, Q_COMMIT, &answer->error);
	if (r)
		db_run(db, Q_ROLLBACK, NULL);
}
