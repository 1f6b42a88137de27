/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "vmm/control_socket.h"

#define CLOSE_WAIT 1000u /* ms given to clients to take what is still queued for them */

void control_handle_closed(struct control *control)
{
	void (*done)(void *context) = control->done;
	void *context = control->done_context;

	if (--control->n_handles)
		return;
	free(control);
	if (done)
		done(context);
}

void control_event(struct control *control, Segue__Reply *event)
{
	event->id = 0;
	for (struct control_client *c = control->clients; c; c = c->next)
		if (c->subscribed)
			control_client_send(c, event);
}

static void connection(uv_stream_t *listener, int status)
{
	struct control *control = listener->data;

	if (!status && !control->closing)
		control_client_accept(control);
}

static void part_closed(uv_handle_t *handle)
{
	control_handle_closed(handle->data);
}

int control_open(uv_loop_t *loop, const char *path, const struct control_ops *ops,
		 void *monitor, struct control **ret_control, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return error_set(err, -ENOMEM, "out of memory");
	/* libuv writes with write(2); a client that went away must not end the monitor. */
	signal(SIGPIPE, SIG_IGN);
	control->ops = ops;
	control->monitor = monitor;
	control->n_handles = 2;
	uv_pipe_init(loop, &control->listener, 0);
	uv_timer_init(loop, &control->linger);
	control->listener.data = control;
	control->linger.data = control;
	r = control_socket_listen(&control->listener, path, connection, err);
	if (r < 0)
		control_close(control, NULL, NULL);
	else
		*ret_control = control;
	return r;
}

static void linger_over(uv_timer_t *timer)
{
	struct control *control = timer->data;

	for (struct control_client *c = control->clients; c; c = c->next)
		control_client_drop(c);
}

void control_linger_end(struct control *control)
{
	if (!uv_is_closing((uv_handle_t *)&control->linger))
		uv_close((uv_handle_t *)&control->linger, part_closed);
}

void control_close(struct control *control, void (*done)(void *context), void *context)
{
	control->closing = true;
	control->done = done;
	control->done_context = context;
	uv_close((uv_handle_t *)&control->listener, part_closed);
	for (struct control_client *c = control->clients; c; c = c->next)
		control_client_finish(c);
	if (control->clients)
		uv_timer_start(&control->linger, linger_over, CLOSE_WAIT, 0);
	else
		control_linger_end(control);
}
