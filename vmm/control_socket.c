/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/*
 * Of two monitors that find the same dead socket, the slower would unlink the quicker
 * one's new socket; a lock on the directory makes them take turns. -1: go without.
 */
static int lock_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(dir);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

/* 0: free to take; what was there and dead is gone. */
static int clear_dead(const struct sockaddr_un *address, struct error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;

	if (fd < 0)
		return error_system(err, -errno, "cannot make a socket");
	if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN)
		r = error_set(err, -EADDRINUSE, "%s: a monitor is listening there already",
			      address->sun_path);
	else if (errno == ECONNREFUSED && unlink(address->sun_path) < 0)
		r = error_system(err, -errno, "cannot remove %s", address->sun_path);
	else if (errno != ECONNREFUSED && errno != ENOENT)
		r = error_system(err, -errno, "%s", address->sun_path);
	close(fd);
	return r;
}

static int bind_and_listen(uv_pipe_t *listener, const char *path, uv_connection_cb accept,
			   struct error *err)
{
	mode_t was = umask(0177);
	int r = uv_pipe_bind(listener, path);

	umask(was);
	if (!r)
		r = uv_listen((uv_stream_t *)listener, BACKLOG, accept);
	return r < 0 ? error_system(err, r, "cannot listen at %s", path) : 0;
}

int control_socket_listen(uv_pipe_t *listener, const char *path, uv_connection_cb accept,
			  struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int lock, r;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	lock = lock_directory(path);
	r = clear_dead(&address, err);
	if (!r)
		r = bind_and_listen(listener, path, accept, err);
	if (lock >= 0)
		close(lock);
	return r;
}
