/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/paths.h"

#define READ_CHUNK (64u << 10)

struct client {
	int fd;
	uint32_t last_id;
	int patience;
	char *name;
	struct buffer input;
};

void client_close(struct client *client)
{
	if (!client)
		return;
	if (client->fd >= 0)
		close(client->fd);
	buffer_done(&client->input);
	free(client->name);
	free(client);
}

void client_set_patience(struct client *client, int patience)
{
	client->patience = patience;
}

int client_fd(const struct client *client)
{
	return client->fd;
}

static int connect_error(const char *name, const char *path, struct error *err)
{
	if (errno == ENOENT)
		return error_set(err, -ENOENT,
				 "there is no guest \"%s\" here; \"segue ls\" lists "
				 "those there are",
				 name);
	if (errno == ECONNREFUSED)
		return error_set(
		    err, -ECONNREFUSED,
		    "the monitor of \"%s\" is gone (nobody listens at %s); its last words "
		    "are in %s.log",
		    name, path, name);
	if (errno == EAGAIN)
		return error_set(err, -EAGAIN, "the monitor of \"%s\" takes no connections",
				 name);
	return error_system(err, -errno, "%s", path);
}

static int connect_path(const char *name, const char *path, struct error *err)
{
	/* A monitor that is stopped takes no connections, and connect() would wait for ever. */
	const struct timeval patience = {.tv_sec = CLIENT_PATIENCE / 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return error_system(err, -errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	r = connect_error(name, path, err);
	close(fd);
	return r;
}

int client_connect(const char *state_dir, const char *name, struct client **ret_client,
		   struct error *err)
{
	struct client *client;
	char *path;
	int fd;

	if (!paths_name_valid(name))
		return error_set(err, -ENOENT, "\"%.80s\" cannot be a guest's name", name);
	fd = paths_socket(state_dir, name, &path, err);
	if (fd < 0)
		return fd;
	fd = connect_path(name, path, err);
	free(path);
	if (fd < 0)
		return fd;
	client = calloc(1, sizeof(*client));
	if (client)
		client->name = strdup(name);
	if (!client || !client->name) {
		free(client);
		close(fd);
		return error_set(err, -ENOMEM, "out of memory");
	}
	client->fd = fd;
	client->patience = CLIENT_PATIENCE;
	*ret_client = client;
	return 0;
}

static int send_frame(struct client *client, const ProtobufCMessage *message, struct error *err)
{
	struct buffer out = {0};
	int r = frame_append(&out, message);
	ssize_t n;

	if (r < 0)
		error_system(err, r, "cannot pack a request");
	for (size_t sent = 0; !r && sent < out.len; sent += (size_t)n) {
		n = send(client->fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n < 0) {
			r = error_system(err, -errno, "the monitor of \"%s\"", client->name);
			break;
		}
	}
	buffer_done(&out);
	return r;
}

int client_send(struct client *client, Segue__Request *request, struct error *err)
{
	request->id = ++client->last_id;
	return send_frame(client, &request->base, err);
}

int client_type(struct client *client, const void *data, size_t len, struct error *err)
{
	Segue__ConsoleData console = SEGUE__CONSOLE_DATA__INIT;

	console.data.data = (uint8_t *)data;
	console.data.len = len;
	return send_frame(client, &console.base, err);
}

/* A whole reply out of what has been read. 1 when there was one, 0 when more is needed. */
static int take_reply(struct client *client, Segue__Reply **ret_reply, struct error *err)
{
	struct buffer *in = &client->input;
	const uint8_t *body;
	ssize_t used;
	size_t len;

	used = frame_parse(in->data, in->len, &body, &len);
	if (!used)
		return 0;
	*ret_reply = used < 0 ? NULL : segue__reply__unpack(NULL, len, body);
	if (!*ret_reply)
		return error_set(err, -EBADMSG,
				 "the monitor of \"%s\" talks nonsense; is it of "
				 "another version?",
				 client->name);
	memmove(in->data, in->data + used, in->len - (size_t)used);
	in->len -= (size_t)used;
	return 1;
}

static int read_more(struct client *client, struct error *err)
{
	uint8_t *to = buffer_reserve(&client->input, READ_CHUNK);
	ssize_t n;

	if (!to)
		return error_set(err, -ENOMEM, "out of memory");
	n = recv(client->fd, to, READ_CHUNK, 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && errno != ECONNRESET)
		return error_system(err, -errno, "the monitor of \"%s\"", client->name);
	if (n <= 0)
		return error_set(err, -EPIPE, "the monitor of \"%s\" closed the connection",
				 client->name);
	client->input.len += (size_t)n;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int client_receive(struct client *client, int timeout, Segue__Reply **ret_reply,
		   struct error *err)
{
	int64_t end = now_ms() + timeout;

	for (;;) {
		struct pollfd p = {.fd = client->fd, .events = POLLIN};
		int r = take_reply(client, ret_reply, err);
		int64_t left = end - now_ms();

		if (r)
			return r < 0 ? r : 0;
		r = poll(&p, 1, timeout < 0 ? -1 : left > 0 ? (int)left : 0);
		if (r < 0)
			return errno == EINTR ? -EINTR : error_system(err, -errno, "poll");
		if (!r)
			return -ETIMEDOUT;
		r = read_more(client, err);
		if (r < 0)
			return r;
	}
}

static int answer_error(const struct client *client, const Segue__Reply *reply,
			struct error *err)
{
	int code = reply->error < 0 ? reply->error : -EPROTO;

	if (reply->text && *reply->text)
		return error_set(err, code, "%.460s", reply->text);
	return error_system(err, code, "the monitor of \"%s\"", client->name);
}

int client_call(struct client *client, Segue__Request *request, Segue__Reply **ret_reply,
		struct error *err)
{
	int64_t end = now_ms() + client->patience;
	int r = client_send(client, request, err);
	Segue__Reply *reply = NULL;

	while (!r) {
		int64_t left = end - now_ms();

		r = client_receive(client, left > 0 ? (int)left : 0, &reply, err);
		if (r == -ETIMEDOUT)
			return error_set(err, r, "the monitor of \"%s\" does not answer",
					 client->name);
		if (r == -EINTR)
			return error_set(err, r, "interrupted");
		if (r < 0)
			break;
		/* An error with id 0 is about the connection as a whole. */
		if (reply->error && (reply->id == request->id || !reply->id))
			r = answer_error(client, reply, err);
		else if (reply->id == request->id && ret_reply) {
			*ret_reply = reply;
			return 0;
		} else if (reply->id == request->id) {
			segue__reply__free_unpacked(reply, NULL);
			return 0;
		}
		segue__reply__free_unpacked(reply, NULL);
	}
	return r;
}

int client_show(struct client *client, Segue__Reply **ret_reply, struct error *err)
{
	Segue__ShowRequest show = SEGUE__SHOW_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	Segue__Reply *reply = NULL;
	int r;

	request.of_case = SEGUE__REQUEST__OF_SHOW;
	request.show = &show;
	r = client_call(client, &request, &reply, err);
	if (r < 0)
		return r;
	if (reply->of_case != SEGUE__REPLY__OF_SHOW) {
		segue__reply__free_unpacked(reply, NULL);
		return error_set(err, -EPROTO, "the monitor of \"%s\" gave no answer",
				 client->name);
	}
	*ret_reply = reply;
	return 0;
}
