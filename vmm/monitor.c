/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate/session.h"
#include "proto/paths.h"
#include "vmm/monitor_internal.h"
#include "vmm/sandbox.h"

#define GRACE_MS 30000u /* for a guest to shut down after its power button */

void monitor_log(void *context, const char *line)
{
	struct monitor *monitor = context;

	fprintf(stderr, "segue-vmm[%s]: %s\n", monitor->guest->name, line);
}

void monitor_state(struct monitor *monitor, Segue__RunState state, const char *text)
{
	monitor->state = state;
	if (text && *text)
		monitor_log(monitor, text);
	if (monitor->control)
		monitor_event(monitor, text);
}

/* ---- the journal ---- */

static int note(struct monitor *monitor, enum journal_what what, uint64_t epoch,
		struct error *err)
{
	struct journal_entry entry = {.what = what, .epoch = epoch};

	return journal_append(&monitor->journal, &entry, err);
}

/* May this monitor boot the guest, by what it knows of where the guest is? */
static int claim(struct monitor *monitor, struct error *err)
{
	const struct journal_entry *last = &monitor->journal.last;

	if ((last->what == JOURNAL_CEDED || last->what == JOURNAL_MOVED) &&
	    !monitor->options.force)
		return error_set(err, -EPERM,
				 "the journal says that this guest %s to %s (epoch %" PRIu64
				 "): starting it again here could run it twice. If it is nowhere "
				 "else any more, use --force",
				 last->what == JOURNAL_MOVED ? "has moved" : "was being handed",
				 last->peer[0] ? last->peer : "another host", last->epoch);
	return note(monitor, JOURNAL_OWNS, last->epoch + 1, err);
}

static int journal_start(struct monitor *monitor, struct error *err)
{
	char *path = paths_join(monitor->options.state_dir, monitor->guest->name, PATHS_JOURNAL);
	int r;

	if (!path)
		return error_set(err, -ENOMEM, "no memory for a path");
	r = journal_open(&monitor->journal, path, err);
	free(path);
	return r;
}

/* ---- the end ---- */

static void on_machine_gone(void *context)
{
	(void)context;
}

static void on_control_gone(void *context)
{
	(void)context;
}

void monitor_quit(struct monitor *monitor)
{
	monitor->quitting = true;
	if (!monitor_move_abandon(monitor))
		return; /* once more when the migration's threads have ended */
	if (!monitor->machine)
		return;
	monitor_console_close(monitor);
	uv_close((uv_handle_t *)&monitor->grace, NULL);
	monitor_move_close(monitor);
	if (monitor->control)
		control_close(monitor->control, on_control_gone, monitor);
	machine_destroy(monitor->machine, on_machine_gone, monitor);
	monitor->machine = NULL;
}

void monitor_over(struct monitor *monitor, Segue__RunState state, const char *text)
{
	if (monitor->quitting)
		return;
	if (monitor->journal.last.what == JOURNAL_OWNS)
		note(monitor, JOURNAL_ENDED, monitor->journal.last.epoch, NULL);
	monitor_state(monitor, state, text);
	monitor_quit(monitor);
}

static void on_machine(void *context, enum machine_event event, const char *text)
{
	struct monitor *monitor = context;

	switch (event) {
	case MACHINE_POWERED_OFF:
		monitor_over(monitor, SEGUE__RUN_STATE__RUN_STATE_STOPPED,
			     "the guest powered itself off");
		break;
	case MACHINE_REBOOTED:
		monitor_state(monitor, monitor->state, "the guest rebooted");
		break;
	case MACHINE_PANICKED:
		monitor_state(monitor, SEGUE__RUN_STATE__RUN_STATE_PANICKED, text);
		break;
	case MACHINE_FAILED:
		monitor_over(monitor, SEGUE__RUN_STATE__RUN_STATE_STOPPED, text);
		break;
	}
}

static void on_grace(uv_timer_t *timer)
{
	monitor_over(timer->data, SEGUE__RUN_STATE__RUN_STATE_STOPPED,
		     "the guest did not shut down in time and was stopped");
}

void monitor_terminate(struct monitor *monitor)
{
	bool runs = monitor->journal.last.what == JOURNAL_OWNS && monitor->machine &&
		    machine_running(monitor->machine);

	if (monitor->quitting)
		return;
	if (monitor->state == SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT && !monitor->warned) {
		monitor->warned = true;
		monitor_log(monitor, monitor->doubt);
		monitor_log(monitor, "not ending: this may be the only copy of the guest; ask "
				     "once more to end all the same");
		return;
	}
	if (!runs || uv_is_active((uv_handle_t *)&monitor->grace)) {
		monitor_over(monitor, SEGUE__RUN_STATE__RUN_STATE_STOPPED, "stopped by a signal");
		return;
	}
	monitor_log(monitor, "asked to end: pressing the guest's power button; once more to "
			     "stop it at once");
	machine_power_button(monitor->machine);
	uv_timer_start(&monitor->grace, on_grace, GRACE_MS, 0);
}

/* ---- the beginning ---- */

static void say_engine(struct monitor *monitor)
{
	char line[256];

	snprintf(line, sizeof(line), "engine %s (%s), writes tracked by %s",
		 machine_engine(monitor->machine)->ops->name, machine_why(monitor->machine),
		 monitor_tracking(monitor));
	monitor_log(monitor, line);
}

static int build(struct monitor *monitor, struct error *err)
{
	struct machine_observer observer = {.event = on_machine, .context = monitor};
	int r = machine_create(monitor->loop, monitor->guest, &observer, &monitor->machine, err);

	if (r)
		return r;
	say_engine(monitor);
	uv_timer_init(monitor->loop, &monitor->grace);
	monitor->grace.data = monitor;
	r = monitor_move_init(monitor, err);
	return r ? r : monitor_console_init(monitor, err);
}

/* Sanitizers make system calls of their own, which the sandbox has no reason to allow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* Each process a guest's address space runs in is a few descriptors here. */
#define PARAVIRTUAL_FILES 16384u

static int confine(struct monitor *monitor, struct error *err)
{
	struct sandbox_options options = {.state_dir = monitor->options.state_dir};
	int r;

	if (machine_engine(monitor->machine)->ops->platform == ENGINE_PV) {
		options.paravirtual = true;
		options.max_files = PARAVIRTUAL_FILES;
	}

	if (monitor->options.no_sandbox || SANITIZED) {
		monitor_log(monitor, "not sandboxed");
		return 0;
	}
	r = sandbox_enter(&options, err);
	if (!r && sandbox_notice())
		monitor_log(monitor, sandbox_notice());
	return r;
}

static int set_going(struct monitor *monitor, struct error *err)
{
	int r;

	if (monitor->receiver) {
		monitor->state = SEGUE__RUN_STATE__RUN_STATE_RECEIVING;
		return monitor_receive_start(monitor, err);
	}
	r = claim(monitor, err);
	if (!r)
		r = machine_boot(monitor->machine, err);
	if (!r && !monitor->options.paused)
		r = machine_resume(monitor->machine, 0, err);
	monitor->mover.held = monitor->options.paused;
	monitor->state = monitor->options.paused ? SEGUE__RUN_STATE__RUN_STATE_PAUSED
						 : SEGUE__RUN_STATE__RUN_STATE_RUNNING;
	return r;
}

static int open_all(struct monitor *monitor, struct error *err)
{
	int r = journal_start(monitor, err);

	if (!r)
		r = paths_socket(monitor->options.state_dir, monitor->guest->name,
				 &monitor->socket_path, err);
	if (!r)
		r = build(monitor, err);
	if (!r)
		r = control_open(monitor->loop, monitor->socket_path, &monitor_control_ops,
				 monitor, &monitor->control, err);
	if (!r && monitor->options.listen)
		r = monitor_receive(monitor, monitor->options.listen, err);
	if (!r)
		r = confine(monitor, err);
	return r ? r : set_going(monitor, err);
}

int monitor_open(uv_loop_t *loop, const struct monitor_options *options,
		 struct monitor **ret_monitor, struct error *err)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	int r;

	if (!monitor)
		return error_set(err, -ENOMEM, "no memory for a monitor");
	monitor->loop = loop;
	monitor->options = *options;
	monitor->guest = options->guest;
	monitor->journal.fd = -1;
	monitor->log_fd = -1;
	monitor->started = session_now();
	r = open_all(monitor, err);
	if (r) {
		error_system(err, r, "cannot start the guest");
		free(monitor->socket_path);
		free(monitor);
		return r;
	}
	*ret_monitor = monitor;
	return 0;
}

const char *monitor_listens(const struct monitor *monitor)
{
	return monitor->receiver ? receiver_address(monitor->receiver) : "";
}

int monitor_close(struct monitor *monitor)
{
	int code = monitor->state == SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT ||
		   (monitor->in.error.code && monitor->in.end != SW_RUNNING);

	sender_destroy(monitor->sender);
	receiver_destroy(monitor->receiver);
	journal_close(&monitor->journal);
	free(monitor->socket_path);
	free(monitor);
	return code;
}
