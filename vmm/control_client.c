/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

#define READ_CHUNK (64u << 10)

static void client_unlink(struct control_client *client)
{
	struct control_client **at = &client->control->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	client->control->n_clients--;
}

static void client_closed(uv_handle_t *handle)
{
	struct control_client *client = handle->data;
	struct control *control = client->control;

	client_unlink(client);
	control->ops->closed(control->monitor, client);
	buffer_done(&client->input);
	free(client);
	if (control->closing && !control->clients)
		control_linger_end(control);
	control_handle_closed(control);
}

/* closed() comes later, from the loop: whoever holds the client finds it whole until then. */
void control_client_drop(struct control_client *client)
{
	client->dropped = true;
	if (!uv_is_closing((uv_handle_t *)&client->pipe))
		uv_close((uv_handle_t *)&client->pipe, client_closed);
}

static void client_flushed(uv_shutdown_t *request, int status)
{
	(void)status;
	control_client_drop(request->data);
}

/* Drops the client once it has been sent what is queued. */
void control_client_finish(struct control_client *client)
{
	if (client->dropped)
		return;
	client->dropped = true;
	uv_read_stop((uv_stream_t *)&client->pipe);
	client->shutdown.data = client;
	if (uv_shutdown(&client->shutdown, (uv_stream_t *)&client->pipe, client_flushed) < 0)
		control_client_drop(client);
}

struct out {
	uv_write_t request;
	struct buffer bytes;
};

static void out_free(struct out *out)
{
	buffer_done(&out->bytes);
	free(out);
}

static void out_written(uv_write_t *request, int status)
{
	struct control_client *client = request->handle->data;

	if (status < 0)
		control_client_drop(client);
	out_free(request->data);
}

void control_client_send(struct control_client *client, const Segue__Reply *reply)
{
	struct out *out;
	uv_buf_t buf;

	if (client->dropped)
		return;
	out = calloc(1, sizeof(*out));
	if (!out || frame_append(&out->bytes, &reply->base) < 0)
		goto fail;
	if (uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) + out->bytes.len >
	    CONTROL_BACKLOG_MAX)
		goto fail;
	out->request.data = out;
	buf = uv_buf_init((char *)out->bytes.data, (unsigned)out->bytes.len);
	if (uv_write(&out->request, (uv_stream_t *)&client->pipe, &buf, 1, out_written) < 0)
		goto fail;
	return;
fail:
	/* A reply that cannot be had must not be waited for either. */
	if (out)
		out_free(out);
	control_client_drop(client);
}

void control_reply(struct control_client *client, uint32_t id, Segue__Reply *reply)
{
	reply->id = id;
	control_client_send(client, reply);
	if (!client->console_asked || client->console_id != id)
		return;
	client->console_asked = false;
	if (!reply->error)
		client->mode = CLIENT_CONSOLE;
}

void control_answer(struct control_client *client, uint32_t id, const struct error *err)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;

	if (err && err->code) {
		reply.error = err->code;
		reply.text = (char *)err->text;
	}
	control_reply(client, id, &reply);
}

void control_subscribe(struct control_client *client)
{
	client->subscribed = true;
}

void control_console(struct control_client *client, const uint8_t *data, size_t len)
{
	Segue__ConsoleData console = SEGUE__CONSOLE_DATA__INIT;
	Segue__Reply reply = SEGUE__REPLY__INIT;
	size_t step;

	reply.of_case = SEGUE__REPLY__OF_CONSOLE;
	reply.console = &console;
	for (; len; data += step, len -= step) {
		step = len < READ_CHUNK ? len : READ_CHUNK;
		console.data.data = (uint8_t *)data;
		console.data.len = step;
		control_client_send(client, &reply);
	}
}

static void client_refuse(struct control_client *client, int code, const char *text)
{
	struct error err = {0};

	error_set(&err, code, "%s", text);
	control_answer(client, 0, &err);
	control_client_finish(client);
}

static void take_typed(struct control_client *client, const uint8_t *body, size_t len)
{
	struct control *control = client->control;
	Segue__ConsoleData *data = segue__console_data__unpack(NULL, len, body);

	if (!data) {
		client_refuse(client, -EBADMSG, "not console data");
		return;
	}
	if (data->data.len)
		control->ops->typed(control->monitor, client, data->data.data, data->data.len);
	segue__console_data__free_unpacked(data, NULL);
}

static void take_request(struct control_client *client, const uint8_t *body, size_t len)
{
	struct control *control = client->control;
	Segue__Request *request = segue__request__unpack(NULL, len, body);
	struct error err = {0};

	if (!request) {
		client_refuse(client, -EBADMSG, "not a request");
		return;
	}
	if (request->of_case == SEGUE__REQUEST__OF__NOT_SET) {
		/* A newer client's: it learns so, and may go on with what we know. */
		error_set(&err, -EOPNOTSUPP, "this monitor does not know the request");
		control_answer(client, request->id, &err);
	} else {
		if (request->of_case == SEGUE__REQUEST__OF_CONSOLE) {
			client->console_asked = true;
			client->console_id = request->id;
		}
		control->ops->request(control->monitor, client, request);
	}
	segue__request__free_unpacked(request, NULL);
}

static void client_parse(struct control_client *client)
{
	struct buffer *in = &client->input;
	size_t used = 0, len;
	const uint8_t *body;
	ssize_t n = 0;

	while (!client->dropped) {
		n = frame_parse(in->data + used, in->len - used, &body, &len);
		if (n <= 0)
			break;
		if (client->mode == CLIENT_CONSOLE)
			take_typed(client, body, len);
		else
			take_request(client, body, len);
		used += (size_t)n;
	}
	if (n < 0 && !client->dropped)
		client_refuse(client, (int)n, "a message too long");
	memmove(in->data, in->data + used, in->len - used);
	in->len -= used;
}

static void client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct control_client *client = handle->data;

	(void)suggested;
	buf->base = (char *)buffer_reserve(&client->input, READ_CHUNK);
	buf->len = buf->base ? READ_CHUNK : 0;
}

static void client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct control_client *client = stream->data;

	(void)buf;
	if (n < 0) {
		control_client_drop(client);
		return;
	}
	client->input.len += (size_t)n;
	if (n)
		client_parse(client);
}

void control_client_accept(struct control *control)
{
	uv_stream_t *listener = (uv_stream_t *)&control->listener;
	struct control_client *client = calloc(1, sizeof(*client));

	if (!client)
		return;
	client->control = control;
	client->pipe.data = client;
	uv_pipe_init(listener->loop, &client->pipe, 0);
	client->next = control->clients;
	control->clients = client;
	control->n_clients++;
	control->n_handles++;
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0)
		control_client_drop(client);
	else if (control->n_clients > CONTROL_CLIENTS_MAX)
		client_refuse(client, -EUSERS, "too many clients");
	else if (uv_read_start((uv_stream_t *)&client->pipe, client_alloc, client_read) < 0)
		control_client_drop(client);
}
