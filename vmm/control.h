/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <uv.h>

#include "control.pb-c.h"
#include "proto/error.h"

/*
 * The monitor's Unix socket: takes requests in, hands them to the monitor, sends replies
 * and events out. Loop thread throughout.
 */
struct control;
struct control_client; /* one connection; valid until closed() */

/*
 * A connection becomes a console when a ConsoleRequest on it is answered with error 0.
 * From then on the client sends frames of bare ConsoleData, and gets Replies of id 0 with
 * ConsoleData in them.
 *
 * Anybody who can open the socket is the guest's owner, yet a client may be broken: one
 * that sends what is no Request, a frame over FRAME_MAX, or does not read is dropped.
 */
#define CONTROL_CLIENTS_MAX 64u
#define CONTROL_BACKLOG_MAX (8u << 20) /* bytes waiting for one client to read them */

/*
 * What the monitor does with requests. Every request is answered exactly once, at once or
 * later, by control_reply(); a client that goes away before is told by closed().
 */
struct control_ops {
	void (*request)(void *monitor, struct control_client *client,
			const Segue__Request *request);
	void (*closed)(void *monitor, struct control_client *client);
	/* Bytes typed on a connection that has become a console. */
	void (*typed)(void *monitor, struct control_client *client, const uint8_t *data,
		      size_t len);
};

/* Listens at PATH (mode 0600), replacing a socket nobody listens on. */
int control_open(uv_loop_t *loop, const char *path, const struct control_ops *ops,
		 void *monitor, struct control **ret_control, struct error *err);
/* Closes all; replies already queued are still sent. DONE when every handle is closed. */
void control_close(struct control *control, void (*done)(void *context), void *context);

/* Fills in the id of the request being answered. A client slower than 8 MiB is dropped. */
void control_reply(struct control_client *client, uint32_t id, Segue__Reply *reply);
/* Answers with what ERR says (code 0: done). */
void control_answer(struct control_client *client, uint32_t id, const struct error *err);
/* Sends REPLY, with an event in it, to every client that asked for events. */
void control_event(struct control *control, Segue__Reply *event);
void control_subscribe(struct control_client *client);
void control_console(struct control_client *client, const uint8_t *data, size_t len);

#endif
