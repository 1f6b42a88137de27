/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_OUTPUT_H
#define TOOLS_SEGUE_OUTPUT_H

#include <jansson.h>

#include "tools/segue/command.h"

/*
 * Says what went wrong: on stderr, and with --json as an object on stdout too (error: a
 * negative errno; text; exit). Returns
 * CODE, so that a command can end with it.
 */
enum exit_code output_error(const struct invocation *invocation, const struct error *err,
			    enum exit_code code);
/* As above with the code that belongs to the error; the second for a monitor's answer. */
enum exit_code output_failure(const struct invocation *invocation, const struct error *err);

enum exit_code output_answer(const struct invocation *invocation, const struct error *err);

/* Prints JSON and lets go of it; NULL is "out of memory". */
enum exit_code output_json(json_t *json);
/* One line of it, flushed: for streams of events. */
enum exit_code output_json_line(json_t *json);

/* Text of a guest's or a peer's, with what would drive a terminal taken out; BUF returned. */
char *output_clean(char *buf, size_t size, const char *text);

/* "running" and so on. */
char *output_state(char *buf, size_t size, Segue__RunState state);

#endif
