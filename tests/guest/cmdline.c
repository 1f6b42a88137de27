/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

/* Offset of cmd_line_ptr in boot_params (Linux Documentation/x86/boot.rst). */
#define CMD_LINE_PTR 0x228

static const char *cmdline;

void cmdline_init(const uint8_t *boot_params)
{
	uint32_t at = *(const uint32_t *)(boot_params + CMD_LINE_PTR);

	cmdline = at ? (const char *)(uintptr_t)at : "";
}

static const char *find(const char *name)
{
	for (const char *p = cmdline; *p;) {
		const char *n = name;

		while (*n && *p == *n)
			p++, n++;
		if (!*n && *p == '=')
			return p + 1;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
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

bool cmdline_is(const char *name, const char *value)
{
	const char *p = find(name);

	if (!p)
		return false;
	while (*value && *p == *value)
		p++, value++;
	return !*value && (*p == ' ' || !*p);
}
