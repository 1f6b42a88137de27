/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/suggest.h"

#include <string.h>

#define WORD_MAX 40u /* longer words are not mistyped, they are something else */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edit distance with transposition of neighbours (optimal string alignment). */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *last = rows[0], *prev = rows[1], *now = rows[2], *spare;

	for (size_t j = 0; j <= b_len; j++)
		prev[j] = j;
	memcpy(last, prev, sizeof(rows[0]));
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least(least(prev[j], now[j - 1]) + 1,
				       prev[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], last[j - 2] + 1);
		}
		spare = last;
		last = prev;
		prev = now;
		now = spare;
	}
	return prev[b_len];
}

const char *suggest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word), best = (size_t)-1, d, c_len;
	const char *found = NULL;

	if (!len || len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!candidates[i])
			continue;
		c_len = strlen(candidates[i]);
		if (c_len > WORD_MAX)
			continue;
		d = distance(word, len, candidates[i], c_len);
		if (d < best) {
			best = d;
			found = candidates[i];
		}
	}
	return best <= 1 + len / 4 ? found : NULL;
}
