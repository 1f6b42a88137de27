/* SPDX-License-Identifier: Apache-2.0 */
/*
 * N connections to a Redis server, each incrementing a counter of its own and checking that
 * every answer is one more than the last: a lost, repeated or reordered request shows.
 *
 *   rediscount --connect ADDRESS:PORT [--connections N (4)] [--seconds S (10)] [--rate R]
 *              [--report PORT]
 *
 * SIGUSR1 ends it before its time, in good order. While it runs, a connection to the report's
 * port is told the result so far; "reset" forgets the longest gaps after telling them.
 *
 * A connection that breaks is counted, made anew and checked on: an increment whose answer
 * never came may have happened, or not, so one is then allowed for.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64

struct counter {
	pthread_t thread;
	char key[32];
	uint64_t value; /* the last one answered */
	uint64_t answers, resets, errors;
	uint64_t in_doubt; /* increments that may have happened */
	uint64_t slowest;
	struct gap gap;
};

static struct counter counters[MAX_CONNECTIONS];
static struct sockaddr_in server;
static _Atomic uint64_t until;
static uint64_t rate;
static unsigned int count;

static void on_end(int number)
{
	(void)number;
	until = 0;
}

/* Send a command and read one reply line; -errno if the connection broke. */
static int ask(int fd, const char *command, char *line, size_t size)
{
	size_t have = 0;

	if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
		return -errno;
	while (have < 2 || line[have - 1] != '\n') {
		ssize_t got = recv(fd, line + have, size - 1 - have, 0);

		if (got <= 0)
			return got < 0 ? -errno : -ECONNRESET;
		have += (size_t)got;
		if (have >= size - 1)
			return -EPROTO;
	}
	line[have] = 0;
	return 0;
}

static void check(struct counter *counter, const char *line)
{
	uint64_t value = strtoull(line + 1, NULL, 10);

	if (line[0] != ':' || value < counter->value + 1 ||
	    value > counter->value + 1 + counter->in_doubt) {
		counter->errors++;
		fprintf(stderr, "%s: %.*s after %lu\n", counter->key,
			(int)strcspn(line, "\r\n"), line, (unsigned long)counter->value);
	}
	counter->value = value;
	counter->in_doubt = 0;
	counter->answers++;
}

/* One connection's life; returns when it breaks or time is up. */
static void count_on(struct counter *counter, int fd)
{
	struct pace pace = {.per_second = rate};
	char command[64], line[128];

	snprintf(command, sizeof(command), "INCR %s\r\n", counter->key);
	while (clock_ns(CLOCK_MONOTONIC) < until) {
		uint64_t before = clock_ns(CLOCK_MONOTONIC), now;

		if (ask(fd, command, line, sizeof(line)) < 0) {
			counter->resets++;
			counter->in_doubt++;
			return;
		}
		now = clock_ns(CLOCK_MONOTONIC);
		check(counter, line);
		gap_event(&counter->gap, now);
		if (now - before > counter->slowest)
			counter->slowest = now - before;
		pace_wait(&pace, 1);
	}
}

static void *counter_run(void *context)
{
	struct counter *counter = context;

	while (clock_ns(CLOCK_MONOTONIC) < until) {
		int fd = tcp_connect(&server);

		if (fd < 0) {
			counter->resets++;
			sleep_ns(100 * NS_PER_MS);
			continue;
		}
		count_on(counter, fd);
		close(fd);
	}
	return NULL;
}

/* What the server says in the end must be what the last answer said. */
static void final_check(struct counter *counter)
{
	char command[64], line[128] = "";
	int fd = tcp_connect(&server);

	snprintf(command, sizeof(command), "INCRBY %s 0\r\n", counter->key);
	if (fd < 0 || ask(fd, command, line, sizeof(line)) < 0) {
		counter->errors++;
	} else {
		uint64_t value = strtoull(line + 1, NULL, 10);

		if (value < counter->value || value > counter->value + counter->in_doubt)
			counter->errors++;
	}
	if (fd >= 0)
		close(fd);
}

static struct counter sum_up(void)
{
	struct counter sum = {0};

	for (unsigned int i = 0; i < count; i++) {
		const struct counter *counter = &counters[i];

		sum.answers += counter->answers;
		sum.resets += counter->resets;
		sum.errors += counter->errors;
		if (counter->gap.longest > sum.gap.longest)
			sum.gap.longest = counter->gap.longest;
		if (counter->slowest > sum.slowest)
			sum.slowest = counter->slowest;
	}
	return sum;
}

static void sum_print(FILE *to, const struct counter *sum)
{
	fprintf(to,
		"{\"answers\": %lu, \"resets\": %lu, \"errors\": %lu, \"longest_gap_ms\": %.3f, "
		"\"slowest_ms\": %.3f}",
		(unsigned long)sum->answers, (unsigned long)sum->resets,
		(unsigned long)sum->errors, (double)sum->gap.longest / 1e6,
		(double)sum->slowest / 1e6);
}

static void report(FILE *to, const char *command)
{
	struct counter sum = sum_up();

	if (strcmp(command, "reset") == 0)
		for (unsigned int i = 0; i < count; i++)
			counters[i].gap.longest = counters[i].slowest = 0;
	sum_print(to, &sum);
}

static int result(void)
{
	struct counter sum = sum_up();

	sum_print(stdout, &sum);
	printf("\n");
	return sum.errors || sum.resets || !sum.answers;
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESTART};
	uint64_t port = option_number(argc, argv, "report", 0);
	uint64_t seconds = option_number(argc, argv, "seconds", 10);
	uint64_t run = clock_ns(CLOCK_REALTIME);

	count = (unsigned int)option_number(argc, argv, "connections", 4);
	if (count < 1 || count > MAX_CONNECTIONS)
		die("--connections: 1 to %d", MAX_CONNECTIONS);
	server = address_parse(option(argc, argv, "connect", NULL));
	rate = option_number(argc, argv, "rate", 0) / count;
	until = clock_ns(CLOCK_MONOTONIC) + seconds * NS_PER_S;
	sigaction(SIGUSR1, &end, NULL);
	if (port)
		report_serve((uint16_t)port, report);
	for (unsigned int i = 0; i < count; i++) {
		snprintf(counters[i].key, sizeof(counters[i].key), "count-%lx-%u",
			 (unsigned long)run, i);
		if (pthread_create(&counters[i].thread, NULL, counter_run, &counters[i]))
			die("thread");
	}
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(counters[i].thread, NULL);
		final_check(&counters[i]);
	}
	return result();
}
