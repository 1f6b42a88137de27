/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLUSTER_STORE_H
#define CLUSTER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/error.h"

/*
 * What a cluster knows: keys with values, all changes in one order, numbered by revisions; leases,
 * whose end takes keys with it; watches. The meaning is etcd v3's (its API reference: KV, Watch,
 * Lease), so far as it is here; a back end for one machine means the same.
 *
 * Everything happens on the thread of the loop the store was opened with. A call returns 0 at once,
 * and its answer comes by a callback, later, exactly once, also when the store is closed
 * (-ECANCELED); or it returns -ENOMEM, and there is no answer. Answers to calls made one after
 * another may come in any order.
 *
 * Codes an answer may have:
 *   -EAGAIN     the store cannot be reached, nothing was done: try again
 *   -ETIMEDOUT  no answer: it may have been done. Look, or make the same transaction again; one
 *               that compares what it changes is done at most once
 *   -ENOENT     there is no such lease (any more)
 *   -ESTALE     what is asked for is so old that the store has forgotten it: range, and watch anew
 *   -EINVAL     a key, value or transaction out of bounds
 *   -ECANCELED  the store was closed
 */
struct store;

#define STORE_KEY_MAX   512u           /* printable ASCII */
#define STORE_VALUE_MAX (256u << 10)   /* bytes */
#define STORE_TXN_MAX   128u           /* comparisons, and changes */
#define STORE_TTL_MIN   1000u          /* ms */
#define STORE_TTL_MAX   3600000u

struct store_kv {
	char *key;
	uint8_t *value;
	size_t len;
	int64_t created, changed; /* revisions */
	int64_t lease;            /* 0: none */
};

struct store_answer {
	struct error error;   /* code 0: all is well */
	int64_t revision;     /* the store's when it answered */
	bool done;            /* of a transaction: whether its comparisons held */
	bool more;            /* of a range: the limit cut it short */
	struct store_kv *kvs; /* in the keys' order, valid during the callback */
	size_t n;
	int64_t lease;
};

typedef void store_answered(void *context, const struct store_answer *answer);

/*
 * The keys that begin with PREFIX ("": all) and come after AFTER (NULL: from the first), at most
 * LIMIT (0: all). A key that is PREFIX itself is one of them.
 */
int store_range(struct store *store, const char *prefix, const char *after, unsigned limit,
		store_answered *answered, void *context);

/* Holds if the key was last changed at CHANGED; 0: if there is no such key. */
struct store_compare {
	const char *key;
	int64_t changed;
};

/* VALUE NULL: the key is deleted. LEASE: the key ends with it; 0: it stays. */
struct store_change {
	const char *key;
	const void *value;
	size_t len;
	int64_t lease;
};

/*
 * If every comparison holds, makes every change, at one revision; else makes none and answers
 * with done false and what the compared keys are now (those there are). No key may be changed
 * twice. What is handed in is copied.
 */
struct store_txn {
	const struct store_compare *compares;
	size_t n_compares;
	const struct store_change *changes;
	size_t n_changes;
};
int store_txn(struct store *store, const struct store_txn *txn, store_answered *answered,
	      void *context);

/* A lease of TTL_MS, answered with its number. Without store_lease_keep() it ends after that. */
int store_lease_grant(struct store *store, uint32_t ttl_ms, store_answered *answered,
		      void *context);
int store_lease_keep(struct store *store, int64_t lease, store_answered *answered, void *context);
/* Ends it now, and deletes its keys. */
int store_lease_revoke(struct store *store, int64_t lease, store_answered *answered,
		       void *context);

/*
 * Called with all changes of one revision or of several, in order, none left out and none twice;
 * REVISION is the newest seen. A key that was deleted has no value, and when in .changed. With an
 * error the watch is over, but for being unwatched.
 */
typedef void store_watched(void *context, const struct store_kv *changes, size_t n,
			   int64_t revision, const struct error *err);

/* Changes after revision AFTER of keys that begin with PREFIX. NULL: no memory, or a bad prefix. */
struct store_watch;
struct store_watch *store_watch(struct store *store, const char *prefix, int64_t after,
				store_watched *watched, void *context);
/* No callback comes after this has returned. */
void store_unwatch(struct store_watch *watch);

/*
 * All watches have been unwatched. Calls that are open are answered, before this returns or until
 * CLOSED is called; it may be NULL.
 */
void store_close(struct store *store, void (*closed)(void *context), void *context);

/*
 * A store in one file, shared by the processes of one machine. PATH's directory must be there; what
 * is not, is made. A file of another program is refused and left as it is.
 */
int store_sqlite_open(uv_loop_t *loop, const char *path, struct store **ret_store,
		      struct error *err);

#endif
