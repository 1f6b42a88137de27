/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MONITOR_H
#define VMM_MONITOR_H

#include <stdbool.h>
#include <uv.h>

#include "guest.pb-c.h"
#include "proto/error.h"

/*
 * A monitor: one guest from its file to its end. Ties the machine, the migration, the
 * journal and the control socket together. Loop thread throughout.
 */
struct monitor;

struct monitor_options {
	const Segue__Guest *guest;
	const char *state_dir;
	const char *listen; /* ADDRESS:PORT: wait for the guest to be moved here; NULL: boot it */
	bool paused;        /* built, not set going */
	bool no_sandbox;
	bool force;         /* boot although the journal says the guest is elsewhere */
};

/* Everything until the guest runs or is waited for. What OPTIONS points to outlives it. */
int monitor_open(uv_loop_t *loop, const struct monitor_options *options,
		 struct monitor **ret_monitor, struct error *err);
/* For those who wait for readiness: where a source can connect to; "" when nowhere. */
const char *monitor_listens(const struct monitor *monitor);
/* Ends as if the host were shutting down: a running guest gets the power button first. */
void monitor_terminate(struct monitor *monitor);
/* Once the loop has run dry. The process's exit code: 0 unless the guest was lost. */
int monitor_close(struct monitor *monitor);

#endif
