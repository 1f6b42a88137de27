/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_SENDER_H
#define MIGRATE_SENDER_H

#include "migrate/codec.h"
#include "migrate/plan.h"
#include "migrate/session.h"

/*
 * The source's side of a move. One thread runs it (sender_run()), data channels have threads
 * of their own; what other threads may call says so.
 */
struct sender;

struct sender_options {
	const char *to;       /* ADDRESS:PORT, in figures */
	unsigned channels;    /* 1 to 16; 0: chosen by the number of processors */
	struct plan_limits limits;
	enum codec_mode codec;
	bool dry_run;         /* watch and predict, send nothing */
	const char *record;   /* directory that gets a copy of every byte sent; NULL: none */
	void (*trace)(void *context, const char *line);
	void *trace_context;
};

/* OPTIONS are copied. The guest and the journal outlive the sender. */
int sender_create(const struct sender_options *options, const struct migrate_guest *guest,
		  struct journal *journal, struct sender **ret_sender, struct error *err);
void sender_destroy(struct sender *sender); /* after sender_run(); NULL is fine */

/*
 * Runs the move to one of its ends, SW_MOVED or SW_KEPT, and returns it; ERR says why the
 * guest was kept (code -ECANCELED: the operator wanted it; 0: a dry run). In between it may
 * stay in SW_DOUBT until sender_verdict() or until the destination answers.
 */
enum switchover_state sender_run(struct sender *sender, struct error *err);

/* Any thread. */
void sender_cancel(struct sender *sender);
/* The monitor is ending: cancel if that can still be, and wait in no doubt any longer. */
void sender_abandon(struct sender *sender);
void sender_verdict(struct sender *sender, bool guest_is_there);
void sender_look(struct sender *sender, struct session_progress *ret);
enum switchover_state sender_state(const struct sender *sender);
/* In SW_DOUBT: what the operator must check, for a person. */
void sender_doubt(const struct sender *sender, char *text, size_t size);

#endif
