/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What single operations cost a program, on a machine and in guests on it. One static program
 * with no needs, so that it is the same everywhere.
 */
#ifndef TESTS_BENCH_GUEST_PV_MICRO_H
#define TESTS_BENCH_GUEST_PV_MICRO_H

#include <stdbool.h>
#include <stdint.h>

enum unit { PER_OP_NS, PER_OP_US, BYTES_PER_NS };

struct micro {
	const char *name;
	enum unit unit;
	uint64_t bytes;              /* an operation moves, for BYTES_PER_NS */
	void (*prepare)(void);       /* or NULL; not timed */
	uint64_t (*run)(uint64_t n); /* does N operations; ns they took */
	void (*finish)(void);        /* or NULL */
};

/* Each list ends with an entry without a name. */
extern const struct micro micro_cpu[], micro_memory[], micro_kernel[], micro_tasks[];

#define MIB  (1ul << 20)
#define PAGE 4096ul

uint64_t micro_now(void);                     /* CLOCK_MONOTONIC, ns */
void micro_need(bool good, const char *what); /* ends the program with errno's words if not */
void *micro_map(uint64_t size, bool huge);    /* anonymous, with or without huge pages */

/* Loads for moves; they do not return. */
void load_write(uint64_t mib, uint64_t words);
void load_beat(uint64_t us);

#endif
