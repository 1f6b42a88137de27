/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sender_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hello.pb-c.h"

/* ---- connecting ---- */

static void record_to(struct sender *s, struct channel *channel, unsigned index)
{
	char path[600];

	if (!s->options.record)
		return;
	if (index)
		snprintf(path, sizeof(path), "%s/data-%u.sgs", s->record, index);
	else
		snprintf(path, sizeof(path), "%s/control.sgs", s->record);
	channel->record_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int connect_labelled(struct sender *s, struct channel *channel, unsigned index,
			    struct error *err)
{
	int r = channel_tcp_connect(channel, s->to, SENDER_CONNECT_MS, err);

	if (r)
		return r;
	channel->stall_ms = SENDER_STALL_MS;
	channel_label(channel, index ? STREAM_DATA : STREAM_CONTROL, STREAM_BACK, index);
	record_to(s, channel, index);
	return 0;
}

static void hello_common(struct sender *s, Segue__Hello *hello, unsigned index)
{
	segue__hello__init(hello);
	hello->version = 1;
	hello->version_min = 1;
	hello->move_id.data = s->session.move_id;
	hello->move_id.len = sizeof(s->session.move_id);
	hello->channel = index;
	hello->channels = s->n_channels;
}

static int hello_control(struct sender *s, struct error *err)
{
	const struct migrate_guest *guest = s->session.guest;
	Segue__RegionInfo infos[SENDER_REGIONS], *list[SENDER_REGIONS];
	struct buffer contract = {0};
	char name[64] = "";
	Segue__Hello hello;
	int r;

	hello_common(s, &hello, 0);
	for (unsigned i = 0; i < guest->n_regions; i++) {
		segue__region_info__init(&infos[i]);
		infos[i].name = (char *)(uintptr_t)guest->regions[i].name;
		infos[i].pages = guest->regions[i].pages;
		list[i] = &infos[i];
	}
	hello.regions = list;
	hello.n_regions = guest->n_regions;
	hello.guest = (char *)(uintptr_t)guest->name;
	hello.epoch = s->session.epoch;
	gethostname(name, sizeof(name) - 1);
	hello.source = name;
	r = guest->contract(guest->context, &contract, err);
	hello.contract.data = contract.data;
	hello.contract.len = contract.len;
	if (!r)
		r = record_send_message(&s->control, STREAM_HELLO, &hello.base, err);
	buffer_done(&contract);
	return r;
}

static int refused(struct sender *s, const struct stream_header *header, struct error *err)
{
	Segue__Refuse *refuse =
		record_unpack(&s->control, header, &s->body, &segue__refuse__descriptor, err);

	if (!refuse)
		return -EBADMSG;
	error_set(err, -ECONNREFUSED, "%s refuses the guest: %s", s->to, refuse->reason);
	record_free(refuse);
	return -ECONNREFUSED;
}

static int welcomed(struct sender *s, struct error *err)
{
	uint64_t asked = session_now();
	struct stream_header header;
	Segue__Welcome *welcome;
	int r = record_receive(&s->control, &header, &s->body, err);

	if (r)
		return r;
	s->heard_at = session_now();
	/* READY for FINISH and RESUMED for GRANT: two answers, each like this one. */
	s->costs.commit_us = 2 * (s->heard_at - asked) / 1000;
	if (header.type == STREAM_REFUSE)
		return refused(s, &header, err);
	if (header.type != STREAM_WELCOME)
		return error_set(err, -EPROTO, "%s answered HELLO with %s", s->to,
				 stream_type_name(header.type));
	welcome = record_unpack(&s->control, &header, &s->body, &segue__welcome__descriptor, err);
	if (!welcome)
		return -EBADMSG;
	r = welcome->version == 1 ? 0 : error_set(err, -EPROTO, "%s wants version %u of the stream",
						  s->to, welcome->version);
	s->features = welcome->features;
	record_free(welcome);
	if (!r && s->options.codec == CODEC_ZSTD && !(s->features & STREAM_FEATURE_PACKED))
		r = error_set(err, -EOPNOTSUPP, "%s does not take zstd", s->to);
	return r;
}

static int connect_data(struct sender *s, unsigned index, struct error *err)
{
	struct sender_channel *c = &s->channels[index - 1];
	Segue__Hello hello;
	int r = connect_labelled(s, &c->channel, index, err);

	if (r)
		return r;
	hello_common(s, &hello, index);
	return record_send_message(&c->channel, STREAM_HELLO, &hello.base, err);
}

int sender_connect(struct sender *sender, struct error *err)
{
	int r;

	if (sender->options.record && mkdir(sender->record, 0700) && errno != EEXIST)
		return error_system(err, -errno, "cannot make %s", sender->record);
	r = connect_labelled(sender, &sender->control, 0, err);
	if (!r)
		r = hello_control(sender, err);
	if (!r)
		r = welcomed(sender, err);
	for (unsigned i = 1; !r && !sender->options.dry_run && i <= sender->n_channels; i++)
		r = connect_data(sender, i, err);
	return r;
}

void sender_disconnect(struct sender *sender)
{
	channel_close(&sender->control);
	for (unsigned i = 0; i < sender->n_channels; i++)
		channel_close(&sender->channels[i].channel);
}

/* ---- listening ---- */

static int take_ack(struct sender *s, const struct stream_header *header, struct error *err)
{
	Segue__RoundAck *ack =
		record_unpack(&s->control, header, &s->body, &segue__round_ack__descriptor, err);
	uint32_t round;

	if (!ack)
		return -EBADMSG;
	round = ack->round;
	record_free(ack);
	if (round != s->acked + 1 || round > s->round)
		return stream_error(err, &s->control.reader, header, 0,
				    "round %u is acknowledged after round %u", round, s->acked);
	s->acked = round;
	return 0;
}

static int take_abort(struct sender *s, const struct stream_header *header, struct error *err)
{
	Segue__Abort *abort =
		record_unpack(&s->control, header, &s->body, &segue__abort__descriptor, err);

	if (!abort)
		return -EBADMSG;
	error_set(err, -ECONNABORTED, "the destination gave up: %s", abort->reason);
	record_free(abort);
	return -ECONNABORTED;
}

static int take_epoch(struct sender *s, const struct stream_header *header, struct error *err)
{
	Segue__Ready *ready =
		record_unpack(&s->control, header, &s->body, &segue__ready__descriptor, err);
	uint64_t epoch;

	if (!ready)
		return -EBADMSG;
	epoch = ready->epoch;
	record_free(ready);
	if (epoch <= s->session.epoch)
		return stream_error(err, &s->control.reader, header, 0,
				    "the destination offers epoch %llu, not above %llu",
				    (unsigned long long)epoch,
				    (unsigned long long)s->session.epoch);
	s->ready_epoch = epoch;
	return 0;
}

static int take_resumed(struct sender *s, const struct stream_header *header, struct error *err)
{
	Segue__Resumed *resumed =
		record_unpack(&s->control, header, &s->body, &segue__resumed__descriptor, err);

	if (!resumed)
		return -EBADMSG;
	s->resume_ns = resumed->resume_ns;
	record_free(resumed);
	s->awaited = STREAM_ALIVE;
	return 0;
}

static int take_record(struct sender *s, struct error *err)
{
	struct stream_header header;
	int r = record_receive(&s->control, &header, &s->body, err);

	if (r)
		return r;
	s->heard_at = session_now();
	switch (header.type) {
	case STREAM_ALIVE:
		return 0;
	case STREAM_PROBED:
		if (s->probed == s->probing)
			break;
		s->probed++;
		return 0;
	case STREAM_ROUND_ACK:
		return take_ack(s, &header, err);
	case STREAM_ABORT:
		return take_abort(s, &header, err);
	case STREAM_READY:
		if (s->awaited == STREAM_READY)
			return take_epoch(s, &header, err);
		break;
	case STREAM_RESUMED:
		if (s->awaited == STREAM_RESUMED)
			return take_resumed(s, &header, err);
		break;
	default:
		break;
	}
	return stream_error(err, &s->control.reader, &header, 0, "%s cannot come now",
			    stream_type_name(header.type));
}

static int tell_alive(struct sender *s, uint64_t now, struct error *err)
{
	if (now - s->alive_at < SENDER_ALIVE_MS * UINT64_C(1000000))
		return 0;
	s->alive_at = now;
	return record_send(&s->control, STREAM_ALIVE, 0, NULL, 0, err);
}

static void drain_wake(struct sender *s)
{
	uint64_t count;
	ssize_t got = read(s->session.wake_fd, &count, sizeof(count));

	(void)got;
}

/* A cancel after the grant comes too late: the table has no row for it, and none is made. */
static int check_cancel(struct sender *s, struct error *err)
{
	if (!atomic_load(&s->session.cancelled) ||
	    !switchover_find(session_state(&s->session), SW_EV_CANCEL))
		return 0;
	return error_set(err, -ECANCELED, "cancelled; the guest stays here");
}

int sender_wait(struct sender *sender, unsigned timeout_ms, unsigned silence_ms,
		struct error *err)
{
	struct pollfd fds[2] = {
		{.fd = sender->control.fd, .events = POLLIN},
		{.fd = sender->session.wake_fd, .events = POLLIN},
	};
	int r = check_cancel(sender, err), n;
	uint64_t now;

	if (r)
		return r;
	n = poll(fds, 2, (int)timeout_ms);
	if (n < 0 && errno != EINTR)
		return error_system(err, -errno, "cannot wait");
	if (n > 0 && fds[1].revents)
		drain_wake(sender);
	if (n > 0 && fds[0].revents)
		return take_record(sender, err);
	now = session_now();
	if (now - sender->heard_at > silence_ms * UINT64_C(1000000))
		return error_set(err, -ETIMEDOUT, "nothing heard from %s for %u.%u s", sender->to,
				 silence_ms / 1000, silence_ms / 100 % 10);
	return tell_alive(sender, now, err);
}
