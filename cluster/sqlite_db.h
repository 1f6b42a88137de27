/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLUSTER_SQLITE_DB_H
#define CLUSTER_SQLITE_DB_H

#include "cluster/store.h"

/*
 * The store's meaning in SQL: one file, one call at a time, each done when it returns. Several
 * processes may have the file open. Answers are filled, and freed by db_answer_done().
 */
struct db;

int db_open(const char *path, struct db **ret_db, struct error *err);
void db_close(struct db *db); /* NULL is fine */

void db_range(struct db *db, const char *prefix, const char *after, unsigned limit,
	      struct store_answer *answer);
void db_txn(struct db *db, const struct store_txn *txn, struct store_answer *answer);

/* NOW_MS: of a clock that all processes of the machine share and that goes on while it sleeps. */
void db_lease_grant(struct db *db, uint32_t ttl_ms, uint64_t now_ms, struct store_answer *answer);
void db_lease_keep(struct db *db, int64_t lease, uint64_t now_ms, struct store_answer *answer);
void db_lease_revoke(struct db *db, int64_t lease, struct store_answer *answer);
/* Ends the leases whose time is over. */
void db_lease_expire(struct db *db, uint64_t now_ms, struct store_answer *answer);

/* Whether another process may have changed something since this was last asked. */
bool db_moved(struct db *db);

/*
 * Changes after revision AFTER of keys that begin with PREFIX, in answer->kvs; a deleted one has
 * no value. -ESTALE if they are forgotten.
 */
void db_history(struct db *db, const char *prefix, int64_t after, struct store_answer *answer);

/* Forgets history but for the newest KEEP revisions. */
void db_compact(struct db *db, int64_t keep, struct store_answer *answer);

void db_answer_done(struct store_answer *answer);

#endif
