/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
	exit(2);
}

uint64_t clock_ns(int clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec left = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}

uint64_t prng_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

uint64_t prng_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return prng_mix(*state);
}

static uint32_t crc_table[256];

__attribute__((constructor)) static void crc_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++)
			value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
		crc_table[i] = value;
	}
}

uint32_t crc32_add(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *at = data;

	crc = ~crc;
	while (len--)
		crc = (crc >> 8) ^ crc_table[(crc ^ *at++) & 0xff];
	return ~crc;
}

static int option_find(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
			return i;
	return 0;
}

const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
	int at = option_find(argc, argv, name);

	errno = 0;
	if (at && at + 1 >= argc)
		die("--%s needs a value", name);
	return at ? argv[at + 1] : otherwise;
}

uint64_t option_number(int argc, char **argv, const char *name, uint64_t otherwise)
{
	const char *text = option(argc, argv, name, NULL);
	char *end;
	uint64_t value;

	if (!text)
		return otherwise;
	value = strtoull(text, &end, 0);
	if (end == text || (*end && !strchr("KMG", *end)))
		die("--%s %s: want a number", name, text);
	return value << (*end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0);
}

bool option_flag(int argc, char **argv, const char *name)
{
	return option_find(argc, argv, name) != 0;
}

struct sockaddr_in address_parse(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const char *colon = text ? strchr(text, ':') : NULL;
	char host[64];

	errno = 0;
	if (!colon || (size_t)(colon - text) >= sizeof(host))
		die("%s: want ADDRESS:PORT", text ? text : "no address");
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		die("%s: not an address", host);
	return address;
}

int tcp_connect(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int tcp_listen(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 64) < 0)
		die("port %u", port);
	return fd;
}

struct reporter {
	int listener;
	void (*report)(FILE *to, const char *command);
};

static bool readable(int fd, int timeout_ms)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, timeout_ms) > 0;
}

/*
 * Closing a connection on which something is unread resets it, and the peer loses the answer
 * (RFC 2525, section 2.17): read on until the peer has it all.
 */
static void close_in_order(int fd)
{
	char rest[64];

	shutdown(fd, SHUT_WR);
	while (readable(fd, 2000) && read(fd, rest, sizeof(rest)) > 0)
		;
	close(fd);
}

static void report_one(const struct reporter *reporter, int fd)
{
	char command[128] = "";
	ssize_t got = 0;
	FILE *to;

	if (readable(fd, 2000)) /* a busy guest is late with what the peer sent at once */
		got = read(fd, command, sizeof(command) - 1);
	command[got > 0 ? got : 0] = 0;
	command[strcspn(command, "\r\n")] = 0;
	to = fdopen(dup(fd), "w");
	if (to) {
		reporter->report(to, command);
		fputc('\n', to);
		fclose(to);
	}
	close_in_order(fd);
}

static void *report_loop(void *context)
{
	const struct reporter *reporter = context;

	for (;;) {
		int fd = accept4(reporter->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			report_one(reporter, fd);
	}
	return NULL;
}

void report_serve(uint16_t port, void (*report)(FILE *to, const char *command))
{
	struct reporter *reporter = malloc(sizeof(*reporter));
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	if (!reporter)
		die("memory");
	reporter->listener = tcp_listen(port);
	reporter->report = report;
	if (pthread_create(&thread, NULL, report_loop, reporter))
		die("thread");
	pthread_detach(thread);
}

void gap_event(struct gap *gap, uint64_t now)
{
	if (gap->last && now > gap->last && now - gap->last > gap->longest)
		gap->longest = now - gap->last;
	gap->last = now;
}

void pace_wait(struct pace *pace, uint64_t events)
{
	uint64_t now, due;

	if (!pace->per_second)
		return;
	now = clock_ns(CLOCK_MONOTONIC);
	/* After a standstill do not make up for the time lost: begin anew. */
	due = pace->began + pace->done * NS_PER_S / pace->per_second;
	if (!pace->began || now > due + NS_PER_S || pace->done > 1000000000ull) {
		pace->began = now;
		pace->done = 0;
		due = now;
	}
	pace->done += events;
	if (due > now)
		sleep_ns(due - now);
}
