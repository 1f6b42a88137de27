/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "migrate/receiver_internal.h"

/* From the first page to the guest running here, and what is owed afterwards. */

static int wait_pages(struct receiver *r, struct error *err)
{
	struct error failure;
	int bad = 0;

	while (!bad) {
		uint32_t rounds = receiver_rounds(r, &failure);

		if (failure.code)
			return error_set(err, failure.code, "%s", failure.text);
		if (r->rounds && rounds == r->rounds)
			return session_event(&r->session, SW_EV_SENT, err);
		if (r->rounds && rounds > r->rounds)
			return error_set(err, -EBADMSG, "control: FINISH tells %u rounds, %u came",
					 r->rounds, rounds);
		bad = receiver_wait(r, 200, err);
	}
	return bad;
}

/* The promise is written down before it is given. */
static int promise(struct receiver *r, struct error *err)
{
	struct journal_entry entry = {.epoch = r->session.epoch, .what = JOURNAL_PROMISED};
	Segue__Ready ready = SEGUE__READY__INIT;
	int bad;

	memcpy(entry.move_id, r->session.move_id, sizeof(entry.move_id));
	memcpy(entry.peer, r->session.peer, sizeof(entry.peer));
	bad = journal_append(r->session.journal, &entry, err);
	if (!bad)
		bad = session_event(&r->session, SW_EV_READY, err);
	if (bad)
		return bad;
	ready.epoch = r->session.epoch;
	/* One that did not go out must not be waited for: the source's guest stands still. */
	return receiver_send(r, STREAM_READY, &ready.base, err);
}

static int load(struct receiver *r, struct error *err)
{
	const struct migrate_guest *guest = r->session.guest;
	int bad = guest->load(guest->context, r->state.data, r->state.len, err);

	buffer_done(&r->state);
	return bad ? bad : promise(r, err);
}

/*
 * The grant comes on this connection or never: when it is lost the promise is taken back at
 * once, and the source, if it had granted, hears of that when it asks.
 */
static int wait_grant(struct receiver *r, struct error *err)
{
	int bad = 0;

	while (!bad && !r->granted_at && session_state(&r->session) == SW_PROMISED)
		bad = receiver_wait(r, 200, err);
	if (!bad && session_state(&r->session) == SW_REFUSED)
		bad = error_set(err, -ECONNRESET,
				"the connection was lost at the switchover; the guest stays at its source");
	return bad;
}

static int resume(struct receiver *r, struct error *err)
{
	const struct migrate_guest *guest = r->session.guest;
	Segue__Resumed resumed = SEGUE__RESUMED__INIT;
	int bad = session_event(&r->session, SW_EV_GRANT, err);

	if (bad)
		return bad;
	bad = guest->resume(guest->context,
			    r->session.elapsed_ns + (session_now() - r->granted_at), err);
	if (!bad)
		bad = session_event(&r->session, SW_EV_RESUMED, err);
	if (bad)
		return bad;
	resumed.epoch = r->session.epoch;
	resumed.resume_ns = session_now() - r->granted_at;
	/* The source waits for this or for the connection's end, when it asks. */
	if (receiver_send(r, STREAM_RESUMED, &resumed.base, NULL))
		channel_close(&r->control);
	if (r->options.running)
		r->options.running(r->options.running_context);
	return 0;
}

int receiver_take(struct receiver *receiver, struct error *err)
{
	int r = receiver_channels_start(receiver, err);

	if (!r)
		r = session_event(&receiver->session, SW_EV_ACCEPTED, err);
	if (!r)
		r = wait_pages(receiver, err);
	if (!r)
		r = load(receiver, err);
	if (!r)
		r = wait_grant(receiver, err);
	return r ? r : resume(receiver, err);
}

static bool since(uint64_t from, unsigned ms)
{
	return session_now() - from > ms * UINT64_C(1000000);
}

/* The source may still have to ask what became of its grant. */
void receiver_linger(struct receiver *receiver)
{
	uint64_t from = session_now();

	while (!receiver->done && !atomic_load(&receiver->session.cancelled)) {
		if (since(from, RECEIVER_ANSWER_MS) ||
		    (receiver->asked_at && since(receiver->asked_at, RECEIVER_AGAIN_MS)))
			return;
		if (receiver_wait(receiver, 500, NULL))
			channel_close(&receiver->control);
	}
}
