/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_SHADOW_H
#define VMM_ENGINE_PV_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "vmm/engine/pv/domain.h"
#include "vmm/engine/pv/walk.h"
#include "vmm/ram.h"

/*
 * Shadow page tables: which pages of guest RAM are mapped where in each domain, and with what
 * rights. Bookkeeping only: nothing here calls the host. A decision comes back as a list of
 * orders (struct pv_map of domain.h), and counts as carried out from then on.
 *
 * The contract with the engine:
 * - Carry out the orders of a list in their order, and before the domain runs guest code
 *   again. Where the host refuses one, call pv_shadow_refused().
 * - One lock for a set and all its shadows, held over a call and the carrying out of its orders
 *   (and, for pv_shadow_written(), over the scan as well). Nothing here locks.
 * - The orders of a shadow stay within the [begin, end) it was made with, and unmap holes too:
 *   whatever else the domain needs mapped (the shim, the direct map) must lie outside.
 *
 * What holds: a right that is mapped was given by the guest's entry at some time since the
 * last flush of that address; mappings (counted as the host counts them, adjoining ones of
 * adjoining pages and equal rights being one) stay below the limits; memory stays bounded.
 */
struct pv_shadow_set;
struct pv_shadow;

struct pv_shadow_limits {
	unsigned maps; /* host mappings of one shadow; leave the host's own limit some air:
			* the shim's, the direct map's, and 16 that exist for a moment */
	uint64_t maps_total; /* of all shadows together */
	uint64_t bytes;      /* of this bookkeeping, all shadows together */
	unsigned around;     /* pages tried around a fault: a power of two, 1 to 64 */
};
#define PV_SHADOW_MAPS_MIN  64u /* smaller limits are taken as this */
#define PV_SHADOW_BYTES_MIN 0x40000ull
extern const struct pv_shadow_limits pv_shadow_usual; /* 60000, 1 million, 64 MiB, 16 */

int pv_shadow_set_create(struct ram *ram, const struct pv_shadow_limits *limits,
			 struct pv_shadow_set **ret_set, struct error *err);
void pv_shadow_set_destroy(struct pv_shadow_set *set); /* and all its shadows; NULL is fine */

/* An empty shadow of ROOT's tables (gpa), for addresses from BEGIN up to END, both whole pages
 * below VA_END. OWNER is the caller's, for pv_shadow_owner(). -ENOMEM. */
int pv_shadow_create(struct pv_shadow_set *set, uint64_t root, enum pv_mode mode,
		     uint64_t begin, uint64_t end, void *owner, struct pv_shadow **ret_shadow);
/* Forgets all of it. The domain must have been unmapped (pv_shadow_flush) or be gone, the
 * latter after pv_shadow_flush() all the same if the log is on: see enum pv_track. */
void pv_shadow_destroy(struct pv_shadow *shadow); /* NULL is fine */
void *pv_shadow_owner(const struct pv_shadow *shadow);
/* Another top-level table, or ~0 for none; what was mapped stays until it is flushed. */
void pv_shadow_set_root(struct pv_shadow *shadow, uint64_t root);

/* ---- faults ---- */

enum pv_answer {
	PV_FAULT_MAP,     /* carry out the orders, run the same instruction again */
	PV_FAULT_REFLECT, /* the guest's: a page fault with .error. No orders. */
	PV_FAULT_RELIEVE, /* too much is mapped in all: carry out the orders in .other's
			   * domain, which is not this one, and ask again (a few times at
			   * most: only as much is asked for as one page needs) */
};

#define PV_SHADOW_ORDERS 24u /* at most, of one call */
struct pv_fault {
	enum pv_answer answer;
	uint32_t error; /* SEGUE_PV_PF_* */
	struct pv_shadow *other;
	unsigned n;
	struct pv_map maps[PV_SHADOW_ORDERS]; /* evictions first, the page's own right after;
					       * all are to be populated, but that is only a
					       * guess of what is fast */
};

/*
 * ACCESS (one of PROT_READ, PROT_WRITE, PROT_EXEC) faulted at VA. Also right when the page is
 * mapped already with that right: it is mapped again (so one that faults for ever loops: the
 * engine counts). An address outside the shadow's is the guest's fault, entry not present.
 * -ENOMEM: the bookkeeping finds no memory; there may be orders to be carried out all the same.
 */
int pv_shadow_fault(struct pv_shadow *shadow, uint64_t va, int access, struct pv_fault *ret);

/*
 * The guest's FLUSH, and the end of a root: forgets what is mapped from BEGIN up to END (cut to
 * the shadow's own). True: *RET_MAP is the one order that unmaps it; false: nothing was mapped.
 * Where the limits allow no mapping to be cut in two, the order goes on behind END.
 */
bool pv_shadow_flush(struct pv_shadow *shadow, uint64_t begin, uint64_t end,
		     struct pv_map *ret_map);

/* The same, and logs nothing: for PV_TRACK_KERNEL, who has just scanned that range. */
bool pv_shadow_flush_scanned(struct pv_shadow *shadow, uint64_t begin, uint64_t end,
			     struct pv_map *ret_map);

/*
 * The host would not map that much (ENOMEM): the shadow's limit becomes three quarters of what
 * was mapped, and *RET_MAP, which is to be carried out, unmaps all. Then ask again.
 */
void pv_shadow_refused(struct pv_shadow *shadow, struct pv_map *ret_map);

/*
 * Another limit than the set's, for a domain in which more is mapped than its shadow. Takes
 * effect as faults come: best set while nothing is mapped.
 */
void pv_shadow_limit(struct pv_shadow *shadow, unsigned maps);

unsigned pv_shadow_maps(const struct pv_shadow *shadow);  /* host mappings in use */
uint64_t pv_shadow_pages(const struct pv_shadow *shadow); /* pages mapped */
uint64_t pv_shadow_set_maps(const struct pv_shadow_set *set);
uint64_t pv_shadow_set_bytes(const struct pv_shadow_set *set);

/* ---- dirty pages ---- */

/*
 * The set has a log, a bit a page of the RAM file. What goes into it by itself:
 *
 * PV_TRACK_KERNEL is for hosts whose kernel says which mapped pages were written
 * (pv_domain_track()). It forgets that when a mapping goes, so pages are logged when they lose
 * a writable mapping. Where that would log much that was not written, scan the range first
 * (with the domain standing), call pv_shadow_written(), and then pv_shadow_flush_scanned().
 *
 * PV_TRACK_SHADOW is the way by faults: nothing is mapped writable whose page is not in the
 * log. Pages are mapped writable by a write fault to them, and logged then; any other time only
 * if they are in the log already.
 */
enum pv_track { PV_TRACK_OFF, PV_TRACK_KERNEL, PV_TRACK_SHADOW };

/*
 * Clears the log and starts tracking that way. For PV_TRACK_SHADOW, follow with
 * pv_shadow_protect() for every shadow, before guest code runs.
 */
void pv_shadow_track(struct pv_shadow_set *set, enum pv_track track);
/* ORs the log into WORDS (a bit a page of the RAM file) and clears it. */
void pv_shadow_harvest(struct pv_shadow_set *set, uint64_t *words);

/*
 * PV_TRACK_SHADOW's new round: takes the right to write from everything. Fills MAPS with up to
 * N orders (PV_PROTECT; a run may span several host mappings) and returns how many; call it
 * again with the same *CURSOR (0 at first) until it returns 0. After pv_shadow_harvest(), in
 * the same holding of the lock: a write between the two would be missed.
 */
unsigned pv_shadow_protect(struct pv_shadow *shadow, uint64_t *cursor, struct pv_map *maps,
			   unsigned n);

/*
 * For scans: sets in WORDS (NULL: in the log) the bits of the pages mapped at VA and the
 * PAGES - 1 behind it; places where nothing is mapped are passed over.
 */
void pv_shadow_written(const struct pv_shadow *shadow, uint64_t va, uint64_t pages,
		       uint64_t *words);
/*
 * The next run of pages mapped writable from *VA on, for scanning only what can have been
 * written: its length in pages with *VA set to its begin, or 0. Go on behind it.
 */
uint64_t pv_shadow_writable(const struct pv_shadow *shadow, uint64_t *va);
/* What is mapped at VA: whether anything is, its page and PROT_*. */
bool pv_shadow_find(const struct pv_shadow *shadow, uint64_t va, struct pv_leaf *ret_leaf);

/* The next shadow of the set, in no order that matters; NULL begins and ends. */
struct pv_shadow *pv_shadow_next(const struct pv_shadow_set *set,
				 const struct pv_shadow *after);

#endif
