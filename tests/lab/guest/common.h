/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAB_GUEST_COMMON_H
#define LAB_GUEST_COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the lab's workloads share. They run in a guest with nothing but the kernel. */

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* Print to stderr, with errno's words if it is not 0, and exit 2. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

uint64_t clock_ns(int clock);
void sleep_ns(uint64_t ns);

/* Splitmix64: the next number of the sequence whose state is *STATE. */
uint64_t prng_next(uint64_t *state);
/* The same mixing as a function of one number. */
uint64_t prng_mix(uint64_t value);

/* zlib's CRC-32 of DATA, continuing CRC (0 to begin). */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);

/* --NAME VALUE or a bare --NAME; the number after NAME with an optional K, M or G. */
const char *option(int argc, char **argv, const char *name, const char *otherwise);
uint64_t option_number(int argc, char **argv, const char *name, uint64_t otherwise);
bool option_flag(int argc, char **argv, const char *name);

/* "A.B.C.D:PORT" */
struct sockaddr_in address_parse(const char *text);
int tcp_connect(const struct sockaddr_in *to); /* -1 and errno if it fails */
int tcp_listen(uint16_t port);

/*
 * Answer every TCP connection to PORT with what REPORT prints, one JSON object, and close it.
 * A line sent within 200 ms is a COMMAND (else ""). REPORT runs on a thread of its own.
 */
void report_serve(uint16_t port, void (*report)(FILE *to, const char *command));

/* The longest pause between events, counting from the first. */
struct gap {
	uint64_t last;
	uint64_t longest;
};
void gap_event(struct gap *gap, uint64_t now);

/* Do not exceed PER_SECOND events; 0: no limit. */
struct pace {
	uint64_t per_second;
	uint64_t began;
	uint64_t done;
};
void pace_wait(struct pace *pace, uint64_t events);

#endif
