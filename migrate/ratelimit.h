/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RATELIMIT_H
#define MIGRATE_RATELIMIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A token bucket in bytes, shared by all sender threads of a move. A taker may go into
 * debt and waits it out, so that a record need not be split to fit the bucket.
 */

/* The pure core: times in ns of any one monotonic clock. RATE 0: no limit. */
struct ratelimit_core {
	uint64_t rate;  /* bytes a second */
	uint64_t burst; /* bytes the bucket holds */
	int64_t tokens; /* negative: debt */
	uint64_t last;  /* when tokens was true */
};

/* BURST 0: what RATE lets through in 10 ms, at least 64 KiB. Starts full. */
void ratelimit_core_init(struct ratelimit_core *core, uint64_t rate, uint64_t burst,
			 uint64_t now);
/* Takes BYTES and returns the ns to wait before sending them. */
uint64_t ratelimit_core_take(struct ratelimit_core *core, uint64_t bytes, uint64_t now);

struct ratelimit {
	pthread_mutex_t lock;
	pthread_cond_t changed;     /* the rate */
	struct ratelimit_core core; /* under the lock */
};

void ratelimit_init(struct ratelimit *limit, uint64_t rate);
void ratelimit_done(struct ratelimit *limit);
/* A new rate, at once; 0 lifts the limit (for the last round). Any thread. */
void ratelimit_set(struct ratelimit *limit, uint64_t rate);
/*
 * Takes BYTES, sleeping as long as it must. Any thread. -ECANCELED within 20 ms after
 * *CANCEL has become true (CANCEL may be NULL); else 0.
 */
int ratelimit_take(struct ratelimit *limit, uint64_t bytes, const atomic_bool *cancel);

#endif
