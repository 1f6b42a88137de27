/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

/*
 * An error as a person will read it, filled by whoever knows what went wrong and
 * passed up unchanged. Library code never prints; it fills one of these.
 *
 * A caller passes a zeroed struct error, or NULL when it wants the code alone.
 */
struct error {
	int code;       /* negative errno, 0 while nothing went wrong */
	char text[480]; /* one sentence, no final newline */
};

/*
 * Records CODE (negative errno) and the formatted text, and returns CODE, so that a
 * failing function ends with `return error_set(err, -EINVAL, "...")`. The first error
 * stays: a later one, met while cleaning up, does not hide it. ERR may be NULL.
 */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), with ": " and the system's words for CODE appended. */
int error_system(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts CONTEXT and ": " in front of a text that is already there. */
void error_prefix(struct error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
