/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "hello.pb-c.h"
#include "migrate/fault.h"
#include "migrate/sender_internal.h"

#define CACHE_BYTES (64u << 20) /* of pages kept for deltas, at most */

/*
 * Four, whatever the number of processors: on two, where guest and both monitors compete for
 * them, random pages took 0.77 of the time that two channels took, and eight as long as four.
 */
#define CHANNELS 4u

static int check_options(const struct sender_options *options, const struct migrate_guest *guest,
			 const struct journal *journal, struct error *err)
{
	if (options->channels > MIGRATE_CHANNELS)
		return error_set(err, -EINVAL, "%u channels are too many: 1 to %u",
				 options->channels, MIGRATE_CHANNELS);
	if (guest->n_regions > SENDER_REGIONS)
		return error_set(err, -E2BIG, "more than %u memory regions", SENDER_REGIONS);
	if (journal->last.what != JOURNAL_OWNS)
		return error_set(err, -EPERM, "the journal says '%s': this monitor does not own the guest",
				 journal_word(journal->last.what));
	return 0;
}

static int copy_options(struct sender *s, const struct sender_options *options, struct error *err)
{
	s->options = *options;
	if (snprintf(s->to, sizeof(s->to), "%s", options->to) >= (int)sizeof(s->to))
		return error_set(err, -EINVAL, "'%s' is too long an address", options->to);
	memcpy(s->session.peer, s->to, sizeof(s->session.peer));
	if (options->record && snprintf(s->record, sizeof(s->record), "%s", options->record) >=
				       (int)sizeof(s->record))
		return error_set(err, -ENAMETOOLONG, "'%s' is too long a path", options->record);
	s->session.trace = options->trace;
	s->session.trace_context = options->trace_context;
	s->n_channels = options->channels ? options->channels : CHANNELS;
	return 0;
}

static int make_parts(struct sender *s, struct error *err)
{
	int r = sender_regions_init(s, err);

	if (!r && s->options.codec != CODEC_NONE)
		r = pagecache_create(CACHE_BYTES, &s->cache, err);
	if (!r && getrandom(s->session.move_id, sizeof(s->session.move_id), 0) !=
			  (ssize_t)sizeof(s->session.move_id))
		r = error_set(err, -EIO, "no random numbers for the move's id");
	return r;
}

int sender_create(const struct sender_options *options, const struct migrate_guest *guest,
		  struct journal *journal, struct sender **ret_sender, struct error *err)
{
	struct sender *s;
	int r = check_options(options, guest, journal, err);

	if (r)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, -ENOMEM, "no memory for a move");
	s->control.fd = -1;
	for (unsigned i = 0; i < MIGRATE_CHANNELS; i++)
		s->channels[i] = (struct sender_channel){.sender = s, .channel = {.fd = -1}};
	plan_init(&s->plan);
	ratelimit_init(&s->limit, options->limits.bandwidth_cap);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->go, NULL);
	r = session_init(&s->session, guest, journal, SW_CONNECTING);
	s->session.epoch = journal->last.epoch;
	for (unsigned i = 0; i < guest->n_regions; i++)
		s->session.shown.progress.pages_total += guest->regions[i].pages;
	if (!r)
		r = copy_options(s, options, err);
	if (!r)
		r = make_parts(s, err);
	if (r) {
		sender_destroy(s);
		return error_system(err, r, "cannot begin the move");
	}
	*ret_sender = s;
	return 0;
}

void sender_destroy(struct sender *sender)
{
	if (!sender)
		return;
	sender_disconnect(sender);
	sender_regions_done(sender);
	pagecache_destroy(sender->cache);
	ratelimit_done(&sender->limit);
	buffer_done(&sender->body);
	session_done(&sender->session);
	pthread_cond_destroy(&sender->go);
	pthread_mutex_destroy(&sender->lock);
	free(sender);
}

static int begin(struct sender *s, struct error *err)
{
	int r;

	fault_point(switchover_info(SW_CONNECTING)->name);
	r = sender_connect(s, err);
	if (!r && !s->options.dry_run)
		r = sender_channels_start(s, err);
	return r ? r : session_event(&s->session, SW_EV_ACCEPTED, err);
}

static int move(struct sender *s, struct error *err)
{
	int r = begin(s, err);

	if (r)
		return r;
	if (s->options.dry_run)
		return sender_dry_run(s, err);
	r = sender_precopy(s, err);
	return r ? r : sender_switchover(s, err);
}

static void say_abort(struct sender *s, const struct error *why)
{
	Segue__Abort abort = SEGUE__ABORT__INIT;

	if (s->control.fd < 0)
		return;
	abort.reason = why->code ? (char *)(uintptr_t)why->text : "nothing but a dry run";
	s->control.stall_ms = SENDER_ALIVE_MS;
	record_send_message(&s->control, STREAM_ABORT, &abort.base, NULL);
}

/*
 * The guest first: it goes on before anything is tidied. A duty that fails for want of
 * memory or disk space is tried again until it succeeds; the guest must not be left paused.
 */
static void keep(struct sender *s, const struct error *why)
{
	enum switchover_event event = why->code == -ECANCELED ? SW_EV_CANCEL : SW_EV_FAILED;

	if (switchover_info(session_state(&s->session))->end)
		return;
	if (!switchover_find(session_state(&s->session), event))
		return;
	while (session_event(&s->session, event, NULL))
		usleep(1000);
	say_abort(s, why);
}

static void stop_tracking(struct sender *s)
{
	const struct migrate_guest *guest = s->session.guest;

	if (s->throttle)
		guest->throttle(guest->context, 0);
	if (s->tracking)
		guest->dirty_stop(guest->context);
	s->tracking = false;
}

enum switchover_state sender_run(struct sender *sender, struct error *err)
{
	struct error why = {0};

	move(sender, &why);
	keep(sender, &why);
	sender_channels_stop(sender);
	sender_show(sender);
	if (session_state(&sender->session) == SW_KEPT)
		stop_tracking(sender);
	sender_disconnect(sender);
	if (err)
		*err = why;
	return session_state(&sender->session);
}

void sender_cancel(struct sender *sender)
{
	session_cancel(&sender->session);
}

void sender_abandon(struct sender *sender)
{
	atomic_store(&sender->abandoned, true);
	session_cancel(&sender->session);
}

void sender_verdict(struct sender *sender, bool guest_is_there)
{
	session_verdict(&sender->session, guest_is_there ? SW_EV_COMMITTED : SW_EV_NEVER);
}

void sender_look(struct sender *sender, struct session_progress *ret)
{
	session_look(&sender->session, ret);
}

enum switchover_state sender_state(const struct sender *sender)
{
	return session_state(&sender->session);
}

void sender_doubt(const struct sender *sender, char *text, size_t size)
{
	snprintf(text, size,
		 "the destination %s was given the guest and then fell silent. Look there: if `segue "
		 "ls` on it shows the guest running, say `segue recover %s --gone` here; if its "
		 "monitor is dead, or the host is off, say `segue recover %s --here`",
		 sender->to, sender->session.guest->name, sender->session.guest->name);
}
