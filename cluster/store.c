/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/store_internal.h"

/* ---- what may be asked for ---- */

static bool key_good(const char *key, size_t least)
{
	size_t len = key ? strlen(key) : 0;

	if (!key || len < least || len > STORE_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (key[i] < 0x21 || key[i] > 0x7e)
			return false;
	}
	return true;
}

static int check_key(const char *key, size_t least, struct error *err)
{
	if (key_good(key, least))
		return 0;
	return error_set(err, -EINVAL, "a key is %zu to %u printable characters", least,
			 STORE_KEY_MAX);
}

static bool key_twice(const struct store_txn *txn, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (!strcmp(txn->changes[i].key, txn->changes[index].key))
			return true;
	}
	return false;
}

static int check_txn(const struct store_txn *txn, struct error *err)
{
	int r = 0;

	if (txn->n_compares > STORE_TXN_MAX || txn->n_changes > STORE_TXN_MAX)
		return error_set(err, -EINVAL, "more than %u comparisons or changes at once",
				 STORE_TXN_MAX);
	for (size_t i = 0; !r && i < txn->n_compares; i++)
		r = check_key(txn->compares[i].key, 1, err);
	for (size_t i = 0; !r && i < txn->n_changes; i++) {
		r = check_key(txn->changes[i].key, 1, err);
		if (!r && key_twice(txn, i))
			r = error_set(err, -EINVAL, "%s is changed twice", txn->changes[i].key);
		if (!r && txn->changes[i].len > STORE_VALUE_MAX)
			r = error_set(err, -EINVAL, "%s: a value of %zu bytes, %u may be",
				      txn->changes[i].key, txn->changes[i].len, STORE_VALUE_MAX);
	}
	return r;
}

/* ---- copies ---- */

static void txn_free(const struct store_txn *txn)
{
	for (size_t i = 0; txn->compares && i < txn->n_compares; i++)
		free((char *)(uintptr_t)txn->compares[i].key);
	for (size_t i = 0; txn->changes && i < txn->n_changes; i++) {
		free((char *)(uintptr_t)txn->changes[i].key);
		free((void *)(uintptr_t)txn->changes[i].value);
	}
	free((void *)(uintptr_t)txn->compares);
	free((void *)(uintptr_t)txn->changes);
}

static bool copy_change(struct store_change *to, const struct store_change *from)
{
	void *value = from->value ? malloc(from->len + 1) : NULL;

	*to = *from;
	to->key = strdup(from->key);
	to->value = value;
	if (value && from->len)
		memcpy(value, from->value, from->len);
	return to->key && (value || !from->value);
}

/* What has been copied when memory ends is in *TO, for txn_free(). */
static bool txn_copy(struct store_txn *to, const struct store_txn *from)
{
	struct store_compare *compares = calloc(from->n_compares + 1, sizeof(*compares));
	struct store_change *changes = calloc(from->n_changes + 1, sizeof(*changes));
	bool good = compares && changes;

	*to = (struct store_txn){compares, from->n_compares, changes, from->n_changes};
	for (size_t i = 0; good && i < from->n_compares; i++) {
		compares[i] = from->compares[i];
		compares[i].key = strdup(from->compares[i].key);
		good = compares[i].key;
	}
	for (size_t i = 0; good && i < from->n_changes; i++)
		good = copy_change(&changes[i], &from->changes[i]);
	return good;
}

static void request_free(struct store_request *request)
{
	free(request->prefix);
	free(request->after);
	txn_free(&request->txn);
	store_kvs_free(request->answer.kvs, request->answer.n);
	free(request);
}

static struct store_request *request_new(enum store_call call, store_answered *answered,
					 void *context)
{
	struct store_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->call = call;
	request->answered = answered;
	request->context = context;
	return request;
}

/* ---- calls ---- */

static int no_memory(struct store_request *request)
{
	request_free(request);
	return -ENOMEM;
}

static int submit(struct store *store, struct store_request *request)
{
	return store->ops->submit(store, request) ? no_memory(request) : 0;
}

int store_range(struct store *store, const char *prefix, const char *after, unsigned limit,
		store_answered *answered, void *context)
{
	struct store_request *request = request_new(STORE_RANGE, answered, context);

	if (!request)
		return -ENOMEM;
	if (!check_key(prefix, 0, &request->answer.error) && after)
		check_key(after, 1, &request->answer.error);
	if (request->answer.error.code)
		return submit(store, request);
	request->prefix = strdup(prefix);
	request->after = after ? strdup(after) : NULL;
	request->limit = limit;
	if (!request->prefix || (after && !request->after))
		return no_memory(request);
	return submit(store, request);
}

int store_txn(struct store *store, const struct store_txn *txn, store_answered *answered,
	      void *context)
{
	struct store_request *request = request_new(STORE_TXN, answered, context);

	if (!request)
		return -ENOMEM;
	if (!check_txn(txn, &request->answer.error) && !txn_copy(&request->txn, txn))
		return no_memory(request);
	return submit(store, request);
}

int store_lease_grant(struct store *store, uint32_t ttl_ms, store_answered *answered,
		      void *context)
{
	struct store_request *request = request_new(STORE_LEASE_GRANT, answered, context);

	if (!request)
		return -ENOMEM;
	request->ttl_ms = ttl_ms;
	if (ttl_ms < STORE_TTL_MIN || ttl_ms > STORE_TTL_MAX)
		error_set(&request->answer.error, -EINVAL, "a lease lasts %u to %u ms",
			  STORE_TTL_MIN, STORE_TTL_MAX);
	return submit(store, request);
}

static int of_lease(struct store *store, enum store_call call, int64_t lease,
		    store_answered *answered, void *context)
{
	struct store_request *request = request_new(call, answered, context);

	if (!request)
		return -ENOMEM;
	request->lease = lease;
	return submit(store, request);
}

int store_lease_keep(struct store *store, int64_t lease, store_answered *answered, void *context)
{
	return of_lease(store, STORE_LEASE_KEEP, lease, answered, context);
}

int store_lease_revoke(struct store *store, int64_t lease, store_answered *answered,
		       void *context)
{
	return of_lease(store, STORE_LEASE_REVOKE, lease, answered, context);
}

struct store_watch *store_watch(struct store *store, const char *prefix, int64_t after,
				store_watched *watched, void *context)
{
	struct store_watch *watch = key_good(prefix, 0) ? calloc(1, sizeof(*watch)) : NULL;

	if (!watch)
		return NULL;
	watch->store = store;
	watch->prefix = strdup(prefix);
	watch->seen = after;
	watch->watched = watched;
	watch->context = context;
	if (watch->prefix && !store->ops->watch(store, watch))
		return watch;
	store_watch_free(watch);
	return NULL;
}

void store_unwatch(struct store_watch *watch)
{
	if (!watch)
		return;
	watch->watched = NULL;
	watch->store->ops->unwatch(watch->store, watch);
}

void store_close(struct store *store, void (*closed)(void *context), void *context)
{
	if (store)
		store->ops->close(store, closed, context);
	else if (closed)
		closed(context);
}

/* ---- for back ends ---- */

void store_answer(struct store_request *request)
{
	if (request->answered)
		request->answered(request->context, &request->answer);
	request_free(request);
}

void store_watch_free(struct store_watch *watch)
{
	free(watch->prefix);
	free(watch);
}

void store_kvs_free(struct store_kv *kvs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(kvs[i].key);
		free(kvs[i].value);
	}
	free(kvs);
}
