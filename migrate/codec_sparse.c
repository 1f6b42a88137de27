/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/codec_sparse.h"

#include <stdbool.h>
#include <string.h>

#include "migrate/codec_page.h"
#include "proto/le.h"

/*
 * LZ4's block format (lz4_Block_format.md): sequences of a token, literals, and a match.
 * A run of zeros is one zero among the literals, then a match one byte back. By the rules
 * on the end of a block the last five bytes are literals and no match begins in the last
 * twelve.
 */
#define WORD       8u
#define WORDS      (CODEC_PAGE / WORD)
#define MATCH_END  (CODEC_PAGE - 5)
#define MATCH_LAST (CODEC_PAGE - 12)
#define MATCH_MIN  4u
#define RUN_MIN    2u /* words: a shorter one costs as much as it saves */

struct output {
	uint8_t *at, *end;
};

static void put_more(struct output *out, uint32_t rest)
{
	for (; rest >= 255; rest -= 255)
		*out->at++ = 255;
	*out->at++ = (uint8_t)rest;
}

/* MATCH 0: the last sequence, which has none. */
static bool put_sequence(struct output *out, const uint8_t *literals, uint32_t n,
			 uint32_t match)
{
	uint32_t length = match ? match - MATCH_MIN : 0;
	uint32_t token = (n < 15 ? n : 15) << 4 | (length < 15 ? length : 15);

	/* Token, offset, and for both lengths a byte each and one for every 255. */
	if ((size_t)(out->end - out->at) < n + 5 + n / 255 + length / 255)
		return false;
	*out->at++ = (uint8_t)token;
	if (n >= 15)
		put_more(out, n - 15);
	memcpy(out->at, literals, n);
	out->at += n;
	if (!match)
		return true;
	le16_put(out->at, 1);
	out->at += 2;
	if (length >= 15)
		put_more(out, length - 15);
	return true;
}

static uint64_t word(const uint8_t *page, uint32_t w)
{
	return le64_get(page + (size_t)w * WORD);
}

/* The next run of zero words from W on; its end, or 0 when there is none. */
static uint32_t next_run(const uint8_t *page, uint32_t w, uint32_t *ret_begin)
{
	while (w < WORDS && word(page, w))
		w++;
	*ret_begin = w;
	if (w == WORDS)
		return 0;
	while (w < WORDS && !word(page, w))
		w++;
	return w;
}

/* The run in bytes, with the zero bytes of the words around it. */
static uint32_t widen(const uint8_t *page, uint32_t begin, uint32_t end, uint32_t *ret_begin)
{
	uint32_t from = begin * WORD, to = end * WORD;

	if (begin > 0)
		from -= (uint32_t)__builtin_clzll(word(page, begin - 1)) / 8;
	if (end < WORDS)
		to += (uint32_t)__builtin_ctzll(word(page, end)) / 8;
	*ret_begin = from;
	return to < MATCH_END ? to : MATCH_END;
}

uint32_t codec_sparse(const uint8_t *page, uint8_t *to, uint32_t room)
{
	struct output out = { .at = to, .end = to + room };
	uint32_t done = 0, begin, end, from, until;

	for (end = 0; (end = next_run(page, end, &begin)) != 0;) {
		if (end - begin < RUN_MIN)
			continue;
		until = widen(page, begin, end, &from);
		if (from + 1 > MATCH_LAST || until < from + 1 + MATCH_MIN)
			continue;
		if (!put_sequence(&out, page + done, from + 1 - done, until - from - 1))
			return 0;
		done = until;
	}
	if (!put_sequence(&out, page + done, CODEC_PAGE - done, 0))
		return 0;
	return (uint32_t)(out.at - to);
}
