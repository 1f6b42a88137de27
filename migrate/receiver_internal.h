/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RECEIVER_INTERNAL_H
#define MIGRATE_RECEIVER_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "hello.pb-c.h"
#include "migrate/bitmap.h"
#include "migrate/channel.h"
#include "migrate/codec.h"
#include "migrate/pack.h"
#include "migrate/record.h"
#include "migrate/receiver.h"

#define RECEIVER_REGIONS 8u

#define RECEIVER_HELLO_MS  3000u   /* for a new connection to say what it is */
#define RECEIVER_CONNECT_MS 5000u  /* from WELCOME until all data connections are up */
#define RECEIVER_STALL_MS  10000u  /* silence after which a source is given up */
#define RECEIVER_DATA_MS   UINT_MAX /* a source may have nothing to send; control tells its death */
#define RECEIVER_ALIVE_MS  1000u
#define RECEIVER_ANSWER_MS 3600000u /* how long a question about the end is waited for */
#define RECEIVER_AGAIN_MS  30000u   /* and, once answered, for it to be asked again */

struct receiver;

struct receiver_channel {
	struct receiver *receiver;
	struct channel channel;
	pthread_t thread;
	bool started;
	struct buffer body;        /* the channel's thread's */
	struct unpacker *unpacker; /* the channel's thread's */
	struct pages_table table;  /* the channel's thread's */
};

struct receiver {
	struct session session;
	struct receiver_options options;
	char address[128];
	int listen_fd;

	/* The migration thread's. */
	struct channel control;
	struct buffer body;
	struct buffer state;       /* of the guest's devices, as it came */
	uint64_t heard_at;
	uint64_t welcomed_at;
	uint64_t alive_at;
	uint64_t granted_at;       /* when GRANT came in, ns */
	uint32_t rounds;           /* by FINISH; 0: not come yet */
	unsigned n_data;           /* data connections the source announced */
	unsigned connected;        /* of those */
	uint64_t asked_at;         /* when a QUERY was last answered; 0: never */
	bool done;                 /* DONE came */

	/* Shared by channel threads; each page is one thread's within a round. */
	struct codec_target targets[RECEIVER_REGIONS];
	uint64_t region_pages[RECEIVER_REGIONS];
	struct receiver_channel channels[MIGRATE_CHANNELS];
	pthread_mutex_t send_lock; /* sending on control */
	pthread_mutex_t lock;      /* of what follows */
	pthread_cond_t turn;
	uint32_t round;            /* whose pages may be applied */
	unsigned waiting;          /* channels that have ended it */
	bool stop;
	struct error failure;      /* the first of any channel's */
};

/* receiver_accept.c */
/* Takes a new connection, finds out what it wants and does it. Errors are the peer's. */
void receiver_accept(struct receiver *receiver);
/* Logs why a peer was turned away. */
void receiver_tell(struct receiver *receiver, const struct error *err);

/* receiver_channel.c */
int receiver_channels_start(struct receiver *receiver, struct error *err);
void receiver_channels_stop(struct receiver *receiver);
/* Rounds taken in wholly; *ret_failure is the first error of a channel. */
uint32_t receiver_rounds(struct receiver *receiver, struct error *ret_failure);
int receiver_send(struct receiver *receiver, enum stream_type type,
		  const ProtobufCMessage *message, struct error *err);

/* receiver_control.c */
/*
 * Waits up to TIMEOUT_MS for the listener, the control connection (unless it is closed) or
 * a wish, and deals with what came. 0 to look again; an error ends the move.
 */
int receiver_wait(struct receiver *receiver, unsigned timeout_ms, struct error *err);

/* receiver_switch.c */
int receiver_take(struct receiver *receiver, struct error *err);
void receiver_linger(struct receiver *receiver);

#endif
