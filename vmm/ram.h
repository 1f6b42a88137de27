/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_RAM_H
#define VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * Guest RAM: one file in memory, mapped once and contiguously in the monitor. The guest sees it as
 * one or two slots: from address 0 up to the PCI hole, and the rest above 4 GiB; or, where the
 * machine has no such hole, as one from 0 up.
 *
 * Invariant: no write to guest memory is missed. Whatever the monitor writes goes through
 * ram_write(), or through ram_at() followed by ram_mark() once the bytes are there.
 * Every guest address goes through ram_at(), ram_read() or ram_write(), which check it.
 *
 * All functions may be called from any thread once ram_create() has returned.
 */
#define RAM_PAGE      4096u
#define RAM_HOLE      0xc0000000ull  /* where the low slot ends at the latest */
#define RAM_HIGH      0x100000000ull /* where the high slot begins */
#define RAM_SLOTS     2u

struct ram;

struct ram_slot {
	uint64_t gpa;    /* bytes */
	uint64_t offset; /* of its first byte in the memfd and the mapping, bytes */
	uint64_t size;   /* bytes */
};

/* SIZE in bytes, a multiple of 2 MiB. The memory reads as zero and is not yet allocated. */
int ram_create(uint64_t size, struct ram **ret_ram, struct error *err);
/* The same in one slot: offsets are guest addresses. */
int ram_create_flat(uint64_t size, struct ram **ret_ram, struct error *err);
void ram_destroy(struct ram *ram); /* NULL is fine */

uint64_t ram_size(const struct ram *ram);
unsigned ram_slots(const struct ram *ram, const struct ram_slot **ret_slots);
uint8_t *ram_base(const struct ram *ram); /* hva of offset 0 */
int ram_fd(const struct ram *ram);
bool ram_huge(const struct ram *ram); /* whether memory comes in huge pages */

/* The hva of LEN bytes at GPA, or NULL unless all of them lie in one slot. LEN may be 0. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len);

/* Copies; 0, or -EFAULT when the range is not all guest RAM. */
int ram_read(const struct ram *ram, uint64_t gpa, void *to, uint64_t len);
int ram_write(struct ram *ram, uint64_t gpa, const void *from, uint64_t len);

/* Says that LEN bytes at GPA have been written through ram_at(). Cheap when not tracking. */
void ram_mark(struct ram *ram, uint64_t gpa, uint64_t len);

/* The monitor's own dirty bitmap: a bit a page by offset in the memfd. */
void ram_track(struct ram *ram, bool on); /* turning on clears it */
/* ORs the bitmap into WORDS (ram_size() / 4096 bits) and clears it, atomically a word. */
void ram_harvest(struct ram *ram, uint64_t *words);

#endif
