/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/sqlite_internal.h"

/* The file: whose it is, what is in it, how it is opened. */
#define APPLICATION 0x53677565 /* "Sgue": PRAGMA application_id tells whose file it is */
#define SCHEMA      1
#define BUSY_MS     5000
#define BOOT_ID     "/proc/sys/kernel/random/boot_id"

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
	int r = db_run(db, Q_WRITE, err);

	if (r)
		return r;
	if (pragma(db, "PRAGMA application_id") != APPLICATION) {
		text = sqlite3_mprintf("%s PRAGMA application_id = %d; PRAGMA user_version = %d;",
				       schema, APPLICATION, SCHEMA);
		r = !text || sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK
			? db_fail(db, err)
			: 0;
		sqlite3_free(text);
	}
	if (!r)
		r = db_run(db, Q_COMMIT, err);
	if (r)
		db_run(db, Q_ROLLBACK, NULL);
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
		return db_fail(db, err);
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
		r = db_fail(db, err);
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
