/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_MINI_DRIVER_H
#define TESTS_MINI_DRIVER_H

#include "fake_machine.h"

/*
 * The guest's half of virtio, as small as it can be: finds the device through ECAM, or among
 * the places of a paravirtual machine, maps it, negotiates, and works split queues in the fake
 * machine's RAM. Only what a guest could see and do.
 */
#define MINI_QUEUES 5u
#define MINI_SIZE   16u

struct mini_seg {
	uint64_t gpa;
	uint32_t len;
};

struct mini_queue {
	unsigned size;
	uint64_t desc, avail, used; /* gpa */
	uint16_t next_desc, next_avail, seen;
};

/* Where a transport has its registers, and how wide they are. */
struct mini_layout {
	unsigned device_select, device_features, driver_select, driver_features, status;
	unsigned queue_select, queue_size, queue_enable, desc, avail, used;
	unsigned status_len, queue_len;
};

struct mini {
	struct machine *m;
	const struct mini_layout *layout;
	unsigned slot;                              /* on the PCI bus */
	unsigned line;                              /* over MMIO; 0: not */
	unsigned config_interrupts, queue_interrupts; /* over MMIO: taken note of */
	uint64_t heap;                              /* gpa of memory not yet used */
	uint64_t common, isr, config, notify, msix; /* gpa; over MMIO common and config */
	uint32_t notify_step;
	bool indirect;
	struct mini_queue queues[MINI_QUEUES];
};

/* The virtio device of type ID, N-th of its kind; false: there is none. */
bool mini_find(struct mini *mini, struct machine *m, uint16_t id, unsigned n, uint64_t heap);
/* Resets and negotiates WANTED; whether the device took it. */
bool mini_negotiate(struct mini *mini, uint64_t wanted);
uint64_t mini_offered(struct mini *mini);
void mini_queue(struct mini *mini, unsigned index);
void mini_ready(struct mini *mini);
uint8_t mini_status(struct mini *mini);
void mini_set_status(struct mini *mini, uint8_t status);
/* All of the above, with N queues of MINI_SIZE. */
bool mini_start(struct mini *mini, uint64_t wanted, unsigned n);

/* LEN bytes of guest RAM. */
uint64_t mini_alloc(struct mini *mini, uint64_t len);
void *mini_at(struct mini *mini, uint64_t gpa);

/* Makes a chain available and returns its head; kick separately. */
uint16_t mini_add(struct mini *mini, unsigned index, const struct mini_seg *segs,
		  unsigned n_out, unsigned n_in);
void mini_kick(struct mini *mini, unsigned index);
/* Waits for the next used element; its length, or UINT32_MAX after two seconds. */
uint32_t mini_wait(struct mini *mini, unsigned index);
/* Whether the next used element is there, without waiting. */
bool mini_used(struct mini *mini, unsigned index);
/* add, kick and wait. */
uint32_t mini_do(struct mini *mini, unsigned index, const struct mini_seg *segs, unsigned n_out,
		 unsigned n_in);
/* How often vector VECTOR has been signalled; over MMIO all queues' count as one. */
unsigned mini_interrupts(struct mini *mini, unsigned vector);

#endif
