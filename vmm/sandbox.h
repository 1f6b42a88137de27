/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <stdbool.h>

#include "proto/error.h"

/*
 * Gives up all a monitor does not need once its guest is built: capabilities, files,
 * system calls. What a guest that has broken into the monitor is left with is this guest,
 * the state directory and TCP.
 */
struct sandbox_options {
	const char *state_dir;       /* files below may be made, written, removed */
	const char *const *readable; /* NULL-terminated: files still opened later (a kernel
				      * image, for a reboot), or NULL */
	const char *const
	    *writable;      /* NULL-terminated: more directories like state_dir, or NULL */
	unsigned max_files; /* open descriptors; 0: 1024 */
	bool paravirtual;   /* the guest is run by engine pv, not by kvm */
};

/*
 * Binds every thread there is and will be. Once, on the main thread, when everything that
 * needs a privilege has been opened; other threads may exist but must not block all signals.
 *
 * Afterwards a system call outside the table (sandbox_syscalls.c) kills the process; with
 * SEGUE_SANDBOX=log in the environment it is named on stderr and fails with ENOSYS instead.
 * After a failure the process is partly bound: end it.
 */
int sandbox_enter(const struct sandbox_options *options, struct error *err);

/* What this kernel could not give, one line for the log; NULL when nothing is missing. */
const char *sandbox_notice(void);

#endif
