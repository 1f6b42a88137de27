/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_JOURNAL_H
#define MIGRATE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * A monitor's own record of who owns its guest: a text file, one line an entry, only ever
 * appended to, the last whole line being the truth.
 *
 *     segue-journal 1
 *     EPOCH WHAT MOVE-ID PEER
 *
 * EPOCH is decimal and never falls, WHAT one of the words below, MOVE-ID 32 hex digits or
 * `-`, PEER the other side's address or `-`. An entry is one write(2) to a descriptor opened with
 * O_APPEND: it survives the death of the monitor at any instant. It need not survive the
 * host's: a guest whose host lost power runs nowhere, whatever the file says.
 */
enum journal_what {
	JOURNAL_NONE,     /* a new file */
	JOURNAL_OWNS,     /* this monitor may run the guest under EPOCH */
	JOURNAL_PROMISED, /* destination: READY is out for EPOCH */
	JOURNAL_REFUSED,  /* destination: EPOCH will never be taken here */
	JOURNAL_CEDED,    /* source: EPOCH is the peer's if it wants it */
	JOURNAL_MOVED,    /* source: the peer has EPOCH */
	JOURNAL_ENDED,    /* the guest was shut down while this monitor owned it */
	JOURNAL_WHATS
};

#define JOURNAL_MOVE_ID 16u
#define JOURNAL_PEER    128u

struct journal_entry {
	uint64_t epoch;
	enum journal_what what;
	uint8_t move_id[JOURNAL_MOVE_ID];
	char peer[JOURNAL_PEER];
};

struct journal {
	int fd; /* -1: closed */
	struct journal_entry last;
};

/*
 * Opens or creates PATH and reads its last entry into journal->last. A file that is not a
 * journal is refused and left as it is. The descriptor is locked (flock): a second monitor
 * for the same guest and state directory gets -EBUSY, after a second in which the first may
 * have been about to end.
 */
int journal_open(struct journal *journal, const char *path, struct error *err);
void journal_close(struct journal *journal);

/* Appends ENTRY and makes it journal->last. On an error nothing was written that counts. */
int journal_append(struct journal *journal, const struct journal_entry *entry,
		   struct error *err);

const char *journal_word(enum journal_what what);

#endif
