/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "migrate/receiver_internal.h"

/* What comes on the control connection, and the waiting for it. */

static int take_state(struct receiver *r)
{
	struct buffer was = r->state;

	r->state = r->body;
	r->body = was;
	return 0;
}

static int take_finish(struct receiver *r, const struct stream_header *header, struct error *err)
{
	Segue__Finish *finish =
		record_unpack(&r->control, header, &r->body, &segue__finish__descriptor, err);

	if (!finish)
		return -EBADMSG;
	r->rounds = finish->rounds;
	record_free(finish);
	if (!r->rounds || !r->state.len)
		return stream_error(err, &r->control.reader, header, 0,
				    "FINISH came without rounds or state");
	return 0;
}

static int take_grant(struct receiver *r, const struct stream_header *header, struct error *err)
{
	Segue__Grant *grant =
		record_unpack(&r->control, header, &r->body, &segue__grant__descriptor, err);
	uint64_t epoch, paused;

	if (!grant)
		return -EBADMSG;
	epoch = grant->epoch;
	paused = grant->paused_ns;
	record_free(grant);
	if (epoch != r->session.epoch)
		return stream_error(err, &r->control.reader, header, 0,
				    "epoch %llu is granted, %llu was promised",
				    (unsigned long long)epoch,
				    (unsigned long long)r->session.epoch);
	r->granted_at = r->heard_at;
	r->session.elapsed_ns = paused;
	return 0;
}

static int take_abort(struct receiver *r, const struct stream_header *header, struct error *err)
{
	Segue__Abort *abort =
		record_unpack(&r->control, header, &r->body, &segue__abort__descriptor, err);

	if (!abort)
		return -EBADMSG;
	error_set(err, -ECONNABORTED, "the source gave up: %s", abort->reason);
	record_free(abort);
	return -ECONNABORTED;
}

/* The source is done. What it still had for the guest may be lost, but is not believed unread. */
static int take_done(struct receiver *r)
{
	const struct migrate_guest *guest = r->session.guest;

	if (r->body.len && guest->take_late)
		guest->take_late(guest->context, r->body.data, r->body.len, NULL);
	r->done = true;
	return 0;
}

/* Which record may come in which state; everything else is an error. */
static bool expected(const struct receiver *r, enum stream_type type)
{
	switch (session_state(&r->session)) {
	case SW_LISTENING:
		return type == STREAM_PROBE;
	case SW_TAKING:
		return type == STREAM_STATE ? !r->state.len : type == STREAM_FINISH && !r->rounds;
	case SW_PROMISED:
		return type == STREAM_GRANT;
	case SW_RUNNING:
		return type == STREAM_DONE;
	default:
		return false;
	}
}

static int take_record(struct receiver *r, struct error *err)
{
	struct stream_header header;
	int bad = record_receive_header(&r->control, &header, err);

	r->heard_at = session_now();
	if (!bad)
		bad = record_receive_body(&r->control, &header, &r->body, err);
	if (bad)
		return bad;
	if (header.type == STREAM_ALIVE)
		return 0;
	if (header.type == STREAM_ABORT)
		return take_abort(r, &header, err);
	if (!expected(r, header.type))
		return stream_error(err, &r->control.reader, &header, 0, "%s cannot come now",
				    stream_type_name(header.type));
	if (header.type == STREAM_PROBE)
		return receiver_send(r, STREAM_PROBED, NULL, err);
	if (header.type == STREAM_STATE)
		return take_state(r);
	if (header.type == STREAM_FINISH)
		return take_finish(r, &header, err);
	if (header.type == STREAM_GRANT)
		return take_grant(r, &header, err);
	return take_done(r);
}

static int tell_alive(struct receiver *r, struct error *err)
{
	uint64_t now = session_now();

	if (r->control.fd < 0)
		return 0;
	if (now - r->heard_at > RECEIVER_STALL_MS * UINT64_C(1000000))
		return error_set(err, -ETIMEDOUT, "nothing heard from the source for %u s",
				 RECEIVER_STALL_MS / 1000);
	if (now - r->alive_at < RECEIVER_ALIVE_MS * UINT64_C(1000000))
		return 0;
	r->alive_at = now;
	return receiver_send(r, STREAM_ALIVE, NULL, err);
}

static int check_cancel(struct receiver *r, struct error *err)
{
	if (!atomic_load(&r->session.cancelled) ||
	    !switchover_find(session_state(&r->session), SW_EV_CANCEL))
		return 0;
	return error_set(err, -ECANCELED, "cancelled");
}

int receiver_wait(struct receiver *receiver, unsigned timeout_ms, struct error *err)
{
	struct pollfd fds[3] = {
		{.fd = receiver->control.fd, .events = POLLIN},
		{.fd = receiver->session.wake_fd, .events = POLLIN},
		{.fd = receiver->listen_fd, .events = POLLIN},
	};
	int r = check_cancel(receiver, err);
	uint64_t count;

	if (r)
		return r;
	if (poll(fds, 3, (int)timeout_ms) < 0 && errno != EINTR)
		return error_system(err, -errno, "cannot wait");
	if (fds[1].revents && read(receiver->session.wake_fd, &count, sizeof(count)) < 0 &&
	    errno != EAGAIN)
		return error_system(err, -errno, "cannot wait");
	if (fds[2].revents)
		receiver_accept(receiver);
	if (fds[0].revents)
		return take_record(receiver, err);
	return tell_alive(receiver, err);
}
