/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

const struct segue_pv_boot *boot;
volatile struct segue_pv_vcpu *vcpu;

static const char *find(const char *name)
{
	const char *p = at(boot->cmdline), *end = p + boot->cmdline_len;

	while (p < end) {
		const char *n = name;

		while (p < end && *n && *p == *n)
			p++, n++;
		if (!*n && p < end && *p == '=')
			return p + 1;
		while (p < end && *p != ' ')
			p++;
		while (p < end && *p == ' ')
			p++;
	}
	return NULL;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	return 16;
}

uint64_t cmdline_number(const char *name, uint64_t fallback)
{
	const char *p = find(name);
	uint64_t value = 0;
	unsigned base = 10;

	if (!p)
		return fallback;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; digit(*p) < base; p++)
		value = value * base + digit(*p);
	return value;
}

const char *cmdline_text(const char *name)
{
	return find(name);
}

bool word_is(const char *text, const char *word)
{
	if (!text)
		return false;
	while (*word && *text == *word)
		text++, word++;
	return !*word && (*text == ' ' || !*text);
}
