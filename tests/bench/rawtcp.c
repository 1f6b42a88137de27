/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast TCP itself is between two places, with nothing but reads and writes:
 *   rawtcp receive ADDRESS STREAMS     prints "port N", then "bytes N ns N"
 *   rawtcp send ADDRESS PORT STREAMS MIB
 * The receiver's clock runs from the first stream's accept to the last stream's end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK   (1u << 20)
#define STREAMS 16

struct stream {
	pthread_t thread;
	int fd;
	uint64_t bytes;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "rawtcp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Memory that is really there: copying from the shared zero page would flatter the result. */
static void *chunk_new(void)
{
	void *chunk = malloc(CHUNK);

	if (!chunk)
		fail("malloc");
	memset(chunk, 0x5a, CHUNK);
	return chunk;
}

static void *drain(void *context)
{
	struct stream *s = context;
	void *chunk = chunk_new();
	ssize_t n;

	while ((n = read(s->fd, chunk, CHUNK)) > 0)
		s->bytes += (uint64_t)n;
	if (n < 0)
		fail("read");
	close(s->fd);
	free(chunk);
	return NULL;
}

static void *pump(void *context)
{
	struct stream *s = context;
	uint8_t *chunk = chunk_new();

	for (uint64_t left = s->bytes; left;) {
		ssize_t n = write(s->fd, chunk, left < CHUNK ? left : CHUNK);

		if (n < 0)
			fail("write");
		left -= (uint64_t)n;
	}
	close(s->fd);
	free(chunk);
	return NULL;
}

static void run_all(struct stream *streams, unsigned n, void *(*body)(void *))
{
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&streams[i].thread, NULL, body, &streams[i]))
			fail("thread");
	for (unsigned i = 0; i < n; i++)
		pthread_join(streams[i].thread, NULL);
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static struct sockaddr_in address(const char *host, unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		errno = EINVAL;
		fail(host);
	}
	return a;
}

static void receive_all(const char *host, unsigned n)
{
	struct sockaddr_in a = address(host, 0);
	socklen_t len = sizeof(a);
	struct stream streams[STREAMS] = { 0 };
	uint64_t begin = 0, bytes = 0;
	int fd = tcp_socket();

	if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, STREAMS) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		fail("listen");
	printf("port %u\n", ntohs(a.sin_port));
	fflush(stdout);
	for (unsigned i = 0; i < n; i++) {
		streams[i].fd = accept(fd, NULL, NULL);
		if (streams[i].fd < 0)
			fail("accept");
		if (!begin)
			begin = now_ns();
	}
	run_all(streams, n, drain);
	for (unsigned i = 0; i < n; i++)
		bytes += streams[i].bytes;
	printf("bytes %llu ns %llu\n", (unsigned long long)bytes,
	       (unsigned long long)(now_ns() - begin));
	close(fd);
}

static void send_all(const char *host, unsigned port, unsigned n, uint64_t bytes)
{
	struct sockaddr_in a = address(host, port);
	struct stream streams[STREAMS] = { 0 };

	for (unsigned i = 0; i < n; i++) {
		streams[i].fd = tcp_socket();
		streams[i].bytes = bytes / n;
		if (connect(streams[i].fd, (struct sockaddr *)&a, sizeof(a)))
			fail("connect");
	}
	run_all(streams, n, pump);
}

static unsigned stream_count(const char *text)
{
	unsigned long n = strtoul(text, NULL, 10);

	if (n < 1 || n > STREAMS) {
		errno = ERANGE;
		fail("streams");
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "receive")) {
		receive_all(argv[2], stream_count(argv[3]));
	} else if (argc == 6 && !strcmp(argv[1], "send")) {
		send_all(argv[2], (unsigned)strtoul(argv[3], NULL, 10), stream_count(argv[4]),
			 strtoull(argv[5], NULL, 10) << 20);
	} else {
		fprintf(stderr, "usage: rawtcp receive ADDRESS STREAMS\n"
				"       rawtcp send ADDRESS PORT STREAMS MIB\n");
		return 2;
	}
	return 0;
}
