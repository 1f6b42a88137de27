/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_SHADOW_INTERNAL_H
#define VMM_ENGINE_PV_SHADOW_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/abi.h"
#include "vmm/engine/pv/shadow.h"

/*
 * What is mapped, as a tree over page numbers of 27 bits (va / 4096): three levels of 128
 * children each, and leaves of 64 pages, where everything there is to decide is a word of bits.
 * 64 and not 512, because guests' address spaces are sparse. Leaves and nodes without anything
 * in them are freed.
 */
#define LEAF_PAGES   64u
#define NODE_BITS    7u
#define NODE_SLOTS   (1u << NODE_BITS)
#define NODE_LEVELS  3u
#define PAGE_NUMBERS (SEGUE_PV_VA_END / SEGUE_PV_PAGE)

struct shadow_leaf {
	uint64_t present;
	uint64_t writable, exec;   /* within .present */
	uint64_t joined;           /* one host mapping with the page before */
	uint32_t page[LEAF_PAGES]; /* of the RAM file: at most 2^28 of them (vmm/ram.c) */
	bool recent;               /* a fault was here since eviction last came by */
};

struct shadow_node {
	uint64_t live[NODE_SLOTS / 64]; /* slots in use */
	void *slots[NODE_SLOTS];
};

struct pv_shadow_set {
	struct ram *ram;
	struct pv_shadow_limits limits;
	uint64_t maps, bytes;     /* in use */
	struct pv_shadow *newest; /* all of them, by their last fault */
	struct pv_shadow *oldest;
	enum pv_track track;
	uint64_t *log; /* a bit a page of the RAM file */
	uint64_t log_words;
};

struct pv_shadow {
	struct pv_shadow_set *set;
	struct pv_shadow *newer, *older;
	void *owner;
	uint64_t root;
	enum pv_mode mode;
	uint64_t begin, end; /* page numbers */
	struct shadow_node *top;
	unsigned maps, maps_limit; /* host mappings: those that are, those that may be */
	uint64_t pages;
	uint64_t hand; /* where eviction goes on */
};

static inline uint64_t leaf_base(uint64_t number)
{
	return number & ~(uint64_t)(LEAF_PAGES - 1);
}

static inline uint64_t leaf_bit(uint64_t number)
{
	return 1ull << (number % LEAF_PAGES);
}

/* The bits of the leaf at BASE that are in [first, end), which overlaps it. */
static inline uint64_t leaf_mask(uint64_t base, uint64_t first, uint64_t end)
{
	uint64_t mask = ~0ull;

	if (first > base)
		mask &= ~0ull << (first - base);
	if (end < base + LEAF_PAGES)
		mask &= ~0ull >> (base + LEAF_PAGES - end);
	return mask;
}

static inline unsigned first_bit(uint64_t bits)
{
	return (unsigned)__builtin_ctzll(bits);
}

static inline unsigned last_bit(uint64_t bits)
{
	return 63u - (unsigned)__builtin_clzll(bits);
}

/* Length of the run of ones that begins at bit FROM, which is set. */
static inline unsigned run_length(uint64_t bits, unsigned from)
{
	uint64_t inverse = ~(bits >> from);

	return inverse ? first_bit(inverse) : LEAF_PAGES;
}

static inline int leaf_prot(const struct shadow_leaf *leaf, unsigned bit)
{
	return 1 /* PROT_READ */ | (int)(leaf->writable >> bit & 1) << 1 |
	       (int)(leaf->exec >> bit & 1) << 2;
}

static inline void log_page(struct pv_shadow_set *set, uint64_t page)
{
	set->log[page / 64] |= 1ull << (page % 64);
}

static inline bool log_has(const struct pv_shadow_set *set, uint64_t page)
{
	return set->log[page / 64] >> (page % 64) & 1;
}

/* ---- shadow_tree.c: the tree, and its memory ---- */

/* The leaf of that page, or NULL. */
struct shadow_leaf *shadow_leaf_find(const struct pv_shadow *shadow, uint64_t number);
/* The same, made where there is none: NULL when memory is short. */
struct shadow_leaf *shadow_leaf_make(struct pv_shadow *shadow, uint64_t number);
/* The leaf of *NUMBER or else the first behind it, and *NUMBER its base; NULL: none. */
struct shadow_leaf *shadow_leaf_next(const struct pv_shadow *shadow, uint64_t *number);
/* Frees the leaf of that page, which is empty. */
void shadow_leaf_drop(struct pv_shadow *shadow, uint64_t number);
void shadow_tree_free(struct pv_shadow *shadow);
#define SHADOW_PATH_BYTES 4096u /* more than one leaf and its way there can take */

/* ---- shadow_pages.c: what is mapped, and how many host mappings that takes ---- */

/* Pages of one leaf, by bit. */
struct shadow_window {
	uint64_t present, writable, exec;
	uint32_t page[LEAF_PAGES];
};

/* Maps what WINDOW has, in the leaf at BASE, over what is there. 0 or -ENOMEM. */
int shadow_pages_map(struct pv_shadow *shadow, uint64_t base,
		     const struct shadow_window *window);
/* Takes the right to write from those that have it among BITS. */
void shadow_pages_protect(struct pv_shadow *shadow, struct shadow_leaf *leaf, uint64_t base,
			  uint64_t bits);
/*
 * Forgets what is mapped in [first, end). False: nothing was; else *RET_MAP unmaps it.
 * LOSSES: whether the log hears of pages that were writable, where it wants to.
 */
bool shadow_pages_unmap(struct pv_shadow *shadow, uint64_t first, uint64_t end, bool losses,
			struct pv_map *ret_map);

/* ---- shadow_evict.c ---- */

#define SHADOW_EVICTIONS 4u /* orders it takes at most to make room in one shadow */
/*
 * Makes room for NEED more host mappings and a leaf. True: RET has the orders for that (all in
 * SHADOW). False: RET is the answer, PV_FAULT_RELIEVE.
 */
bool shadow_make_room(struct pv_shadow *shadow, unsigned need, struct pv_fault *ret);

#endif
