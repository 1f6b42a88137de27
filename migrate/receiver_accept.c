/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "migrate/receiver_internal.h"

/*
 * New connections. Whoever connects is nobody until its HELLO has been believed; nothing
 * it says before that can end a move, or the waiting for one.
 */

static void refuse(struct channel *channel, const char *reason)
{
	Segue__Refuse message = SEGUE__REFUSE__INIT;

	message.reason = (char *)(uintptr_t)reason;
	record_send_message(channel, STREAM_REFUSE, &message.base, NULL);
	channel_close(channel);
}

void receiver_tell(struct receiver *r, const struct error *err)
{
	char line[sizeof(err->text) + 32];

	if (!r->session.trace)
		return;
	snprintf(line, sizeof(line), "turned away: %s", err->text);
	r->session.trace(r->session.trace_context, line);
}

static int check_regions(const struct receiver *r, const Segue__Hello *hello, struct error *err)
{
	const struct migrate_guest *guest = r->session.guest;

	if (hello->n_regions != guest->n_regions)
		return error_set(err, -EINVAL, "the guest has %zu memory regions, here it has %u",
				 hello->n_regions, guest->n_regions);
	for (unsigned i = 0; i < guest->n_regions; i++) {
		const struct migrate_region *ours = &guest->regions[i];

		if (strcmp(hello->regions[i]->name, ours->name))
			return error_set(err, -EINVAL, "region '%s' is '%s' here",
					 hello->regions[i]->name, ours->name);
		if (hello->regions[i]->pages != ours->pages)
			return error_set(err, -EINVAL,
					 "the guest has %llu MiB of %s, here it has %llu MiB",
					 (unsigned long long)(hello->regions[i]->pages >> 8), ours->name,
					 (unsigned long long)(ours->pages >> 8));
	}
	return 0;
}

static int check_hello(const struct receiver *r, const Segue__Hello *hello, struct error *err)
{
	const struct migrate_guest *guest = r->session.guest;
	int bad;

	if (hello->version < 1 || hello->version_min > 1)
		return error_set(err, -EPROTO,
				 "the source speaks versions %u to %u of the stream, this monitor 1",
				 hello->version_min, hello->version);
	if (hello->move_id.len != JOURNAL_MOVE_ID || hello->channels < 1 ||
	    hello->channels > MIGRATE_CHANNELS || hello->epoch >= UINT64_MAX / 2)
		return error_set(err, -EINVAL, "the HELLO is out of bounds");
	if (strcmp(hello->guest, guest->name))
		return error_set(err, -EINVAL, "this monitor waits for '%s', not for '%s'",
				 guest->name, hello->guest);
	bad = check_regions(r, hello, err);
	return bad ? bad : guest->accept(guest->context, hello->contract.data,
					 hello->contract.len, err);
}

/* Our epoch is above both journals': it is the newest word on who owns the guest. */
static void adopt(struct receiver *r, const Segue__Hello *hello)
{
	uint64_t ours = r->session.journal->last.epoch;

	memcpy(r->session.move_id, hello->move_id.data, JOURNAL_MOVE_ID);
	snprintf(r->session.peer, sizeof(r->session.peer), "%s",
		 *hello->source && !strpbrk(hello->source, " \t\r\n") ? hello->source : "-");
	r->session.epoch = (hello->epoch > ours ? hello->epoch : ours) + 1;
	r->n_data = hello->channels;
	r->connected = 0;
}

static void take_control(struct receiver *r, struct channel *channel, const Segue__Hello *hello)
{
	Segue__Welcome welcome = SEGUE__WELCOME__INIT;
	struct error err = {0};
	char name[64] = "";

	channel_label(channel, STREAM_CONTROL, STREAM_FORTH, 0);
	if (session_state(&r->session) != SW_LISTENING || r->control.fd >= 0) {
		refuse(channel, "another move to this monitor is under way");
		return;
	}
	if (check_hello(r, hello, &err)) {
		receiver_tell(r, &err);
		refuse(channel, err.text);
		return;
	}
	adopt(r, hello);
	welcome.version = 1;
	welcome.features = STREAM_FEATURE_PACKED | STREAM_FEATURE_PROBE;
	gethostname(name, sizeof(name) - 1);
	welcome.destination = name;
	channel->stall_ms = RECEIVER_STALL_MS;
	r->control = *channel;
	r->control.reader.name = r->control.name;
	r->heard_at = r->welcomed_at = session_now();
	if (record_send_message(&r->control, STREAM_WELCOME, &welcome.base, NULL))
		channel_close(&r->control);
}

static void take_data(struct receiver *r, struct channel *channel, const Segue__Hello *hello)
{
	struct receiver_channel *c;

	if (r->control.fd < 0 || hello->move_id.len != JOURNAL_MOVE_ID ||
	    memcmp(hello->move_id.data, r->session.move_id, JOURNAL_MOVE_ID) ||
	    hello->channel > r->n_data || session_state(&r->session) != SW_LISTENING) {
		channel_close(channel);
		return;
	}
	c = &r->channels[hello->channel - 1];
	if (c->channel.fd >= 0) {
		channel_close(channel);
		return;
	}
	c->channel = *channel;
	c->channel.stall_ms = RECEIVER_DATA_MS;
	channel_label(&c->channel, STREAM_DATA, STREAM_FORTH, hello->channel);
	r->connected++;
}

/* ---- questions ---- */

static Segue__Answer__Fate fate(enum switchover_state state)
{
	switch (state) {
	case SW_TAKEN:
		return SEGUE__ANSWER__FATE__PENDING;
	case SW_RUNNING:
		return SEGUE__ANSWER__FATE__COMMITTED;
	case SW_REFUSED:
		return SEGUE__ANSWER__FATE__REFUSED;
	default:
		return SEGUE__ANSWER__FATE__UNKNOWN;
	}
}

/*
 * Whoever asks has lost its connection after the grant. If the grant has not come it never
 * shall: that is written down before it is said.
 */
static void take_query(struct receiver *r, struct channel *channel, const Segue__Query *query)
{
	Segue__Answer answer = SEGUE__ANSWER__INIT;

	if (query->move_id.len == JOURNAL_MOVE_ID &&
	    !memcmp(query->move_id.data, r->session.move_id, JOURNAL_MOVE_ID)) {
		if (session_state(&r->session) == SW_PROMISED)
			session_event(&r->session, SW_EV_ASKED, NULL);
		answer.fate = fate(session_state(&r->session));
		answer.epoch = r->session.epoch;
		r->asked_at = session_now();
	}
	channel_label(channel, STREAM_DOUBT, STREAM_FORTH, 0);
	record_send_message(channel, STREAM_ANSWER, &answer.base, NULL);
	channel_close(channel);
}

/* ---- what it is ---- */

static int take_first(struct receiver *r, struct channel *channel,
		      const struct stream_header *header, const struct buffer *body,
		      struct error *err)
{
	Segue__Hello *hello = NULL;
	Segue__Query *query = NULL;

	if (header->type == STREAM_HELLO)
		hello = record_unpack(channel, header, body, &segue__hello__descriptor, err);
	else
		query = record_unpack(channel, header, body, &segue__query__descriptor, err);
	if (query)
		take_query(r, channel, query);
	else if (hello && hello->channel)
		take_data(r, channel, hello);
	else if (hello)
		take_control(r, channel, hello);
	record_free(hello);
	record_free(query);
	return hello || query ? 0 : -EBADMSG;
}

void receiver_accept(struct receiver *receiver)
{
	struct stream_header header;
	struct channel channel;
	struct buffer body = {0};
	struct error err = {0};
	int bad;

	if (channel_tcp_accept(&channel, receiver->listen_fd, NULL))
		return;
	channel.stall_ms = RECEIVER_HELLO_MS;
	channel_label(&channel, STREAM_FRESH, STREAM_FORTH, 0);
	bad = record_receive(&channel, &header, &body, &err);
	if (!bad)
		bad = take_first(receiver, &channel, &header, &body, &err);
	if (bad) {
		receiver_tell(receiver, &err);
		channel_close(&channel);
	}
	buffer_done(&body);
}
