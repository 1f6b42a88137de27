/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection that carries pseudo-random bytes both ways at once; each end computes what
 * must come and compares every byte.
 *
 *   tcpcheck --serve PORT [--rate BYTES/S] [--report P (5002)]
 *   tcpcheck --connect ADDRESS:PORT --seconds S [--rate BYTES/S]
 *
 * The client begins with a seed of eight bytes. When its time is up, or at SIGUSR1, it ends its
 * direction; the server then ends its own, after saying in 16 bytes how much it got and sent
 * before. So what was lost at the very end shows as well.
 */
#include "common.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK     16384
#define TAIL      16
#define TO_CLIENT 0x5345525645ull

static _Atomic uint64_t total_sent, total_received, total_errors, total_connections;
static _Atomic uint64_t total_broken, open_connections;

/* One direction: a sequence of bytes, made eight at a time. */
struct stream {
	uint64_t state;
	uint8_t word[8];
	unsigned int used;
	uint64_t count;
};

static void stream_start(struct stream *stream, uint64_t seed)
{
	*stream = (struct stream){.state = seed, .used = 8};
}

static void stream_fill(struct stream *stream, uint8_t *to, size_t len)
{
	stream->count += len;
	while (len) {
		size_t part = 8 - stream->used;

		if (!part) {
			uint64_t next = htole64(prng_next(&stream->state));

			memcpy(stream->word, &next, 8);
			stream->used = 0;
			part = 8;
		}
		if (part > len)
			part = len;
		memcpy(to, stream->word + stream->used, part);
		stream->used += (unsigned int)part;
		to += part;
		len -= part;
	}
}

struct end {
	int fd;
	bool client;
	uint64_t until;
	struct stream out, in;
	struct pace pace;
	struct gap gap;
	uint64_t errors, first_error;
	uint8_t tail[TAIL]; /* client: the last bytes that came, not yet known to be data */
	size_t tail_len;
	pthread_t sender;
	_Atomic bool peer_done;
	_Atomic int broken; /* errno */
};

static int send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

		if (sent < 0)
			return -errno;
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

static volatile sig_atomic_t told_to_end;

static void on_signal(int number)
{
	(void)number;
	told_to_end = 1;
}

static bool sending_over(const struct end *end)
{
	if (!end->client)
		return end->peer_done;
	return told_to_end || clock_ns(CLOCK_MONOTONIC) >= end->until;
}

static void *send_loop(void *context)
{
	struct end *end = context;
	uint8_t chunk[CHUNK];
	int error;

	while (!sending_over(end) && !end->broken) {
		stream_fill(&end->out, chunk, sizeof(chunk));
		error = send_all(end->fd, chunk, sizeof(chunk));
		if (error) {
			end->broken = -error;
			break;
		}
		total_sent += sizeof(chunk);
		pace_wait(&end->pace, sizeof(chunk));
	}
	if (end->client)
		shutdown(end->fd, SHUT_WR);
	return NULL;
}

static void compare(struct end *end, const uint8_t *data, size_t len)
{
	uint8_t want[CHUNK + TAIL];
	uint64_t at = end->in.count;

	stream_fill(&end->in, want, len);
	total_received += len;
	if (memcmp(want, data, len) == 0)
		return;
	for (size_t i = 0; i < len; i++) {
		if (want[i] == data[i])
			continue;
		if (!end->errors++)
			end->first_error = at + i;
		total_errors++;
	}
}

/* The client holds the last TAIL bytes back: they are the server's counts, not data. */
static void arrived(struct end *end, const uint8_t *data, size_t len)
{
	uint8_t joined[CHUNK + TAIL];
	size_t all = end->tail_len + len, keep;

	if (!end->client) {
		compare(end, data, len);
		return;
	}
	memcpy(joined, end->tail, end->tail_len);
	memcpy(joined + end->tail_len, data, len);
	keep = all < TAIL ? all : TAIL;
	if (all > keep)
		compare(end, joined, all - keep);
	memcpy(end->tail, joined + all - keep, keep);
	end->tail_len = keep;
}

static void receive_loop(struct end *end)
{
	uint8_t chunk[CHUNK];
	ssize_t got;

	while ((got = recv(end->fd, chunk, sizeof(chunk), 0)) > 0) {
		gap_event(&end->gap, clock_ns(CLOCK_MONOTONIC));
		arrived(end, chunk, (size_t)got);
	}
	if (got < 0)
		end->broken = errno;
	end->peer_done = true;
}

static void end_run(struct end *end, uint64_t seed)
{
	stream_start(&end->out, end->client ? seed : seed ^ TO_CLIENT);
	stream_start(&end->in, end->client ? seed ^ TO_CLIENT : seed);
	if (pthread_create(&end->sender, NULL, send_loop, end))
		die("thread");
	receive_loop(end);
	pthread_join(end->sender, NULL);
}

static void *serve_one(void *context)
{
	struct end *end = context;
	uint64_t seed, counts[2];

	open_connections++;
	if (recv(end->fd, &seed, sizeof(seed), MSG_WAITALL) == sizeof(seed)) {
		end_run(end, le64toh(seed));
		counts[0] = htole64(end->in.count);
		counts[1] = htole64(end->out.count);
		if (end->broken || send_all(end->fd, (uint8_t *)counts, sizeof(counts)))
			total_broken++;
	}
	open_connections--;
	close(end->fd);
	free(end);
	return NULL;
}

static void report(FILE *to, const char *command)
{
	(void)command;
	fprintf(to,
		"{\"sent\": %lu, \"received\": %lu, \"errors\": %lu, \"connections\": %lu, "
		"\"open\": %lu, \"broken\": %lu}",
		(unsigned long)total_sent, (unsigned long)total_received,
		(unsigned long)total_errors, (unsigned long)total_connections,
		(unsigned long)open_connections, (unsigned long)total_broken);
}

static void serve(uint16_t port, uint64_t rate)
{
	int listener = tcp_listen(port);

	for (;;) {
		struct end *end = calloc(1, sizeof(*end));
		pthread_t thread;

		if (!end)
			die("memory");
		end->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		end->pace.per_second = rate;
		if (end->fd < 0 || pthread_create(&thread, NULL, serve_one, end))
			die("accept");
		pthread_detach(thread);
		total_connections++;
	}
}

static uint64_t tail_number(const struct end *end, size_t at)
{
	uint64_t value;

	memcpy(&value, end->tail + at, 8);
	return le64toh(value);
}

static int client(const char *where, uint64_t seconds, uint64_t rate)
{
	struct sockaddr_in to = address_parse(where);
	struct end end = {.client = true, .pace.per_second = rate};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	uint64_t seed = clock_ns(CLOCK_REALTIME), wire = htole64(seed), got = 0, sent = 0;
	bool fine;

	end.fd = tcp_connect(&to);
	if (end.fd < 0 || send_all(end.fd, (uint8_t *)&wire, sizeof(wire)))
		die("%s", where);
	sigaction(SIGUSR1, &action, NULL);
	end.until = clock_ns(CLOCK_MONOTONIC) + seconds * NS_PER_S;
	end_run(&end, seed);
	if (end.tail_len == TAIL) {
		got = tail_number(&end, 0);
		sent = tail_number(&end, 8);
	}
	fine = !end.errors && !end.broken && got == end.out.count && sent == end.in.count;
	printf("{\"sent\": %lu, \"received\": %lu, \"peer_received\": %lu, \"peer_sent\": %lu, "
	       "\"errors\": %lu, \"first_error\": %lu, \"broken\": \"%s\", "
	       "\"longest_gap_ms\": %.3f, \"ok\": %s}\n",
	       (unsigned long)end.out.count, (unsigned long)end.in.count, (unsigned long)got,
	       (unsigned long)sent, (unsigned long)end.errors, (unsigned long)end.first_error,
	       end.broken ? strerror(end.broken) : "", (double)end.gap.longest / 1e6,
	       fine ? "true" : "false");
	return fine ? 0 : 1;
}

int main(int argc, char **argv)
{
	uint64_t rate = option_number(argc, argv, "rate", 0);
	uint64_t port = option_number(argc, argv, "serve", 0);

	if (!port)
		return client(option(argc, argv, "connect", NULL),
			      option_number(argc, argv, "seconds", 10), rate);
	report_serve((uint16_t)option_number(argc, argv, "report", 5002), report);
	serve((uint16_t)port, rate);
	return 0;
}
