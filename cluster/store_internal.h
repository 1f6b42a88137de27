/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLUSTER_STORE_INTERNAL_H
#define CLUSTER_STORE_INTERNAL_H

#include "cluster/store.h"

/* Between store.c, which checks and copies what is asked for, and the back ends. */

enum store_call {
	STORE_RANGE,
	STORE_TXN,
	STORE_LEASE_GRANT,
	STORE_LEASE_KEEP,
	STORE_LEASE_REVOKE,
};

struct store_request {
	enum store_call call;
	char *prefix, *after;
	unsigned limit;
	struct store_txn txn; /* copies */
	uint32_t ttl_ms;
	int64_t lease;
	store_answered *answered;
	void *context;
	struct store_answer answer; /* with an error from the start: to be answered, not done */
};

struct store_watch {
	struct store *store;
	char *prefix;
	int64_t seen; /* the back end's: changes up to here have been told, or are on their way */
	store_watched *watched;
	void *context;
	void *ending;             /* the back end's */
	struct store_watch *next; /* the back end's */
};

/* All on the loop's thread. */
struct store_ops {
	/* 0: takes REQUEST over, store_answer() ends it; or -ENOMEM. */
	int (*submit)(struct store *store, struct store_request *request);
	/* 0, or -ENOMEM. */
	int (*watch)(struct store *store, struct store_watch *watch);
	/* Takes WATCH over; store_watch_free() ends it, once nothing of the back end's knows it. */
	void (*unwatch)(struct store *store, struct store_watch *watch);
	/* Answers what is open, frees the store, and calls CLOSED. */
	void (*close)(struct store *store, void (*closed)(void *context), void *context);
};

struct store {
	const struct store_ops *ops;
	uv_loop_t *loop;
};

/* Calls back, and frees the request with its answer. */
void store_answer(struct store_request *request);
void store_watch_free(struct store_watch *watch);
void store_kvs_free(struct store_kv *kvs, size_t n);

#endif
