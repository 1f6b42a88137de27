/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS 10000u

/* 0 when FD is ready for EVENTS, -ETIMEDOUT, or what poll() says. */
static int tcp_wait(int fd, short events, unsigned timeout_ms)
{
	struct pollfd one = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&one, 1, (int)timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* Takes BYTES off the front of what *IOV and *COUNT still describe. */
static void iov_advance(struct iovec **iov, unsigned *count, size_t bytes)
{
	while (*count && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}

static unsigned iov_limit(unsigned count)
{
	return count < 1024 ? count : 1024; /* UIO_MAXIOV, socket(7) */
}

static int tcp_send(struct channel *channel, struct iovec *iov, unsigned count)
{
	iov_advance(&iov, &count, 0);
	while (count) {
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = iov_limit(count)};
		ssize_t put = sendmsg(channel->fd, &message, MSG_NOSIGNAL);
		int r;

		if (put >= 0) {
			iov_advance(&iov, &count, (size_t)put);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = tcp_wait(channel->fd, POLLOUT, channel->stall_ms);
		if (r)
			return r;
	}
	return 0;
}

static int tcp_receive(struct channel *channel, struct iovec *iov, unsigned count)
{
	bool begun = false;

	iov_advance(&iov, &count, 0);
	while (count) {
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = iov_limit(count)};
		ssize_t got = recvmsg(channel->fd, &message, 0);
		int r;

		if (got == 0)
			return begun ? -ECONNRESET : -ENODATA;
		if (got > 0) {
			begun = true;
			iov_advance(&iov, &count, (size_t)got);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = tcp_wait(channel->fd, POLLIN, channel->stall_ms);
		if (r)
			return r;
	}
	return 0;
}

static void tcp_shut(struct channel *channel)
{
	shutdown(channel->fd, SHUT_RDWR);
}

static void tcp_close(struct channel *channel)
{
	close(channel->fd);
}

static const struct channel_ops tcp_ops = {
	.send = tcp_send,
	.receive = tcp_receive,
	.shut = tcp_shut,
	.close = tcp_close,
};

static void tcp_adopt(struct channel *channel, int fd)
{
	int on = 1;

	*channel = (struct channel){
		.ops = &tcp_ops,
		.fd = fd,
		.stall_ms = STALL_MS,
		.record_fd = -1,
	};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Splits "HOST:PORT" or "[HOST]:PORT" in place; "" for the host means any address. */
static int address_split(char *text, char **ret_host, char **ret_port)
{
	char *colon = strrchr(text, ':'), *host = text;

	if (!colon || !colon[1])
		return -EINVAL;
	*colon = '\0';
	if (*host == '[') {
		char *close = strrchr(host, ']');

		if (!close || close[1])
			return -EINVAL;
		*close = '\0';
		host++;
	}
	*ret_host = *host ? host : NULL;
	*ret_port = colon + 1;
	return 0;
}

static int address_resolve(const char *address, int flags, struct addrinfo **ret_list,
			   struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
	char text[300], *host, *port;
	int r;

	if (snprintf(text, sizeof(text), "%s", address) >= (int)sizeof(text) ||
	    address_split(text, &host, &port))
		return error_set(err, -EINVAL, "'%s' is not an address: write HOST:PORT", address);
	r = getaddrinfo(host, port, &hints, ret_list);
	if (r)
		return error_set(err, -EHOSTUNREACH, "cannot find '%s': %s", address,
				 gai_strerror(r));
	return 0;
}

static int connect_one(const struct addrinfo *to, unsigned timeout_ms, int *ret_fd)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(int);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS)
		r = -errno;
	if (!r)
		r = tcp_wait(fd, POLLOUT, timeout_ms);
	if (!r && getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &len))
		r = errno;
	if (r > 0)
		r = -r;
	if (r) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int channel_tcp_connect(struct channel *channel, const char *address, unsigned timeout_ms,
			struct error *err)
{
	struct addrinfo *list, *to;
	int r = address_resolve(address, AI_NUMERICHOST, &list, err), fd = -1;

	if (r)
		return r;
	r = -EHOSTUNREACH;
	for (to = list; to && r; to = to->ai_next)
		r = connect_one(to, timeout_ms, &fd);
	freeaddrinfo(list);
	if (r)
		return error_system(err, r, "cannot connect to %s", address);
	tcp_adopt(channel, fd);
	return 0;
}

static int listen_one(const struct addrinfo *at, int *ret_fd)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 32)) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static void address_of(int fd, char *text, size_t size)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char host[64] = "?", port[16] = "?";

	if (!getsockname(fd, (struct sockaddr *)&bound, &len))
		getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int channel_tcp_listen(const char *address, int *ret_fd, char *ret_address, size_t size,
		       struct error *err)
{
	struct addrinfo *list, *at;
	int r = address_resolve(address, AI_PASSIVE | AI_NUMERICHOST, &list, err);

	if (r)
		return r;
	r = -EADDRNOTAVAIL;
	for (at = list; at && r; at = at->ai_next)
		r = listen_one(at, ret_fd);
	freeaddrinfo(list);
	if (r)
		return error_system(err, r, "cannot listen at %s", address);
	address_of(*ret_fd, ret_address, size);
	return 0;
}

int channel_tcp_accept(struct channel *channel, int listen_fd, struct error *err)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return error_system(err, -errno, "cannot take a connection");
	tcp_adopt(channel, fd);
	return 0;
}
