/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "migrate/sender_internal.h"

/*
 * What the link carries, before a move: records the destination throws away and answers. More
 * and more of them are on their way at once, until answers take twice as long as the quickest
 * did: then the link is full, and more would only wait in its buffers, or be lost there. What
 * counts is the second half of the time. Small records, so that a slow link answers some, too.
 */
#define PROBE_BYTES       (64u << 10)
#define PROBE_WINDOW      256u
#define PROBE_LEAST       4u /* answers */
#define PROBE_NS          UINT64_C(300000000)
#define PROBE_MOST_NS     UINT64_C(1500000000) /* a destination waits 5 s for a move to begin */
#define PROBE_LATE_NS     UINT64_C(1000000000)
#define PROBE_ROUND_TRIPS 8u /* until the window is open */

struct probe {
	void *bytes; /* that no compressing tunnel makes less of */
	uint64_t half, end, give_up;
	uint32_t window;
	uint64_t sent_at[PROBE_WINDOW]; /* a ring */
	uint64_t quickest;              /* from record to answer, ns */
	uint32_t answers_from;          /* answers there were at FROM */
	uint64_t from, to;              /* the first answer that counts, and the last */
};

static int probe_init(struct sender *s, struct probe *p, struct error *err)
{
	uint64_t now = session_now();
	/* The costs have two round trips for a move's last two answers. */
	uint64_t span = PROBE_NS + PROBE_ROUND_TRIPS * s->costs.commit_us * 1000 / 2;

	if (span > PROBE_MOST_NS)
		span = PROBE_MOST_NS;
	*p = (struct probe){
		.bytes = malloc(PROBE_BYTES),
		.half = now + span / 2,
		.end = now + span,
		.give_up = now + span + PROBE_LATE_NS,
		.window = 2,
		.quickest = UINT64_MAX,
	};
	if (!p->bytes)
		return error_set(err, -ENOMEM, "no memory to measure the link with");
	if (getrandom(p->bytes, PROBE_BYTES, 0) != PROBE_BYTES)
		return error_set(err, -EIO, "no random numbers to measure the link with");
	return 0;
}

static bool probe_more(const struct sender *s, const struct probe *p)
{
	uint64_t now = session_now();

	return now < p->end ||
	       (s->probed - p->answers_from < PROBE_LEAST && now < p->give_up);
}

static int probe_fill(struct sender *s, struct probe *p, struct error *err)
{
	int r = 0;

	while (!r && s->probing - s->probed < p->window) {
		p->sent_at[s->probing++ % PROBE_WINDOW] = session_now();
		r = record_send(&s->control, STREAM_PROBE, 0, p->bytes, PROBE_BYTES, err);
	}
	return r;
}

/* An answer has come: the first of all begins the count, the first of the second half again. */
static void probe_note(const struct sender *s, struct probe *p)
{
	uint64_t took = s->heard_at - p->sent_at[(s->probed - 1) % PROBE_WINDOW];

	if (took < p->quickest)
		p->quickest = took;
	if (took < 2 * p->quickest && p->window < PROBE_WINDOW)
		p->window++;
	if (!p->from || (p->from < p->half && s->heard_at >= p->half)) {
		p->from = s->heard_at;
		p->answers_from = s->probed;
	}
	p->to = s->heard_at;
}

/* Of a link that hardly answered: no more than one record in the time that took, or all did. */
static double probe_rate(const struct sender *s, const struct probe *p)
{
	uint64_t began = p->sent_at[0];

	if (p->to > p->from)
		return (double)(s->probed - p->answers_from) * PROBE_BYTES * 1e9 /
		       (double)(p->to - p->from);
	return PROBE_BYTES * 1e9 / (double)((s->probed ? p->to : session_now()) - began);
}

int sender_probe(struct sender *sender, uint64_t *ret_bandwidth, struct error *err)
{
	struct probe p;
	int r = probe_init(sender, &p, err);

	while (!r && probe_more(sender, &p)) {
		uint32_t before = sender->probed;

		r = probe_fill(sender, &p, err);
		if (!r)
			r = sender_wait(sender, 100, SENDER_STALL_MS, err);
		if (sender->probed != before)
			probe_note(sender, &p);
	}
	if (!r)
		*ret_bandwidth = (uint64_t)probe_rate(sender, &p);
	free(p.bytes);
	return r;
}
