/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_EXIT_H
#define TOOLS_SEGUE_EXIT_H

/* What segue's exit code says; exit_codes[] in exit.c has the words for help and manual. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_GUEST = 3,
	EXIT_CANCELLED = 4,
	EXIT_IN_DOUBT = 5,
	EXIT_REFUSED = 6,
	EXIT_LATE = 7,
	EXIT_CODES,
};

extern const char *const exit_words[EXIT_CODES];

/*
 * The exit code for a failure with negative errno CODE, before there was a connection, and
 * of a request a monitor did not fulfil: there -ENOENT is not about the guest.
 */
enum exit_code exit_code_of(int code);
enum exit_code exit_code_of_answer(int code);

#endif
