/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "migrate/fault.h"

uint64_t session_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int session_init(struct session *session, const struct migrate_guest *guest,
		 struct journal *journal, enum switchover_state state)
{
	*session = (struct session){
		.guest = guest,
		.journal = journal,
		.started = session_now(),
		.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.verdict = -1,
		.state = (int)state,
	};
	if (session->wake_fd < 0)
		return -errno;
	pthread_mutex_init(&session->lock, NULL);
	segue__progress__init(&session->shown.progress);
	segue__blackout__init(&session->shown.blackout);
	segue__prediction__init(&session->shown.prediction);
	return 0;
}

void session_done(struct session *session)
{
	if (session->wake_fd < 0)
		return;
	close(session->wake_fd);
	session->wake_fd = -1;
	pthread_mutex_destroy(&session->lock);
}

enum switchover_state session_state(const struct session *session)
{
	return (enum switchover_state)atomic_load(&session->state);
}

/* ---- duties ---- */

static int journal_note(struct session *session, enum journal_what what, uint64_t epoch,
			struct error *err)
{
	struct journal_entry entry = {.epoch = epoch, .what = what};

	if (fault_alloc())
		return error_set(err, -ENOMEM, "no memory to write the journal");
	memcpy(entry.move_id, session->move_id, sizeof(entry.move_id));
	memcpy(entry.peer, session->peer, sizeof(entry.peer));
	return journal_append(session->journal, &entry, err);
}

static int resume_here(struct session *session, struct error *err)
{
	const struct migrate_guest *guest = session->guest;

	return guest->resume(guest->context, session_now() - session->paused_at, err);
}

static int back_here(struct session *session, struct error *err)
{
	int r = journal_note(session, JOURNAL_OWNS, session->epoch + 1, err);

	return r ? r : resume_here(session, err);
}

static int duty_do(struct session *session, enum switchover_duty duty, struct error *err)
{
	switch (duty) {
	case SW_NOTHING:
		return 0;
	case SW_RESUME_HERE:
		return resume_here(session, err);
	case SW_JOURNAL_CEDE:
		return journal_note(session, JOURNAL_CEDED, session->epoch, err);
	case SW_JOURNAL_TAKE:
		return journal_note(session, JOURNAL_OWNS, session->epoch, err);
	case SW_JOURNAL_NEVER:
		return journal_note(session, JOURNAL_REFUSED, session->epoch, err);
	case SW_JOURNAL_BACK:
		return back_here(session, err);
	case SW_JOURNAL_MOVED:
		/* The guest is the other's whether or not this line can be written. */
		journal_note(session, JOURNAL_MOVED, session->epoch, NULL);
		return 0;
	}
	return -EINVAL;
}

/* ---- the table, driven ---- */

static void session_trace(struct session *session, const struct switchover_transition *row)
{
	char line[160];
	uint64_t since = session_now() - session->started;

	if (!session->trace)
		return;
	snprintf(line, sizeof(line), "%" PRIu64 ".%06" PRIu64 " %s: %s -> %s",
		 since / 1000000000u, since / 1000u % 1000000u, switchover_event_name(row->event),
		 switchover_info(row->from)->name, switchover_info(row->to)->name);
	session->trace(session->trace_context, line);
}

int session_event(struct session *session, enum switchover_event event, struct error *err)
{
	enum switchover_state state = session_state(session);
	const struct switchover_transition *row = switchover_find(state, event);
	int r;

	if (!row)
		return error_set(err, -EPROTO, "%s cannot come while %s",
				 switchover_event_name(event), switchover_info(state)->name);
	r = duty_do(session, row->duty, err);
	if (r)
		return r;
	atomic_store(&session->state, (int)row->to);
	session_trace(session, row);
	fault_point(switchover_info(row->to)->name);
	if (session->guest->progress)
		session->guest->progress(session->guest->context);
	return 0;
}

/* ---- from other threads ---- */

void session_wake(struct session *session)
{
	uint64_t one = 1;
	ssize_t put = write(session->wake_fd, &one, sizeof(one));

	(void)put; /* a counter that is full wakes as well */
}

void session_cancel(struct session *session)
{
	atomic_store(&session->cancelled, true);
	session_wake(session);
}

void session_verdict(struct session *session, enum switchover_event verdict)
{
	atomic_store(&session->verdict, (int)verdict);
	session_wake(session);
}

void session_look(struct session *session, struct session_progress *ret)
{
	pthread_mutex_lock(&session->lock);
	*ret = session->shown;
	pthread_mutex_unlock(&session->lock);
	ret->progress.state = (char *)switchover_info(session_state(session))->name;
	ret->progress.elapsed_us = ret->progress.elapsed_us
					   ? ret->progress.elapsed_us
					   : (session_now() - session->started) / 1000u;
	ret->prediction.words = ret->words;
	if (ret->prediction.bandwidth)
		ret->progress.prediction = &ret->prediction;
	if (ret->blackout.total)
		ret->progress.blackout = &ret->blackout;
}

struct session_progress *session_show(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	return &session->shown;
}

void session_shown(struct session *session)
{
	pthread_mutex_unlock(&session->lock);
}
