/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_SPAWN_H
#define TOOLS_SEGUE_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/error.h"

/*
 * Starting a monitor. It says "ready\n" (as a destination "ready ADDR:PORT\n") on the
 * descriptor of --ready-fd, and before that, on stderr, what went wrong. Its stderr is
 * NAME.log in the state directory.
 */
struct spawn_options {
	const char *program; /* of segue, to find segue-vmm next to it */
	const char *state_dir;
	const char *file;    /* the guest's */
	const char *name;    /* the guest's */
	bool rename;         /* NAME is not the one in FILE */
	const char *receive; /* ADDR:PORT to be a destination at, or NULL */
	bool paused;
	bool force;
	bool no_sandbox;
};

struct spawned {
	pid_t pid;
	char listen[128]; /* of a destination: where */
};

/* Starts a monitor that outlives the caller, and waits until it is ready. */
int spawn_monitor(const struct spawn_options *options, struct spawned *ret_spawned,
		  struct error *err);

/* Becomes the monitor; returns only when that fails. */
int spawn_become(const struct spawn_options *options, struct error *err);

#endif
