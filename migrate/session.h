/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_SESSION_H
#define MIGRATE_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "migrate/journal.h"
#include "migrate/migrate.h"
#include "migrate/switchover.h"
#include "proto/error.h"

/* What a person watching a move may know; a snapshot. */
struct session_progress {
	Segue__Progress progress; /* its pointers lead into this struct: see session_look() */
	Segue__Blackout blackout;
	Segue__Prediction prediction;
	char words[240];
};

/*
 * One side of one move: where it is in the switchover table, whose journal it writes, and
 * what it tells those who watch. Sender and receiver each embed one.
 */
struct session {
	/* Set once, before the migration's thread starts. */
	const struct migrate_guest *guest;
	struct journal *journal;
	/* One line for the log, each time the state changes. Migration thread. NULL: none. */
	void (*trace)(void *context, const char *line);
	void *trace_context;

	/* The migration thread's. */
	uint64_t epoch;       /* source: under which the guest would run there; destination: here */
	uint8_t move_id[JOURNAL_MOVE_ID];
	char peer[JOURNAL_PEER];
	uint64_t started;     /* CLOCK_MONOTONIC, ns */
	uint64_t paused_at;   /* source: since when the guest stands still */
	uint64_t elapsed_ns;  /* destination: how long it has stood still when it is resumed */

	/* Any thread. */
	int wake_fd;          /* eventfd: a wish or a verdict has come */
	atomic_bool cancelled;
	_Atomic int verdict;  /* the operator's word on a doubt, an enum switchover_event; or -1 */
	_Atomic int state;    /* enum switchover_state; written by the migration thread */
	pthread_mutex_t lock; /* of what follows */
	struct session_progress shown;
};

/* 0 or a negative errno. Zeroes SESSION first. */
int session_init(struct session *session, const struct migrate_guest *guest,
		 struct journal *journal, enum switchover_state state);
void session_done(struct session *session);

enum switchover_state session_state(const struct session *session);

/*
 * EVENT has happened: does the duty its row asks for, then enters the new state. When the
 * duty fails the state stays, and the caller goes on with SW_EV_FAILED if it was another
 * event. An event the table does not have in this state is -EPROTO. Migration thread.
 */
int session_event(struct session *session, enum switchover_event event, struct error *err);

/* Any thread. */
void session_wake(struct session *session);
void session_cancel(struct session *session);
void session_verdict(struct session *session, enum switchover_event verdict);

/* A copy of what is known; its pointers lead into *RET. Any thread. */
void session_look(struct session *session, struct session_progress *ret);
/* Between these two session->shown may be written. Migration thread. */
struct session_progress *session_show(struct session *session);
void session_shown(struct session *session);

uint64_t session_now(void); /* CLOCK_MONOTONIC, ns */

#endif
