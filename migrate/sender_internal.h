/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_SENDER_INTERNAL_H
#define MIGRATE_SENDER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "migrate/bitmap.h"
#include "migrate/channel.h"
#include "migrate/codec.h"
#include "migrate/pagecache.h"
#include "migrate/ratelimit.h"
#include "migrate/record.h"
#include "migrate/sender.h"

#define SENDER_REGIONS 8u

/* Times, ms. A stalled link costs a running guest nothing, a paused one everything. */
#define SENDER_CONNECT_MS 10000u
#define SENDER_STALL_MS   10000u /* while the guest runs */
#define SENDER_SWITCH_MS  2000u  /* while it stands still: silence after which it goes on here */
#define SENDER_ALIVE_MS   1000u
#define SENDER_ASK_MS     15000u /* asking in the foreground before it is called a doubt */
#define SENDER_ASK_GAP_MS 500u

struct sender;

struct sender_channel {
	/* Set while connecting. */
	struct sender *sender;
	struct channel channel;
	pthread_t thread;
	bool started;
	/* The channel's thread's during a round, the migration thread's between rounds. */
	struct codec codec;
	struct pages_writer writer;
	uint8_t *area;
	/* Written by the channel's thread, read by any. */
	_Atomic uint64_t pages_done;
	_Atomic uint64_t sending_ns; /* spent handing bytes to the link */
	_Atomic uint64_t ended_at;   /* when the last of a round was handed to it, ns */
};

/* A region's bitmaps; a bit a page. */
struct sender_region {
	struct round_work work;
	uint64_t *round;   /* what the present round sends */
	uint64_t *next;    /* what was harvested for the one after */
	uint64_t *present; /* what the destination holds as other than zero */
	size_t words;
};

struct sender {
	struct session session;
	struct sender_options options;
	char to[128];
	char record[512];

	/* The migration thread's. */
	struct channel control;
	struct buffer body;
	uint64_t features;       /* of STREAM_FEATURE_*, what the destination takes */
	struct plan plan;
	struct plan_costs costs;
	uint64_t bandwidth;      /* bytes a second, by acknowledged rounds; 0: not yet known */
	uint64_t heard_at;       /* when anything last came in on control, ns */
	uint64_t alive_at;       /* when ALIVE last went out, ns */
	uint64_t harvested_at;
	uint64_t dirty;          /* pages the last harvest found */
	uint64_t bytes_before;   /* on the wire, when the round began */
	unsigned throttle;
	uint32_t acked;          /* last round acknowledged */
	uint32_t probing;        /* PROBEs sent */
	uint32_t probed;         /* and answered */
	uint32_t round;          /* the present one; changes only between rounds */
	bool tracking;
	uint64_t ready_epoch;
	uint64_t granted_at;     /* session_now() */
	uint64_t resume_ns;      /* what the destination took from GRANT to running */
	enum stream_type awaited;

	/* Shared by channel threads; regions' bitmaps change only between rounds. */
	struct sender_region regions[SENDER_REGIONS];
	struct sender_channel channels[MIGRATE_CHANNELS];
	unsigned n_channels;
	struct pagecache *cache;
	struct ratelimit limit;
	atomic_bool stop;
	atomic_bool abandoned;   /* any thread: the monitor ends, doubt or not */
	pthread_mutex_t lock;    /* of what follows */
	pthread_cond_t go;
	uint32_t round_open;     /* channel threads work on this round */
	unsigned busy;           /* channels that have not ended it yet */
	struct error failure;    /* the first of any channel's */
};

/* sender_channel.c */
int sender_channels_start(struct sender *sender, struct error *err);
void sender_channels_stop(struct sender *sender);
/* Sends the present round on every channel; returns when it is begun, not when it is done. */
void sender_round_open(struct sender *sender, uint64_t pages);
/* True once every channel has sent its ROUND_END, or one has failed. */
bool sender_round_done(struct sender *sender, int *ret_failure, struct error *err);
uint64_t sender_bytes(struct sender *sender);

/* sender_control.c: the control connection and the waiting on it */
int sender_connect(struct sender *sender, struct error *err);
void sender_disconnect(struct sender *sender);
/*
 * Waits up to TIMEOUT_MS for something to happen and deals with what came: acknowledgements
 * are noted, ALIVE is answered to. 0 when there is reason to look again, -ECANCELED,
 * -ETIMEDOUT after SILENCE_MS without a word from the peer, or what went wrong.
 */
int sender_wait(struct sender *sender, unsigned timeout_ms, unsigned silence_ms,
		struct error *err);

/* sender_rounds.c: bitmaps and pre-copy */
int sender_regions_init(struct sender *sender, struct error *err);
void sender_regions_done(struct sender *sender);
int sender_harvest(struct sender *sender, uint64_t *ret_pages, struct error *err);
/* What was harvested, PAGES altogether, becomes a round and begins to go out. */
void sender_round_begin(struct sender *sender, uint64_t pages);
void sender_show(struct sender *sender);
/* Rounds until the planner says switch (0), gives up or something fails. */
int sender_precopy(struct sender *sender, struct error *err);
int sender_dry_run(struct sender *sender, struct error *err);

/*
 * sender_probe.c: bytes a second that the link carries on one connection. Takes 0.3 s, and up to
 * 2.5 s on a link that is long or slow. Only to a destination that takes it, and before any
 * other record.
 */
int sender_probe(struct sender *sender, uint64_t *ret_bandwidth, struct error *err);

/* sender_switch.c */
int sender_switchover(struct sender *sender, struct error *err);
/* After GRANT and a lost connection: asks until there is an answer, a verdict, or for ever. */
int sender_resolve(struct sender *sender, struct error *err);

#endif
