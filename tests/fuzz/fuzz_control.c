/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "vmm/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/*
 * A monitor's real control socket; the input is what one client sends before it hangs up.
 * Every client must be told by closed(), once, and none may get more than it asked for.
 */
static uv_loop_t loop;
static struct control *control;
static char path[64];
static unsigned closed, typed;

static void on_request(void *monitor, struct control_client *client,
		       const Segue__Request *request)
{
	struct error no = {0};

	(void)monitor;
	error_set(&no, -ENOSYS, "no");
	if (request->of_case == SEGUE__REQUEST__OF_EVENTS)
		control_subscribe(client);
	control_answer(client, request->id,
		       request->of_case == SEGUE__REQUEST__OF_CONSOLE ? NULL : &no);
}

static void on_closed(void *monitor, struct control_client *client)
{
	(void)monitor;
	(void)client;
	closed++;
}

static void on_typed(void *monitor, struct control_client *client, const uint8_t *data,
		     size_t len)
{
	(void)monitor;
	typed += (unsigned)len;
	control_console(client, data, len);
}

static const struct control_ops ops = {on_request, on_closed, on_typed};

static void clean(void)
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void start(void)
{
	char dir[] = "/tmp/segue-fuzz-XXXXXX";
	struct error err = {0};

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/c.sock", dir);
	uv_loop_init(&loop);
	if (control_open(&loop, path, &ops, NULL, &control, &err) < 0)
		abort();
	atexit(clean);
}

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned before = closed;
	char got[4096];
	size_t sent = 0;
	bool open = true;
	ssize_t n;
	int fd;

	if (!control)
		start();
	fd = connect_client();
	while (closed == before) {
		n = open && sent < len ? send(fd, data + sent, len - sent, MSG_NOSIGNAL) : 0;
		if (n > 0)
			sent += (size_t)n;
		if (open && (sent == len || (n < 0 && errno != EAGAIN))) {
			shutdown(fd, SHUT_WR);
			open = false;
		}
		uv_run(&loop, UV_RUN_NOWAIT);
		while (recv(fd, got, sizeof(got), 0) > 0)
			;
	}
	close(fd);
	if (closed != before + 1)
		abort();
	return 0;
}
