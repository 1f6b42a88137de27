/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SANDBOX_INTERNAL_H
#define VMM_SANDBOX_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/sandbox.h"

/*
 * Runs FUNCTION on every thread of this process, the calling one first. It must be
 * async-signal-safe and return 0 or a negative errno; the first failure ends the round.
 */
int sandbox_on_threads(int (*function)(const void *context), const void *context,
		       struct error *err);

/*
 * Prepares a Landlock ruleset. *ret_fd is -1 where the kernel has none; then *ret_notice
 * says so. The caller closes it.
 */
int sandbox_landlock_prepare(const struct sandbox_options *options, int *ret_fd,
			     const char **ret_notice, struct error *err);
int sandbox_landlock_enforce(int fd); /* this thread; async-signal-safe */

/* Installs the system call filter on all threads. */
int sandbox_seccomp(const struct sandbox_options *options, struct error *err);

/* Whether the arguments of a permitted system call matter, and how. */
enum sandbox_test {
	SANDBOX_ANY,
	SANDBOX_BITS, /* (argument & mask) == value */
	SANDBOX_SELF, /* the argument is this process's id */
};

struct sandbox_syscall {
	const char *name;
	const char *why;
	enum sandbox_test test;
	unsigned argument;
	uint64_t mask, value;
};

struct sandbox_ioctl {
	unsigned long request;
	const char *why;
};

/* What every monitor may do, and what one engine needs besides. */
extern const struct sandbox_syscall sandbox_syscalls[]; /* ends with a NULL name */
extern const struct sandbox_syscall sandbox_syscalls_pv[];
extern const struct sandbox_ioctl sandbox_ioctls[];     /* ends with a NULL why */
extern const struct sandbox_ioctl sandbox_ioctls_kvm[];
extern const struct sandbox_ioctl sandbox_ioctls_pv[];

#endif
