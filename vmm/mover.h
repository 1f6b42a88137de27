/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MOVER_H
#define VMM_MOVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "migrate/migrate.h"
#include "vmm/loopcall.h"
#include "vmm/machine.h"

/*
 * A machine as the migration sees it: struct migrate_guest over struct machine. Its calls
 * come on the migration's thread and are handed to the loop thread where the machine wants
 * that.
 */
struct mover {
	struct machine *machine;
	struct loopcalls calls;
	struct migrate_region region;
	struct migrate_guest guest;
	/* The loop thread's. */
	bool held;       /* the operator paused the guest: no move sets it going */
	uint64_t held_since; /* CLOCK_MONOTONIC, ns: from when its clocks stand */
	bool digest;     /* log a hash of guest memory at both ends, for tests */
	void (*log)(void *context, const char *line);
	void *log_context;
};

/* NAME and MACHINE outlive the mover. PROGRESS is migrate_guest's. Loop thread. */
int mover_init(struct mover *mover, struct machine *machine, const char *name,
	       void (*progress)(void *context), struct error *err);
void mover_close(struct mover *mover);

#endif
