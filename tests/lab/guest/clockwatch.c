/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the guest's clocks from inside, and lets another machine compare them to its own.
 *
 *   clockwatch --serve PORT [--report P (5004)] [--tick MS (1)]
 *   clockwatch --ask ADDRESS:PORT --seconds S [--interval MS (50)] [--quiet]
 *
 * The server ticks about every MS milliseconds, on every processor, notes each clock that went
 * back (also from one processor to another) and the longest gap between ticks, and answers
 * each UDP datagram with its clocks. The client prints how far the guest's clocks are from
 * its own, from answers that came back quickly.
 */
#include "common.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CPUS 64

struct clocks { /* as in a datagram, little-endian */
	uint64_t sequence;
	uint64_t monotonic;
	uint64_t realtime;
	uint64_t boottime;
	uint64_t tsc;
};

/* Server ------------------------------------------------------------------ */

struct watched {
	int clock;
	const char *name;
	_Atomic uint64_t newest; /* seen on any processor */
	_Atomic uint64_t backwards, worst;
};

static struct watched watched[] = {
    {.clock = CLOCK_MONOTONIC, .name = "monotonic"},
    {.clock = CLOCK_REALTIME, .name = "realtime"},
    {.clock = CLOCK_BOOTTIME, .name = "boottime"},
};
static struct gap gaps[MAX_CPUS];
static _Atomic uint64_t ticks[MAX_CPUS];
static unsigned int cpu_count;
static uint64_t tick;

static void note_back(struct watched *clock, uint64_t by)
{
	clock->backwards++;
	if (by > clock->worst)
		clock->worst = by;
}

/* What another processor published before we read our clock is not later than our reading. */
static void clock_look(struct watched *clock)
{
	uint64_t newest = clock->newest;
	uint64_t now = clock_ns(clock->clock);

	if (now < newest)
		note_back(clock, newest - now);
	while (now > newest && !atomic_compare_exchange_weak(&clock->newest, &newest, now))
		;
}

static void *tick_loop(void *context)
{
	unsigned int cpu = (unsigned int)(uintptr_t)context;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;) {
		for (unsigned int i = 0; i < 3; i++)
			clock_look(&watched[i]);
		gap_event(&gaps[cpu], clock_ns(CLOCK_MONOTONIC));
		ticks[cpu]++;
		sleep_ns(tick);
	}
	return NULL;
}

/* "reset" forgets the longest gaps, after telling them. */
static void report(FILE *to, const char *command)
{
	uint64_t longest = 0, all = 0;

	for (unsigned int i = 0; i < cpu_count; i++) {
		all += ticks[i];
		if (gaps[i].longest > longest)
			longest = gaps[i].longest;
		if (strcmp(command, "reset") == 0)
			gaps[i].longest = 0;
	}
	fprintf(to, "{\"ticks\": %lu, \"cpus\": %u, \"longest_gap_ms\": %.3f",
		(unsigned long)all, cpu_count, (double)longest / 1e6);
	for (unsigned int i = 0; i < 3; i++)
		fprintf(to, ", \"%s_backwards\": %lu, \"%s_worst_ns\": %lu", watched[i].name,
			(unsigned long)watched[i].backwards, watched[i].name,
			(unsigned long)watched[i].worst);
	fprintf(to, "}");
}

static void answer(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	struct clocks clocks;

	if (recvfrom(fd, &clocks, sizeof(clocks), 0, (struct sockaddr *)&from, &len) !=
	    sizeof(clocks))
		return;
	clocks.monotonic = htole64(clock_ns(CLOCK_MONOTONIC));
	clocks.realtime = htole64(clock_ns(CLOCK_REALTIME));
	clocks.boottime = htole64(clock_ns(CLOCK_BOOTTIME));
	clocks.tsc = htole64(__builtin_ia32_rdtsc());
	sendto(fd, &clocks, sizeof(clocks), 0, (struct sockaddr *)&from, len);
}

static void serve(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	cpu_count = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (cpu_count > MAX_CPUS)
		cpu_count = MAX_CPUS;
	for (uintptr_t cpu = 0; cpu < cpu_count; cpu++)
		if (pthread_create(&thread, NULL, tick_loop, (void *)cpu))
			die("thread");
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		die("port %u", port);
	for (;;)
		answer(fd);
}

/* Client ------------------------------------------------------------------ */

struct offset { /* of the guest's clock from ours, nanoseconds */
	int64_t first, last, least, most;
};

struct survey {
	uint64_t asked, answered;
	struct gap gap; /* between answers */
	uint64_t quickest;
	struct offset monotonic, realtime;
	uint64_t used;
};

static void offset_add(struct offset *offset, int64_t value, bool first)
{
	if (first)
		*offset = (struct offset){value, value, value, value};
	offset->last = value;
	if (value < offset->least)
		offset->least = value;
	if (value > offset->most)
		offset->most = value;
}

/* An answer that took T has its clocks read within T of ours: only quick ones say much. */
static void judge(struct survey *survey, const struct clocks *theirs, uint64_t before,
		  uint64_t after, uint64_t real)
{
	uint64_t middle = before + (after - before) / 2;

	gap_event(&survey->gap, after);
	if (after - before < survey->quickest)
		survey->quickest = after - before;
	if (after - before > 2 * survey->quickest + NS_PER_MS)
		return;
	offset_add(&survey->monotonic, (int64_t)(le64toh(theirs->monotonic) - middle),
		   !survey->used);
	offset_add(&survey->realtime, (int64_t)(le64toh(theirs->realtime) - real),
		   !survey->used);
	survey->used++;
}

static void ask_once(int fd, struct survey *survey, uint64_t interval)
{
	struct clocks clocks = {.sequence = htole64(++survey->asked)};
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint64_t before = clock_ns(CLOCK_MONOTONIC), after = before;
	uint64_t real = clock_ns(CLOCK_REALTIME);

	if (send(fd, &clocks, sizeof(clocks), 0) < 0) {
		sleep_ns(interval);
		return;
	}
	while (after < before + interval) {
		if (poll(&wait, 1, (int)((before + interval - after) / NS_PER_MS) + 1) > 0 &&
		    recv(fd, &clocks, sizeof(clocks), 0) == sizeof(clocks) &&
		    le64toh(clocks.sequence) == survey->asked) {
			after = clock_ns(CLOCK_MONOTONIC);
			survey->answered++;
			judge(survey, &clocks, before, after, real + (after - before) / 2);
			break;
		}
		after = clock_ns(CLOCK_MONOTONIC);
	}
	if (after < before + interval)
		sleep_ns(before + interval - after);
}

static void offset_print(const char *name, const struct offset *offset)
{
	printf(", \"%s\": {\"first_ms\": %.3f, \"last_ms\": %.3f, \"least_ms\": %.3f, "
	       "\"most_ms\": %.3f}",
	       name, (double)offset->first / 1e6, (double)offset->last / 1e6,
	       (double)offset->least / 1e6, (double)offset->most / 1e6);
}

static int ask(const char *where, uint64_t seconds, uint64_t interval)
{
	struct sockaddr_in to = address_parse(where);
	struct survey survey = {.quickest = UINT64_MAX / 4};
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + seconds * NS_PER_S;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("%s", where);
	while (clock_ns(CLOCK_MONOTONIC) < until)
		ask_once(fd, &survey, interval);
	printf("{\"asked\": %lu, \"answered\": %lu, \"used\": %lu, \"longest_gap_ms\": %.3f, "
	       "\"round_trip_ms\": %.3f",
	       (unsigned long)survey.asked, (unsigned long)survey.answered,
	       (unsigned long)survey.used, (double)survey.gap.longest / 1e6,
	       survey.answered ? (double)survey.quickest / 1e6 : 0.0);
	offset_print("monotonic", &survey.monotonic);
	offset_print("realtime", &survey.realtime);
	printf("}\n");
	return survey.answered ? 0 : 1;
}

int main(int argc, char **argv)
{
	uint64_t port = option_number(argc, argv, "serve", 0);

	if (!port)
		return ask(option(argc, argv, "ask", NULL),
			   option_number(argc, argv, "seconds", 5),
			   option_number(argc, argv, "interval", 50) * NS_PER_MS);
	tick = option_number(argc, argv, "tick", 1) * NS_PER_MS;
	report_serve((uint16_t)option_number(argc, argv, "report", 5004), report);
	serve((uint16_t)port);
	return 0;
}
