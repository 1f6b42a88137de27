/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "cluster/sqlite_db.h"
#include "cluster/store_internal.h"

/*
 * The SQLite back end: a thread that does one job after another, for a commit waits for the disk
 * and for other processes, and the loop shall wait for neither. What it has to say goes back in
 * one queue, so that a watch's last news is out before the watch is taken apart.
 *
 * Nobody tells a process that another has changed the file; it looks, which is reading a counter
 * in shared memory.
 */
#define LOOK_MS     5u     /* for changes, while somebody watches */
#define EXPIRE_MS   250u   /* for leases that are over */
#define COMPACT_MS  60000u
#define KEEP        10000  /* revisions of history */
#define NS_PER_MS   1000000u

enum job_kind {
	JOB_REQUEST,
	JOB_WATCH,
	JOB_UNWATCH,
	JOB_NEWS,
};

/* Something to do, on its way to the thread, or something to say, on its way to the loop. */
struct job {
	enum job_kind kind;
	struct store_request *request;
	struct store_watch *watch;
	struct store_answer news;
	struct job *next;
};

struct queue {
	struct job *first, **last;
};

struct sqlite_store {
	struct store store;
	uv_async_t wake;
	pthread_t thread;
	void (*closed)(void *context);
	void *closed_context;

	/* The thread's. */
	struct db *db;
	struct store_watch *watches;
	bool changed; /* by itself, since it last looked */
	uint64_t look_at, expire_at, compact_at; /* ms */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	struct queue todo, said;
	bool quit;
};

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_put(struct queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct job *queue_take(struct queue *queue)
{
	struct job *job = queue->first;

	if (job) {
		queue->first = job->next;
		if (!queue->first)
			queue->last = &queue->first;
	}
	return job;
}

static struct job *job_new(enum job_kind kind, struct store_request *request,
			   struct store_watch *watch)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->kind = kind;
	job->request = request;
	job->watch = watch;
	return job;
}

static void say(struct sqlite_store *s, struct job *job)
{
	pthread_mutex_lock(&s->lock);
	queue_put(&s->said, job);
	pthread_mutex_unlock(&s->lock);
	uv_async_send(&s->wake);
}

/* ---- the thread ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static void do_request(struct sqlite_store *s, struct store_request *request)
{
	struct store_answer *answer = &request->answer;

	if (answer->error.code)
		return;
	switch (request->call) {
	case STORE_RANGE:
		db_range(s->db, request->prefix, request->after, request->limit, answer);
		return;
	case STORE_TXN:
		db_txn(s->db, &request->txn, answer);
		break;
	case STORE_LEASE_GRANT:
		db_lease_grant(s->db, request->ttl_ms, now_ms(), answer);
		return;
	case STORE_LEASE_KEEP:
		db_lease_keep(s->db, request->lease, now_ms(), answer);
		return;
	case STORE_LEASE_REVOKE:
		db_lease_revoke(s->db, request->lease, answer);
		break;
	}
	s->changed = true;
}

static void watch_remove(struct sqlite_store *s, struct store_watch *watch)
{
	struct store_watch **at = &s->watches;

	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at)
		*at = watch->next;
}

static bool for_now(int code)
{
	return code == -EAGAIN || code == -ENOMEM;
}

/* An error ends the watch, unless it is one of the moment. */
static void watch_look(struct sqlite_store *s, struct store_watch *watch)
{
	struct job *job = job_new(JOB_NEWS, NULL, watch);

	if (!job) {
		s->changed = true;
		return;
	}
	db_history(s->db, watch->prefix, watch->seen, &job->news);
	if (for_now(job->news.error.code) || (!job->news.error.code && !job->news.n)) {
		s->changed |= job->news.error.code != 0;
		db_answer_done(&job->news);
		free(job);
		return;
	}
	if (job->news.error.code)
		watch_remove(s, watch);
	else
		watch->seen = job->news.revision;
	say(s, job);
}

static void look(struct sqlite_store *s)
{
	struct store_watch *watch, *next;
	bool moved = db_moved(s->db);

	if (!moved && !s->changed)
		return;
	s->changed = false;
	for (watch = s->watches; watch; watch = next) {
		next = watch->next;
		watch_look(s, watch);
	}
}

static void do_job(struct sqlite_store *s, struct job *job)
{
	switch (job->kind) {
	case JOB_REQUEST:
		do_request(s, job->request);
		break;
	case JOB_WATCH:
		job->watch->next = s->watches;
		s->watches = job->watch;
		s->changed = true;
		free(job);
		return;
	default:
		watch_remove(s, job->watch);
		break;
	}
	say(s, job);
}

static bool is_due(uint64_t *at, uint64_t now, unsigned every_ms)
{
	if (now < *at)
		return false;
	*at = now + every_ms;
	return true;
}

static void tend(struct sqlite_store *s)
{
	uint64_t now = now_ms();
	struct store_answer done = {0};

	if (is_due(&s->expire_at, now, EXPIRE_MS)) {
		db_lease_expire(s->db, now, &done);
		s->changed |= done.revision != 0;
		db_answer_done(&done);
	}
	if (is_due(&s->compact_at, now, COMPACT_MS))
		db_compact(s->db, KEEP, &(struct store_answer){0});
	if (s->watches && (s->changed || is_due(&s->look_at, now, LOOK_MS)))
		look(s);
}

/* The next job; NULL when it is time to look around. */
static struct job *await(struct sqlite_store *s, bool *ret_quit)
{
	unsigned wait_ms = s->watches ? LOOK_MS : EXPIRE_MS;
	struct timespec until;
	struct job *job;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += wait_ms * (long)NS_PER_MS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&s->lock);
	if (!s->todo.first && !s->quit)
		pthread_cond_timedwait(&s->more, &s->lock, &until);
	job = queue_take(&s->todo);
	*ret_quit = s->quit;
	pthread_mutex_unlock(&s->lock);
	return job;
}

static void cancel(struct job *job)
{
	if (job->kind == JOB_REQUEST)
		error_set(&job->request->answer.error, -ECANCELED, "the store is being closed");
}

static void *store_thread(void *context)
{
	struct sqlite_store *s = context;
	bool quit = false;
	struct job *job;

	pthread_setname_np(pthread_self(), "store");
	while ((job = await(s, &quit)) || !quit) {
		if (quit && job->kind == JOB_REQUEST) {
			cancel(job);
			say(s, job);
		} else if (job) {
			do_job(s, job);
		}
		if (!quit)
			tend(s);
	}
	return NULL;
}

/* ---- the loop ---- */

static void tell_news(struct job *job)
{
	const struct store_answer *news = &job->news;

	if (job->watch->watched)
		job->watch->watched(job->watch->context, news->kvs, news->n, news->revision,
				    &news->error);
}

static void tell(struct job *job)
{
	switch (job->kind) {
	case JOB_REQUEST:
		store_answer(job->request);
		break;
	case JOB_NEWS:
		tell_news(job);
		db_answer_done(&job->news);
		break;
	default:
		store_watch_free(job->watch);
		break;
	}
	free(job);
}

static void tell_all(struct sqlite_store *s)
{
	struct job *job;

	for (;;) {
		pthread_mutex_lock(&s->lock);
		job = queue_take(&s->said);
		pthread_mutex_unlock(&s->lock);
		if (!job)
			return;
		tell(job);
	}
}

static void on_wake(uv_async_t *wake)
{
	tell_all(wake->data);
}

static void do_later(struct store *store, struct job *job)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	pthread_mutex_lock(&s->lock);
	queue_put(&s->todo, job);
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
}

static int sqlite_submit(struct store *store, struct store_request *request)
{
	struct job *job = job_new(JOB_REQUEST, request, NULL);

	if (!job)
		return -ENOMEM;
	do_later(store, job);
	return 0;
}

/* The job of its end is made with it: an end cannot fail for want of memory. */
static int sqlite_watch(struct store *store, struct store_watch *watch)
{
	struct job *job = job_new(JOB_WATCH, NULL, watch);

	watch->ending = job_new(JOB_UNWATCH, NULL, watch);
	if (!job || !watch->ending) {
		free(job);
		free(watch->ending);
		return -ENOMEM;
	}
	do_later(store, job);
	return 0;
}

static void sqlite_unwatch(struct store *store, struct store_watch *watch)
{
	do_later(store, watch->ending);
}

static void store_free(struct sqlite_store *s)
{
	db_close(s->db);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void on_closed(uv_handle_t *handle)
{
	struct sqlite_store *s = handle->data;
	void (*closed)(void *context) = s->closed;
	void *context = s->closed_context;

	store_free(s);
	if (closed)
		closed(context);
}

/* A job that is being done is waited for: five seconds at most, if another process is in the way. */
static void sqlite_close(struct store *store, void (*closed)(void *context), void *context)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	s->closed = closed;
	s->closed_context = context;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	tell_all(s);
	uv_close((uv_handle_t *)&s->wake, on_closed);
}

static const struct store_ops sqlite_ops = {
	.submit = sqlite_submit,
	.watch = sqlite_watch,
	.unwatch = sqlite_unwatch,
	.close = sqlite_close,
};

static int start(struct sqlite_store *s, struct error *err)
{
	pthread_condattr_t attributes;
	int r;

	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&s->more, &attributes);
	pthread_condattr_destroy(&attributes);
	queue_init(&s->todo);
	queue_init(&s->said);
	r = uv_async_init(s->store.loop, &s->wake, on_wake);
	if (r)
		return error_set(err, r, "the store: %s", uv_strerror(r));
	s->wake.data = s;
	r = -pthread_create(&s->thread, NULL, store_thread, s);
	return r ? error_system(err, r, "cannot start the store's thread") : 0;
}

int store_sqlite_open(uv_loop_t *loop, const char *path, struct store **ret_store,
		      struct error *err)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "no memory for the store");
	s->store = (struct store){.ops = &sqlite_ops, .loop = loop};
	r = db_open(path, &s->db, err);
	if (r) {
		free(s);
		return r;
	}
	r = start(s, err);
	if (r && s->wake.data)
		uv_close((uv_handle_t *)&s->wake, on_closed);
	else if (r)
		store_free(s);
	if (!r)
		*ret_store = &s->store;
	return r;
}
