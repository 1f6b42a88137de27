/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sender_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hello.pb-c.h"

#define ANNOUNCED_MS 2 /* from RESUMED until switches have learned where the guest is */

/*
 * From the pause on. What is in here is in the blackout: pause, last pages, state, commit.
 */

static int pause_guest(struct sender *s, struct error *err)
{
	const struct migrate_guest *guest = s->session.guest;
	uint64_t asked = session_now();
	int r = guest->pause(guest->context, &s->session.paused_at, err);
	struct session_progress *shown;

	if (r)
		return r;
	shown = session_show(&s->session);
	shown->blackout.pause = (session_now() - asked) / 1000;
	session_shown(&s->session);
	return session_event(&s->session, SW_EV_PAUSE, err);
}

/* From here on the guest pays for every wait for the link. */
static void be_impatient(struct sender *s)
{
	s->control.stall_ms = SENDER_SWITCH_MS;
	for (unsigned i = 0; i < s->n_channels; i++)
		s->channels[i].channel.stall_ms = SENDER_SWITCH_MS;
}

static int send_state(struct sender *s, struct error *err)
{
	const struct migrate_guest *guest = s->session.guest;
	uint64_t begun = session_now();
	int r = guest->save(guest->context, &s->body, err);
	struct session_progress *shown;

	if (!r)
		r = record_send(&s->control, STREAM_STATE, 0, s->body.data, s->body.len, err);
	shown = session_show(&s->session);
	shown->blackout.state = (session_now() - begun) / 1000;
	session_shown(&s->session);
	return r;
}

static int send_finish(struct sender *s, struct error *err)
{
	Segue__Finish finish = SEGUE__FINISH__INIT;

	finish.rounds = s->round;
	finish.paused_ns = session_now() - s->session.paused_at;
	return record_send_message(&s->control, STREAM_FINISH, &finish.base, err);
}

/* Waits until READY or RESUMED has come, before it with an eye on the data channels. */
static int await(struct sender *s, enum stream_type type, struct error *err)
{
	int r = 0, failure = 0;

	s->awaited = type;
	while (!r && !failure) {
		if (type == STREAM_READY ? s->ready_epoch != 0 : s->awaited != type)
			return 0;
		r = sender_wait(s, 100, SENDER_SWITCH_MS, err);
		if (!r && type == STREAM_READY)
			sender_round_done(s, &failure, err);
	}
	return r ? r : failure;
}

/* The state goes out on control while the last pages go out on the data channels. */
static int send_last(struct sender *s, struct error *err)
{
	uint64_t pages, begun = session_now();
	struct session_progress *shown;
	int r = sender_harvest(s, &pages, err);

	if (r)
		return r;
	s->body.len = 0;
	ratelimit_set(&s->limit, 0);
	be_impatient(s);
	for (unsigned i = 0; i < s->n_channels; i++)
		s->channels[i].codec.last_round = true;
	s->dirty = pages;
	sender_round_begin(s, pages);
	r = send_state(s, err);
	if (!r)
		r = send_finish(s, err);
	if (!r)
		r = session_event(&s->session, SW_EV_SENT, err);
	if (!r)
		r = await(s, STREAM_READY, err);
	shown = session_show(&s->session);
	shown->blackout.last_pages = (session_now() - begun) / 1000;
	session_shown(&s->session);
	return r;
}

static int send_grant(struct sender *s, struct error *err)
{
	Segue__Grant grant = SEGUE__GRANT__INIT;

	grant.epoch = s->session.epoch;
	grant.paused_ns = session_now() - s->session.paused_at;
	return record_send_message(&s->control, STREAM_GRANT, &grant.base, err);
}

/* As far as this side knows: where it had to ask, the guest ran before it was told. */
static void show_blackout(struct sender *s)
{
	uint64_t now = session_now();
	struct session_progress *shown = session_show(&s->session);

	shown->blackout.commit = (now - s->granted_at) / 1000;
	shown->blackout.resume = s->resume_ns / 1000;
	shown->blackout.total = (now - s->session.paused_at) / 1000;
	shown->progress.elapsed_us = (now - s->session.started) / 1000;
	session_shown(&s->session);
}

/*
 * A destination whose connection has ended behind its READY is given nothing: there would be
 * nobody left to ask. What cannot be seen yet is still found out by asking.
 */
static int still_there(struct sender *s, struct error *err)
{
	struct pollfd control = {.fd = s->control.fd, .events = POLLRDHUP};

	if (poll(&control, 1, 0) > 0 && (control.revents & (POLLRDHUP | POLLHUP | POLLERR)))
		return error_set(err, -ECONNRESET, "%s was ready, and is gone", s->to);
	return 0;
}

/*
 * Requests that came while the guest stood still would be answered only after their clients'
 * patience: 200 ms, with TCP. Once the destination has told the network where the guest is, no
 * more come here; those that did go after it.
 */
static void send_done(struct sender *s)
{
	const struct migrate_guest *guest = s->session.guest;

	s->body.len = 0;
	if (guest->late) {
		poll(NULL, 0, ANNOUNCED_MS);
		if (guest->late(guest->context, &s->body, NULL) || s->body.len > STREAM_MAX_LATE)
			s->body.len = 0;
	}
	record_send(&s->control, STREAM_DONE, 0, s->body.data, s->body.len, NULL);
}

/* The point of commitment. Before it any failure is returned, after it resolved. */
static int commit(struct sender *s, struct error *err)
{
	struct error lost = {0};
	int r;

	s->granted_at = session_now();
	s->session.epoch = s->ready_epoch;
	r = still_there(s, err);
	if (!r)
		r = session_event(&s->session, SW_EV_READY, err);
	if (r)
		return r;
	r = send_grant(s, &lost);
	if (!r)
		r = await(s, STREAM_RESUMED, &lost);
	if (r)
		return sender_resolve(s, err);
	show_blackout(s);
	send_done(s);
	return session_event(&s->session, SW_EV_RESUMED, err);
}

int sender_switchover(struct sender *sender, struct error *err)
{
	int r = pause_guest(sender, err);

	if (!r)
		r = send_last(sender, err);
	return r ? r : commit(sender, err);
}

/* ---- doubt ---- */

static int ask(struct sender *s, struct channel *channel, Segue__Answer__Fate *ret_fate)
{
	Segue__Query query = SEGUE__QUERY__INIT;
	struct stream_header header;
	struct buffer body = {0};
	Segue__Answer *answer;
	int r;

	query.move_id.data = s->session.move_id;
	query.move_id.len = sizeof(s->session.move_id);
	r = record_send_message(channel, STREAM_QUERY, &query.base, NULL);
	if (!r)
		r = record_receive(channel, &header, &body, NULL);
	answer = r ? NULL : record_unpack(channel, &header, &body, &segue__answer__descriptor, NULL);
	if (answer)
		*ret_fate = answer->fate;
	record_free(answer);
	buffer_done(&body);
	return answer ? 0 : -EBADMSG;
}

/* What the destination says has become of the grant; SW_EVENTS when it says nothing. */
static enum switchover_event ask_once(struct sender *s)
{
	Segue__Answer__Fate fate = SEGUE__ANSWER__FATE__UNKNOWN;
	struct channel channel = {.fd = -1};

	if (channel_tcp_connect(&channel, s->to, SENDER_SWITCH_MS, NULL))
		return SW_EVENTS;
	channel.stall_ms = SENDER_SWITCH_MS;
	channel_label(&channel, STREAM_DOUBT, STREAM_BACK, 0);
	ask(s, &channel, &fate);
	channel_close(&channel);
	if (fate == SEGUE__ANSWER__FATE__COMMITTED)
		return SW_EV_COMMITTED;
	return fate == SEGUE__ANSWER__FATE__REFUSED ? SW_EV_NEVER : SW_EVENTS;
}

/* The destination's answer or the operator's word, whichever there is. */
static enum switchover_event verdict(struct sender *s)
{
	int word = atomic_load(&s->session.verdict);

	if (word >= 0 && session_state(&s->session) == SW_DOUBT)
		return (enum switchover_event)word;
	return ask_once(s);
}

static void pass_time(struct sender *s, unsigned ms)
{
	struct pollfd wake = {.fd = s->session.wake_fd, .events = POLLIN};
	uint64_t count;

	if (poll(&wake, 1, (int)ms) > 0 && read(wake.fd, &count, sizeof(count)) < 0)
		return;
}

int sender_resolve(struct sender *sender, struct error *err)
{
	uint64_t begun = session_now();
	enum switchover_event event;
	int r = session_event(&sender->session, SW_EV_FAILED, err);

	while (!r) {
		event = verdict(sender);
		if (event == SW_EV_COMMITTED)
			show_blackout(sender);
		if (event != SW_EVENTS && !session_event(&sender->session, event, NULL))
			break;
		if (atomic_load(&sender->abandoned))
			r = error_set(err, -ECANCELED, "the monitor ended while in doubt");
		else if (session_state(&sender->session) == SW_ASKING &&
		    session_now() - begun > SENDER_ASK_MS * UINT64_C(1000000))
			r = session_event(&sender->session, SW_EV_SILENCE, err);
		pass_time(sender, SENDER_ASK_GAP_MS);
	}
	if (!r && session_state(&sender->session) == SW_KEPT)
		error_set(err, -ECONNRESET,
			  "the connection was lost at the switchover and %s did not take over; "
			  "the guest runs here again", sender->to);
	return r;
}
