/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "vmm/engine/pv/pv.h"

/* Guest writes that signal an eventfd: the doorbells of queues. */
static struct pv_notify *find(struct pv_engine *e, uint64_t gpa, unsigned len, int64_t value,
			      int fd)
{
	for (unsigned i = 0; i < e->n_notifies; i++) {
		struct pv_notify *n = &e->notifies[i];

		if (n->gpa == gpa && n->len == len && n->value == value && n->fd == fd)
			return n;
	}
	return NULL;
}

int pv_notify_add(struct engine *engine, uint64_t gpa, unsigned len, int64_t value, int eventfd)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r = 0;

	pthread_mutex_lock(&e->notify_lock);
	if (find(e, gpa, len, value, eventfd))
		r = -EEXIST;
	else if (e->n_notifies == PV_NOTIFIES)
		r = -ENOSPC;
	else
		e->notifies[e->n_notifies++] = (struct pv_notify){
			.gpa = gpa, .len = len, .value = value, .fd = eventfd};
	pthread_mutex_unlock(&e->notify_lock);
	return r;
}

int pv_notify_remove(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		     int eventfd)
{
	struct pv_engine *e = pv_engine_of(engine);
	struct pv_notify *n;

	pthread_mutex_lock(&e->notify_lock);
	n = find(e, gpa, len, value, eventfd);
	if (n)
		*n = e->notifies[--e->n_notifies];
	pthread_mutex_unlock(&e->notify_lock);
	return n ? 0 : -ENOENT;
}

static bool matches(const struct pv_notify *n, uint64_t gpa, unsigned len, uint64_t value)
{
	return n->gpa == gpa && (!n->len || n->len == len) &&
	       (n->value == NOTIFY_ANY || (uint64_t)n->value == value);
}

bool pv_notify_write(struct pv_engine *e, uint64_t gpa, unsigned len, uint64_t value)
{
	const uint64_t one = 1;
	bool found = false;

	pthread_mutex_lock(&e->notify_lock);
	for (unsigned i = 0; i < e->n_notifies && !found; i++) {
		if (!matches(&e->notifies[i], gpa, len, value))
			continue;
		found = true;
		/* A counter that is full has its reader's attention already. */
		if (write(e->notifies[i].fd, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&e->notify_lock);
	return found;
}
