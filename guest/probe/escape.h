/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PROBE_ESCAPE_H
#define GUEST_PROBE_ESCAPE_H

#include "probe.h"

/*
 * Attempts to reach the host. None of them knows anything of this monitor: what a host has
 * mapped next to guest memory is looked for and then tried. What would happen if one of them
 * got through is chosen to be seen from outside and to harm nobody: a file by the name of
 * ESCAPE_PATH, or ESCAPE_TEXT on one of the monitor's descriptors.
 */
#define ESCAPE_PATH "/tmp/segue-probe-escaped"
#define ESCAPE_TEXT "probe has escaped\n"
#define HOST_CALLS  600u

/* Arguments for a host's system call NUMBER, the WAYth set; strings are at TEXT (va). */
#define ESCAPE_WAYS 3u
void escape_arguments(uint64_t number, unsigned way, uint64_t text, uint64_t *args);
/* Puts both strings at TEXT. */
void escape_strings(char *text);

/* What a program can read above VA_END: pages that the host needs there. */
#define FOUND_MAX 4096u
struct found {
	unsigned n;
	uint64_t pages[FOUND_MAX]; /* va, ascending */
};
const struct found *escape_find(void); /* NULL: the search itself failed, as told */

/*
 * Runs CONTEXT (a program's) for a moment, with user->regs to LOAD: true if it stopped in any
 * way. One that is lost or hangs is replaced by a fresh one.
 */
bool escape_run(struct program *p);
extern int64_t escape_reason;    /* of the last one */
extern uint64_t escape_patience; /* ns; how long one that loops may */
/* Programs elsewhere, and the machine, are as they were. */
void escape_witness_new(void);
void escape_witness_check(void);

#endif
