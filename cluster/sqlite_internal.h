/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLUSTER_SQLITE_INTERNAL_H
#define CLUSTER_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "cluster/sqlite_db.h"

/* Shared by the files that make up sqlite_db.h. */

#define DB_BOOT_MAX 64u

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

struct db {
	sqlite3 *handle;
	sqlite3_stmt *statements[QUERIES];
	int64_t version; /* of Q_VERSION, when it was last looked at */
	char boot[DB_BOOT_MAX];
};

/* sqlite_query.c: one statement, with nothing bound yet; NULL: a later step will say why. */
sqlite3_stmt *db_query(struct db *db, enum query query);
/*
 * What SQLite says, as an error. What another process holds for five seconds can be had later
 * (-EAGAIN); the rest is for a person.
 */
int db_fail(struct db *db, struct error *err);
/* Runs to the end what gives no rows. */
int db_finish(struct db *db, sqlite3_stmt *statement, struct error *err);
int db_run(struct db *db, enum query query, struct error *err);
int db_run_number(struct db *db, enum query query, int64_t number, struct error *err);
/* 1 with a row, 0 at the end. */
int db_next(struct db *db, sqlite3_stmt *statement, struct error *err);

/*
 * HOW: Q_BEGIN for reading, of one moment; Q_WRITE, with nobody else writing. The revision goes to
 * ANSWER.
 */
int db_begin(struct db *db, enum query how, struct store_answer *answer, int64_t *ret_forgotten);
/* R is what came of it so far. */
void db_end(struct db *db, struct store_answer *answer, int r);

/* sqlite_db.c: all of CHANGES, at the revision after answer->revision, which goes there if one did
 * anything. */
int db_change_all(struct db *db, const struct store_change *changes, size_t n,
		  struct store_answer *answer);

/* sqlite_lease.c */
int db_lease_there(struct db *db, int64_t lease, struct error *err);

#endif
