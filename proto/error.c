/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool error_open(struct error *err, int code)
{
	if (!err || err->code)
		return false;
	err->code = code;
	return true;
}

int error_set(struct error *err, int code, const char *format, ...)
{
	va_list args;

	if (!error_open(err, code))
		return code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}

int error_system(struct error *err, int code, const char *format, ...)
{
	va_list args;
	size_t used;

	if (!error_open(err, code))
		return code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-code));
	return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
	char was[sizeof(err->text)];
	va_list args;
	size_t used;

	if (!err || !err->code)
		return;
	memcpy(was, err->text, sizeof(was));
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", was);
}
