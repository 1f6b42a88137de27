/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pays, for one sender thread. Between packing a page and sending it as it is, the
 * quicker way wins: packing takes its time and saves bytes, and the link's price of a byte
 * is known from what sending has taken. A thread sends what it packs, so both are its time.
 */
#include "migrate/codec.h"

#include <errno.h>
#include <string.h>

/*
 * What a codec is taken to be worth before it has been tried, from bench_codec on a recent
 * core: deltas of a rewritten page and LZ4 of mixed content. A few tries correct it.
 */
static const struct codec_worth delta_guess = { .ns = 1500, .saved = 3500 };
static const struct codec_worth lz4_guess = { .ns = 5000, .saved = 1500 };
static const struct codec_worth zstd_guess[] = {
	[CODEC_PLAIN] = { .ns = 12000, .saved = 2000 },
	[CODEC_CHANGES] = { .ns = 15000, .saved = 3000 },
};

#define WEIGHT      (1.0 / 32) /* of a new observation in a moving average */
/*
 * A span is long enough to hold both halves of what a socket's buffer does to its writer: many
 * records taken at once, then one that waits for the rest. The median of three spans counts,
 * for one in which the thread waited for a processor tells nothing of the link.
 */
#define SPAN_BYTES  (2u << 20)
#define SPAN_NS     50000000u
#define TIME_FIRST  32u /* tries that are all timed; later one in TIME_EACH */
#define TIME_EACH   16u
#define LATE        4.0 /* averages; in a longer try something else had the processor */
#define LZ4_KNOWN   32u /* tries, from which on its average can be held against another */
#define PACK_WEIGHT (1.0 / 8) /* as WEIGHT, of a record */
#define ROUND_BYTES (8u << 20) /* a shorter round tells of the round trip, not of the link */

int codec_mode_parse(const char *name, enum codec_mode *ret_mode, struct error *err)
{
	static const struct {
		const char *name;
		enum codec_mode mode;
	} modes[] = {
		{ "", CODEC_AUTO },   { "auto", CODEC_AUTO },   { "none", CODEC_NONE },
		{ "lz4", CODEC_LZ4 }, { "delta", CODEC_DELTA },
		{ "zstd", CODEC_ZSTD },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, name) == 0) {
			*ret_mode = modes[i].mode;
			return 0;
		}
	}
	return error_set(err, -EINVAL, "compression '%s' is none of auto, none, lz4, delta, zstd",
			 name);
}

void codec_policy_init(struct codec_policy *policy, enum codec_mode mode)
{
	*policy = (struct codec_policy){
		.mode = mode,
		.lz4 = lz4_guess,
		.delta = delta_guess,
		.zstd = { zstd_guess[CODEC_PLAIN], zstd_guess[CODEC_CHANGES] },
	};
}

/* Of one or two the lesser: packing for nothing costs more than sending what could be packed. */
static double median_span(const struct codec_policy *policy)
{
	const double *of = policy->link_recent;
	double low = of[0], high = of[0];

	if (policy->link_spans == 1)
		return low;
	low = of[1] < low ? of[1] : low;
	high = of[1] > high ? of[1] : high;
	if (policy->link_spans == 2 || of[2] < low)
		return low;
	return of[2] > high ? high : of[2];
}

void codec_policy_link(struct codec_policy *policy, uint64_t bytes, uint64_t ns)
{
	policy->round_bytes += bytes;
	policy->round_ns += ns;
	policy->span_bytes += bytes;
	policy->span_ns += ns;
	if (policy->span_bytes == 0 ||
	    (policy->span_bytes < SPAN_BYTES && policy->span_ns < SPAN_NS))
		return;
	for (unsigned i = CODEC_SPANS - 1; i > 0; i--)
		policy->link_recent[i] = policy->link_recent[i - 1];
	policy->link_recent[0] = (double)policy->span_ns / (double)policy->span_bytes;
	policy->span_bytes = policy->span_ns = 0;
	if (policy->link_spans < CODEC_SPANS)
		policy->link_spans++;
	policy->link_ns = median_span(policy);
}

void codec_policy_round(struct codec_policy *policy, uint64_t all_bytes, uint64_t waited_ns)
{
	double ns = (double)(policy->round_ns + waited_ns);

	if (all_bytes >= ROUND_BYTES && policy->round_bytes)
		policy->link_least = ns / (double)policy->round_bytes;
	policy->round_bytes = policy->round_ns = 0;
}

static double price(const struct codec_policy *policy)
{
	return policy->link_ns > policy->link_least ? policy->link_ns : policy->link_least;
}

static const struct codec_worth *worth_of(const struct codec_policy *policy,
					  enum pages_kind kind)
{
	return kind == PAGES_DELTA ? &policy->delta : &policy->lz4;
}

/* Nothing is packed before the link has shown its price: the first span goes out raw. */
static double gain(const struct codec_policy *policy, const struct codec_worth *worth)
{
	return worth->saved * price(policy) - worth->ns;
}

static bool pays(const struct codec_policy *policy, const struct codec_worth *worth)
{
	return gain(policy, worth) > 0;
}

/* Spread over the region, and not in step with structures that repeat every so many pages. */
static bool is_probe(uint64_t page)
{
	return (page * UINT64_C(0x9e3779b97f4a7c15) >> 32) % CODEC_PROBE == 0;
}

bool codec_policy_try(const struct codec_policy *policy, enum pages_kind kind, uint64_t page)
{
	switch (policy->mode) {
	case CODEC_NONE:
		return false;
	case CODEC_LZ4:
		return kind == PAGES_LZ4;
	case CODEC_ZSTD:
		return kind == PAGES_DELTA;
	case CODEC_DELTA:
		if (kind == PAGES_DELTA)
			return true;
		break;
	case CODEC_AUTO:
		break;
	}
	return pays(policy, worth_of(policy, kind)) || is_probe(page);
}

bool codec_policy_timed(const struct codec_policy *policy, enum pages_kind kind)
{
	uint32_t tried = worth_of(policy, kind)->tried;

	return tried < TIME_FIRST || tried % TIME_EACH == 0;
}

/* What a try took and saved goes into the averages; time a host took from its guest does not. */
static void learn(struct codec_worth *worth, double ns, double saved, double weight)
{
	/* The guess is given up quickly: the first tries weigh as much as all before them. */
	double early = 1.0 / (worth->tried + 2);

	weight = early > weight ? early : weight;
	worth->saved += (saved - worth->saved) * weight;
	if (ns > LATE * worth->ns)
		ns = LATE * worth->ns;
	if (ns > 0)
		worth->ns += (ns - worth->ns) * weight;
	worth->tried++;
}

void codec_policy_tried(struct codec_policy *policy, enum pages_kind kind, uint64_t ns,
			uint32_t length)
{
	struct codec_worth *worth = kind == PAGES_DELTA ? &policy->delta : &policy->lz4;
	double saved = length < PAGES_PAGE ? (double)(PAGES_PAGE - length) : 0;

	learn(worth, (double)ns, saved, WEIGHT);
}

bool codec_policy_pack(const struct codec_policy *policy, enum codec_load load, uint32_t record)
{
	const struct codec_worth *worth = &policy->zstd[load];
	double other = 0;

	if (policy->mode != CODEC_AUTO)
		return policy->mode == CODEC_ZSTD;
	/* Until it is known better, LZ4 finds less than zstd does. */
	if (load == CODEC_PLAIN && policy->lz4.tried >= LZ4_KNOWN)
		other = gain(policy, &policy->lz4);
	if (gain(policy, worth) > (other > 0 ? other : 0))
		return true;
	return record % CODEC_PACK_PROBE == 0 && PAGES_PAGE * price(policy) > worth->ns;
}

void codec_policy_packed(struct codec_policy *policy, enum codec_load load, uint64_t ns,
			 size_t bytes, size_t length)
{
	double pages = (double)bytes / PAGES_PAGE;

	learn(&policy->zstd[load], (double)ns / pages, (double)(bytes - length) / pages,
	      PACK_WEIGHT);
}
