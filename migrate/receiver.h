/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RECEIVER_H
#define MIGRATE_RECEIVER_H

#include "migrate/session.h"

/*
 * The destination's side of a move: listens, takes a guest in, resumes it. One thread runs
 * it (receiver_run()); data channels have threads of their own.
 */
struct receiver;

struct receiver_options {
	const char *listen; /* ADDRESS:PORT, in figures; port 0: the system chooses */
	void (*trace)(void *context, const char *line);
	void *trace_context;
	/* The guest runs here; what is still to do is to answer questions. Migration thread. */
	void (*running)(void *context);
	void *running_context;
};

/* Listens from here on. The guest and the journal outlive the receiver. */
int receiver_create(const struct receiver_options *options, const struct migrate_guest *guest,
		    struct journal *journal, struct receiver **ret_receiver, struct error *err);
void receiver_destroy(struct receiver *receiver); /* after receiver_run(); NULL is fine */

/* What peers can connect to, with its real port; as long as the receiver. */
const char *receiver_address(const struct receiver *receiver);

/*
 * Waits for a source and runs the move to one of its ends: SW_RUNNING, SW_REFUSED or
 * SW_DROPPED; ERR says why it was not the first. A source that shows a guest which cannot
 * run here is refused, one that sends nonsense before its HELLO was accepted is cut off;
 * either way it goes on listening. After a grant it returns only when the source has said
 * that it knows, or a long time has passed; after a promise broken, likewise.
 */
enum switchover_state receiver_run(struct receiver *receiver, struct error *err);

/* Any thread. */
void receiver_cancel(struct receiver *receiver);
void receiver_look(struct receiver *receiver, struct session_progress *ret);
enum switchover_state receiver_state(const struct receiver *receiver);

#endif
