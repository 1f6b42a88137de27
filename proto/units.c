/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
    {"k", 1ull << 10}, {"kb", 1ull << 10}, {"kib", 1ull << 10},
    {"m", 1ull << 20}, {"mb", 1ull << 20}, {"mib", 1ull << 20},
    {"g", 1ull << 30}, {"gb", 1ull << 30}, {"gib", 1ull << 30},
    {"t", 1ull << 40}, {"tb", 1ull << 40}, {"tib", 1ull << 40},
    {"b", 1},          {NULL, 0},
};

static const struct unit time_units[] = {
    {"us", 1},         {"ms", 1000},         {"s", 1000000}, {"m", 60000000},
    {"min", 60000000}, {"h", 3600000000ull}, {NULL, 0},
};

/* Thousandths are kept of a fraction: "1.5G" is exact enough and never negative or a NaN. */
static int parse_number(const char **text, uint64_t *ret_whole, unsigned *ret_thousandths)
{
	const char *p = *text;
	unsigned scale = 100, thousandths = 0;
	uint64_t whole = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++, scale /= 10)
			thousandths += (unsigned)(*p - '0') * scale;
	}
	*text = p;
	*ret_whole = whole;
	*ret_thousandths = thousandths;
	return 0;
}

static int parse_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	unsigned thousandths;
	uint64_t whole, value;
	int r = parse_number(&text, &whole, &thousandths);

	if (r < 0)
		return r;
	while (*text == ' ')
		text++;
	for (; units->name; units++)
		if (!strcasecmp(text, units->name))
			break;
	if (!units->name)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, units->factor, &value) ||
	    __builtin_add_overflow(value,
				   units->factor / 1000 * thousandths +
				       units->factor % 1000 * thousandths / 1000,
				   &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

int units_parse_size(const char *text, uint64_t *ret_bytes)
{
	return parse_with_unit(text, size_units, ret_bytes);
}

int units_parse_time(const char *text, uint64_t *ret_us)
{
	return parse_with_unit(text, time_units, ret_us);
}

static char *scaled(char *buf, uint64_t value, unsigned step, const char *const *names,
		    unsigned n)
{
	double v = (double)value;
	unsigned i = 0;

	while (v >= step && i + 1 < n) {
		v /= step;
		i++;
	}
	if (i && v < 9.95 && v - (double)(uint64_t)v >= 0.05)
		snprintf(buf, UNITS_MAX, "%.1f %s", v, names[i]);
	else
		snprintf(buf, UNITS_MAX, "%.0f %s", v, names[i]);
	return buf;
}

char *units_size(char *buf, uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};

	return scaled(buf, bytes, 1024, names, 6);
}

char *units_rate(char *buf, uint64_t bytes_a_second)
{
	static const char *const names[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};

	return scaled(buf, bytes_a_second, 1000, names, 5);
}

char *units_time(char *buf, uint64_t us)
{
	uint64_t s = us / 1000000;

	if (us < 1000)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " us", us);
	else if (us < 10000000)
		snprintf(buf, UNITS_MAX, us < 1000000 ? "%.1f ms" : "%.2f s",
			 us < 1000000 ? (double)us / 1e3 : (double)us / 1e6);
	else if (s < 120)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " s", s);
	else if (s < 7200)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else
		snprintf(buf, UNITS_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s / 60 % 60);
	return buf;
}
