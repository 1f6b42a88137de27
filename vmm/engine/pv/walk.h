/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_WALK_H
#define VMM_ENGINE_PV_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/ram.h"

/*
 * Reads the guest's page tables, as guest/abi.h has them. Nothing is believed: every table
 * and every page must lie in RAM, and a walk has three steps whatever it finds. Entries are
 * read once each, so that one that changes meanwhile is seen either old or new.
 *
 * No state; any thread.
 */

/* Who asks: in a user root an entry without U gives nothing, the kernel's walks ignore U. */
enum pv_mode { PV_KERNEL, PV_USER };

/* What an address leads to. */
struct pv_leaf {
	bool present;  /* the entry has P and leads to RAM, whatever it allows */
	int prot;      /* PROT_* the entry gives: READ: P, A; WRITE: also D, W; EXEC: P, A, X */
	uint64_t page; /* where PRESENT: number of the RAM file's page (its offset / 4096) */
};

/* VA is cut down to its page. Beyond VA_END, or through what is no RAM: not present. */
void pv_walk(const struct ram *ram, uint64_t root, uint64_t va, enum pv_mode mode,
	     struct pv_leaf *ret_leaf);

/*
 * The last-level table of the 2 MiB around VA, 512 entries to be read with pv_entry(), or NULL
 * where the upper levels lead to none. The memory is the guest's: it may change meanwhile.
 */
const uint64_t *pv_walk_table(const struct ram *ram, uint64_t root, uint64_t va);
void pv_entry(const struct ram *ram, const uint64_t *entry, enum pv_mode mode,
	      struct pv_leaf *ret_leaf);

/* ACCESS: one of PROT_READ, PROT_WRITE, PROT_EXEC. */
static inline bool pv_leaf_allows(const struct pv_leaf *leaf, int access)
{
	return (leaf->prot & access) == access;
}

/*
 * SEGUE_PV_PF_* for an ACCESS the leaf does not allow: PRESENT says that the entry has P and
 * leads to RAM, and something else was missing (U, A, W, D or X).
 */
uint32_t pv_fault_error(const struct pv_leaf *leaf, int access, enum pv_mode mode);

#endif
