/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONTROL_INTERNAL_H
#define VMM_CONTROL_INTERNAL_H

#include <stdbool.h>

#include "proto/buffer.h"
#include "vmm/control.h"

/* Shared by control.c, which has the listener, and control_client.c. Loop thread. */

struct control {
	uv_pipe_t listener;
	uv_timer_t linger; /* bounds control_close() */
	const struct control_ops *ops;
	void *monitor;
	struct control_client *clients;
	unsigned n_clients;
	unsigned n_handles; /* not yet closed: listener, linger and one a client */
	bool closing;
	void (*done)(void *context);
	void *done_context;
};

enum client_mode { CLIENT_REQUESTS, CLIENT_CONSOLE };

struct control_client {
	uv_pipe_t pipe;
	uv_shutdown_t shutdown;
	struct control *control;
	struct control_client *next;
	struct buffer input;
	enum client_mode mode;
	uint32_t console_id; /* of a ConsoleRequest not yet answered */
	bool console_asked;
	bool subscribed;
	bool dropped; /* being closed: takes and gives nothing more */
};

/* Takes one waiting connection from the listener. */
void control_client_accept(struct control *control);
void control_client_send(struct control_client *client, const Segue__Reply *reply);
/* Closes it, at once or once it has been sent what is queued; closed() comes later. */
void control_client_drop(struct control_client *client);
void control_client_finish(struct control_client *client);

/* The last client of a closing CONTROL is gone: no need to wait on. */
void control_linger_end(struct control *control);
/* A handle of CONTROL's is closed; with the last one CONTROL goes. */
void control_handle_closed(struct control *control);

#endif
