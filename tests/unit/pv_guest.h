/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PV_GUEST_H
#define TESTS_UNIT_PV_GUEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "guest/abi.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/pv/pv.h"

/*
 * A guest whose kernel (pv_kernel.S) does what a test tells it, operation by operation, while
 * a thread runs its vCPU as a machine would.
 */
#define GUEST_RAM     (16u << 20)
#define GUEST_BOOT    0x1000u /* gpa, as all below */
#define GUEST_PAGE    0x2000u /* the vCPU's */
#define GUEST_NOTES   0x3000u
#define GUEST_STACK   0x8000u /* its end */
#define GUEST_KERNEL  0xa000u
#define GUEST_PROGRAM 0xc000u
#define GUEST_LIST    0x10000u /* of operations, up to 0x100000 */
#define GUEST_TABLES  0x100000u /* page tables, by guest_map() */
#define GUEST_FREE    0x400000u
#define DIRECT(gpa)   (SEGUE_PV_DIRECT + (uint64_t)(gpa))

/* Operations that are no hypercalls. A fault makes them -1. */
enum { OP_LOAD = 1, OP_STORE, OP_GO, OP_UNMASK, OP_STACK, OP_RAISE, OP_REPEAT };

struct guest_notes {
	uint64_t events, traps;
	struct segue_pv_trap trap; /* the last */
	uint64_t trap_rip, frame;
	uint64_t boot;    /* RDI at the entry point */
	uint64_t pending; /* va of the vCPU's page */
};

struct guest {
	struct ram *ram;
	struct engine *engine;
	struct vcpu *vcpu;
	pthread_t thread;
	bool going;
	atomic_bool stop;
	unsigned ops;       /* posted so far */
	uint64_t tables;    /* gpa of the next free table */

	/* The vCPU's thread; to be read when it has stopped or an operation was answered. */
	_Atomic enum vcpu_exit_kind ended; /* KICKED: has not */
	char why[480];
	char text[256];
	unsigned n_text;
	uint64_t io_address, io_value;
	unsigned io_len, ios;
};

void guest_create(struct guest *g);
void guest_boot(struct guest *g);
void guest_destroy(struct guest *g); /* also of one that goes */
/* Whether such guests cannot run here; says why. */
bool guest_cannot(void);
void guest_go(struct guest *g);
void guest_pause(struct guest *g); /* parks and settles */
/* A new guest with the state and memory of FROM, paused both. */
void guest_move(struct guest *to, struct guest *from);

/* Posts an operation; its index. */
unsigned guest_post(struct guest *g, uint64_t op, uint64_t a, uint64_t b, uint64_t c,
		    uint64_t d);
bool guest_done(struct guest *g, unsigned index);
int64_t guest_wait(struct guest *g, unsigned index); /* its result; at most 10 s */
int64_t guest_op(struct guest *g, uint64_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

void *guest_at(struct guest *g, uint64_t gpa);
struct guest_notes *guest_notes(struct guest *g);
struct segue_pv_vcpu *guest_page(struct guest *g);
/* A new top-level table. */
uint64_t guest_root(struct guest *g);
void guest_map(struct guest *g, uint64_t root, uint64_t va, uint64_t gpa, uint64_t flags);
/* Code and data page of pv_program in ROOT; GPA of the data. Registers to begin with. */
#define GUEST_CODE_VA 0x400000ull
#define GUEST_DATA_VA 0x7f00000000ull
void guest_program(struct guest *g, uint64_t root, uint64_t gpa, struct segue_pv_regs *regs);

/* The condition comes true within 10 s. */
#define UNTIL(condition)                                                                       \
	do {                                                                                   \
		unsigned tries_ = 0;                                                           \
		while (!(condition) && tries_++ < 20000)                                       \
			usleep(500);                                                           \
		CU_ASSERT_FATAL(condition);                                                    \
	} while (0)

#endif
