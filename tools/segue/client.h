/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_CLIENT_H
#define TOOLS_SEGUE_CLIENT_H

#include "control.pb-c.h"
#include "proto/error.h"

/*
 * A connection to one monitor, blocking, for one thread. What comes is a segue.Reply;
 * those with id 0 are events and console data, the others answer the request of that id.
 */
struct client;

#define CLIENT_PATIENCE 10000 /* ms a monitor is given to answer an ordinary request */

/*
 * -ENOENT: no guest of that name; -ECONNREFUSED: its monitor is gone; -EAGAIN: it
 * does not take connections within CLIENT_PATIENCE.
 */
int client_connect(const char *state_dir, const char *name, struct client **ret_client,
		   struct error *err);
void client_close(struct client *client); /* NULL is fine */

/* How long client_call() waits for an answer, in ms; CLIENT_PATIENCE if not set. */
void client_set_patience(struct client *client, int patience);
int client_fd(
    const struct client *client); /* to poll; the client may hold replies already read */

/* Sends; fills in the request's id and leaves it there to be compared. */
int client_send(struct client *client, Segue__Request *request, struct error *err);
int client_type(struct client *client, const void *data, size_t len, struct error *err);

/*
 * The next reply of any kind; free with segue__reply__free_unpacked(). TIMEOUT in ms, -1
 * for ever. -ETIMEDOUT and -EINTR leave ERR alone: the caller goes on. -EPIPE: the monitor
 * closed the connection.
 */
int client_receive(struct client *client, int timeout, Segue__Reply **ret_reply,
		   struct error *err);

/*
 * Sends and waits for the answer, passing over events. An answer with an error in it
 * becomes that error. RET_REPLY may be NULL.
 */
int client_call(struct client *client, Segue__Request *request, Segue__Reply **ret_reply,
		struct error *err);

/* What a monitor says about its guest; *ret_reply has .show set. */
int client_show(struct client *client, Segue__Reply **ret_reply, struct error *err);

#endif
