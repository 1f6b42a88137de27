/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "migrate/receiver_internal.h"

/*
 * Data channels, a thread each. A record is read whole, checked, and only then written to
 * guest memory. At ROUND_END a channel waits until all others have ended the round, for
 * pages of the next may overwrite its own.
 */

static int channel_entry(struct receiver_channel *c, const struct stream_header *header,
			 const uint8_t *body, const struct pages_entry *entry, struct error *err)
{
	const struct codec_target *target = &c->receiver->targets[c->table.region];
	struct error why = {0};
	int r = codec_apply(target, entry, body + entry->offset, &why);

	if (r == -EBADMSG)
		return stream_error(err, &c->channel.reader, header, entry->offset, "%s",
				    why.text);
	return r ? error_set(err, r, "%s", why.text) : 0;
}

/* BODY has passed its check, or come out of a PACKED one that has. */
static int channel_table(struct receiver_channel *c, const struct stream_header *header,
			 const uint8_t *body, struct error *err)
{
	struct receiver *r = c->receiver;
	int bad = pages_parse_table(&c->channel.reader, header, body, header->length,
				    r->region_pages, r->session.guest->n_regions, &c->table,
				    err);

	for (unsigned i = 0; !bad && i < c->table.n; i++)
		bad = channel_entry(c, header, body, &c->table.entries[i], err);
	return bad;
}

static int channel_packed(struct receiver_channel *c, const struct stream_header *header,
			  struct error *err)
{
	struct stream_header inner;
	const uint8_t *body;
	int r = unpacker_unpack(c->unpacker, &c->channel.reader, header, c->body.data, &inner,
				&body, err);

	return r ? r : channel_table(c, &inner, body, err);
}

int receiver_send(struct receiver *receiver, enum stream_type type,
		  const ProtobufCMessage *message, struct error *err)
{
	int r;

	pthread_mutex_lock(&receiver->send_lock);
	r = message ? record_send_message(&receiver->control, type, message, err)
		    : record_send(&receiver->control, type, 0, NULL, 0, err);
	pthread_mutex_unlock(&receiver->send_lock);
	return r;
}

/* Waits for the others; the last one opens the next round. False when all is to end. */
static bool channel_barrier(struct receiver *r, bool *ret_last)
{
	uint32_t round;
	bool stop;

	pthread_mutex_lock(&r->lock);
	round = r->round;
	*ret_last = ++r->waiting == r->n_data;
	if (*ret_last) {
		r->waiting = 0;
		r->round++;
		pthread_cond_broadcast(&r->turn);
	}
	while (!r->stop && r->round == round)
		pthread_cond_wait(&r->turn, &r->lock);
	stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	return !stop;
}

static int channel_round_end(struct receiver_channel *c, uint32_t round, struct error *err)
{
	Segue__RoundAck ack = SEGUE__ROUND_ACK__INIT;
	bool last;
	int r;

	if (!channel_barrier(c->receiver, &last))
		return error_set(err, -ECANCELED, "%s: stopped", c->channel.name);
	if (!last)
		return 0;
	ack.round = round;
	r = receiver_send(c->receiver, STREAM_ROUND_ACK, &ack.base, err);
	session_wake(&c->receiver->session);
	return r;
}

static int channel_next(struct receiver_channel *c, struct error *err)
{
	struct stream_header header;
	int r = record_receive_header(&c->channel, &header, err);

	if (r)
		return r;
	r = record_receive_body(&c->channel, &header, &c->body, err);
	if (r)
		return r;
	if (header.type == STREAM_PAGES)
		return channel_table(c, &header, c->body.data, err);
	if (header.type == STREAM_PACKED)
		return channel_packed(c, &header, err);
	return channel_round_end(c, header.round, err);
}

static void channel_failed(struct receiver *r, const struct error *err)
{
	pthread_mutex_lock(&r->lock);
	if (!r->failure.code)
		r->failure = *err;
	pthread_mutex_unlock(&r->lock);
	session_wake(&r->session);
}

static void *channel_main(void *argument)
{
	struct receiver_channel *c = argument;
	struct error err = {0};

	pthread_setname_np(pthread_self(), "receive");
	while (!channel_next(c, &err))
		;
	channel_failed(c->receiver, &err);
	return NULL;
}

int receiver_channels_start(struct receiver *receiver, struct error *err)
{
	for (unsigned i = 0; i < receiver->n_data; i++) {
		struct receiver_channel *c = &receiver->channels[i];
		int r = unpacker_create(&c->unpacker, err);

		if (r)
			return r;
		r = pthread_create(&c->thread, NULL, channel_main, c);
		if (r)
			return error_system(err, -r, "cannot start a receiver thread");
		c->started = true;
	}
	return 0;
}

void receiver_channels_stop(struct receiver *receiver)
{
	pthread_mutex_lock(&receiver->lock);
	receiver->stop = true;
	pthread_cond_broadcast(&receiver->turn);
	pthread_mutex_unlock(&receiver->lock);
	for (unsigned i = 0; i < MIGRATE_CHANNELS; i++) {
		struct receiver_channel *c = &receiver->channels[i];

		channel_shut(&c->channel);
		if (c->started)
			pthread_join(c->thread, NULL);
		c->started = false;
		channel_close(&c->channel);
		buffer_done(&c->body);
		unpacker_destroy(c->unpacker);
		c->unpacker = NULL;
	}
}

uint32_t receiver_rounds(struct receiver *receiver, struct error *ret_failure)
{
	uint32_t rounds;

	pthread_mutex_lock(&receiver->lock);
	rounds = receiver->round - 1;
	*ret_failure = receiver->failure;
	pthread_mutex_unlock(&receiver->lock);
	return rounds;
}
