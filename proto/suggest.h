/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_SUGGEST_H
#define PROTO_SUGGEST_H

#include <stddef.h>

/* "Did you mean ...?" for keys of a file and words of a command line. */

/*
 * The nearest of N candidates to WORD by edit distance, or NULL when none is near enough
 * to be what somebody meant. NULL candidates are passed over.
 */
const char *suggest(const char *word, const char *const *candidates, size_t n);

#endif
