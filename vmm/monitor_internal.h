/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_MONITOR_INTERNAL_H
#define VMM_MONITOR_INTERNAL_H

#include <pthread.h>

#include "migrate/journal.h"
#include "migrate/receiver.h"
#include "migrate/sender.h"
#include "vmm/console.h"
#include "vmm/control.h"
#include "vmm/monitor.h"
#include "vmm/mover.h"

/* A control client that has become a console's reader. */
struct monitor_console {
	struct monitor *monitor;
	struct console_reader reader;
	struct buffer output; /* under the machine lock: what the loop has yet to send */
	struct control_client *client;
	struct console *console;
	struct monitor_console *next;
};

/* Who is to be answered when something that takes its time has ended. */
struct monitor_waiter {
	struct control_client *client; /* NULL: nobody, or it went away */
	uint32_t id;
};

/* One side of a move on a thread of its own. */
struct monitor_move {
	pthread_t thread;
	bool active;              /* the thread is there */
	atomic_bool ended;        /* thread: nothing more will come, and the rest is valid */
	struct error error;
	enum switchover_state end;
};

struct monitor {
	uv_loop_t *loop;
	struct monitor_options options;
	const Segue__Guest *guest;
	struct machine *machine;
	struct control *control;
	struct journal journal;
	char *socket_path;
	uint64_t started;            /* CLOCK_MONOTONIC, ns */
	Segue__RunState state;
	struct monitor_console *consoles;
	uv_async_t output;           /* consoles have output: vCPU threads write it */
	struct console_reader log;   /* the serial port's, into log_fd */
	int log_fd;
	uv_timer_t grace;            /* from the power button to the end, on SIGTERM */

	/*
	 * Moves. A guest that has come in may go on at once, while the receiver still answers
	 * the source's questions.
	 */
	struct mover mover;
	struct sender *sender;
	struct receiver *receiver;
	struct monitor_move out, in;
	uv_async_t moved;            /* state, progress or end of a move: look */
	atomic_bool arrived;         /* receiver's thread: the guest runs here */
	bool dry_run;
	bool quitting;
	bool warned;                 /* asked to end in doubt, and told what that means */
	struct session_progress progress; /* the last known */
	bool has_progress;
	struct monitor_waiter move_waiter;
	struct monitor_waiter pause_waiter;
	struct monitor_waiter recover_waiter;
	char doubt[512];
};

/* monitor.c */
void monitor_log(void *monitor, const char *line);
void monitor_state(struct monitor *monitor, Segue__RunState state, const char *text);
void monitor_quit(struct monitor *monitor);
/* The guest has ended by itself, or was stopped. */
void monitor_over(struct monitor *monitor, Segue__RunState state, const char *text);

/* monitor_requests.c */
extern const struct control_ops monitor_control_ops;
/* monitor_console.c */
int monitor_console_init(struct monitor *monitor, struct error *err);
void monitor_console_close(struct monitor *monitor);
void monitor_console(struct monitor *monitor, struct control_client *client, uint32_t id,
		     bool serial);
void monitor_console_typed(struct monitor *monitor, struct control_client *client,
			   const uint8_t *data, size_t len);
/* CLIENT's, or with NULL everybody's. */
void monitor_console_forget(struct monitor *monitor, struct control_client *client);

/* monitor_show.c */
const char *monitor_tracking(struct monitor *monitor); /* in words */
void monitor_show(struct monitor *monitor, struct control_client *client, uint32_t id);
void monitor_event(struct monitor *monitor, const char *text);

/* monitor_move.c */
int monitor_move_init(struct monitor *monitor, struct error *err);
int monitor_receive(struct monitor *monitor, const char *listen, struct error *err);
int monitor_receive_start(struct monitor *monitor, struct error *err);
int monitor_send(struct monitor *monitor, const Segue__MoveRequest *request, struct error *err);
void monitor_move_cancel(struct monitor *monitor);
/* The monitor ends: so shall its moves, whatever becomes of them. True when none is left. */
bool monitor_move_abandon(struct monitor *monitor);
void monitor_move_close(struct monitor *monitor);

#endif
