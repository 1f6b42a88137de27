/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shadow has mapped, changed in one place so that the count of host mappings is right: a
 * page is .joined where the host keeps it in one mapping with the page before it (mm/vma.c,
 * vma_merge: same file, same rights, offsets going on), and a mapping is a page that is not.
 */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/engine/pv/shadow_internal.h"

_Static_assert(PROT_READ == 1 && PROT_WRITE == 2 && PROT_EXEC == 4, "leaf_prot()");

static unsigned leaf_maps(const struct shadow_leaf *leaf)
{
	return (unsigned)__builtin_popcountll(leaf->present & ~leaf->joined);
}

static unsigned leaf_pages(const struct shadow_leaf *leaf)
{
	return (unsigned)__builtin_popcountll(leaf->present);
}

/* A leaf's part in the counts is taken out before it changes, and put back in after. */
static void count_out(struct pv_shadow *shadow, const struct shadow_leaf *leaf)
{
	shadow->maps -= leaf_maps(leaf);
	shadow->set->maps -= leaf_maps(leaf);
	shadow->pages -= leaf_pages(leaf);
}

static void count_in(struct pv_shadow *shadow, const struct shadow_leaf *leaf)
{
	shadow->maps += leaf_maps(leaf);
	shadow->set->maps += leaf_maps(leaf);
	shadow->pages += leaf_pages(leaf);
}

/* Whether page J of B, the one behind page I of A, goes on where that ends. Both present. */
static bool goes_on(const struct shadow_leaf *a, unsigned i, const struct shadow_leaf *b,
		    unsigned j)
{
	return b->page[j] == a->page[i] + 1 && leaf_prot(a, i) == leaf_prot(b, j);
}

/* Anew, whether those among BITS (without the first) are joined to the one before. */
static void leaf_rejoin(struct shadow_leaf *leaf, uint64_t bits)
{
	uint64_t pairs = bits & leaf->present & leaf->present << 1;

	leaf->joined &= ~bits;
	for (; pairs; pairs &= pairs - 1) {
		unsigned bit = first_bit(pairs);

		if (goes_on(leaf, bit - 1, leaf, bit))
			leaf->joined |= 1ull << bit;
	}
}

/* The same for the first page of a leaf, which looks at the leaf before. */
static void leaf_rejoin_first(const struct pv_shadow *shadow, struct shadow_leaf *leaf,
			      uint64_t base)
{
	const struct shadow_leaf *before = base ? shadow_leaf_find(shadow, base - 1) : NULL;

	leaf->joined &= ~1ull;
	if (before && before->present >> 63 && (leaf->present & 1) &&
	    goes_on(before, 63, leaf, 0))
		leaf->joined |= 1;
}

/* The first page of the leaf at BASE, if any: the page before it has changed. */
static void recount_first(struct pv_shadow *shadow, uint64_t base)
{
	struct shadow_leaf *leaf = shadow_leaf_find(shadow, base);

	if (!leaf || !(leaf->present & 1))
		return;
	count_out(shadow, leaf);
	leaf_rejoin_first(shadow, leaf, base);
	count_in(shadow, leaf);
}

/* BITS of the leaf have changed, which is counted out: joins them and counts it in. */
static void leaf_changed(struct pv_shadow *shadow, struct shadow_leaf *leaf, uint64_t base,
			 uint64_t bits)
{
	leaf_rejoin(leaf, (bits | bits << 1) & ~1ull);
	if (bits & 1)
		leaf_rejoin_first(shadow, leaf, base);
	count_in(shadow, leaf);
	if (bits >> 63)
		recount_first(shadow, base + LEAF_PAGES);
}

static void log_bits(struct pv_shadow_set *set, const uint32_t *pages, uint64_t bits)
{
	for (; bits; bits &= bits - 1)
		log_page(set, pages[first_bit(bits)]);
}

/* Pages that are no longer mapped writable: what the host's kernel knew of them is lost. */
static void log_losses(struct pv_shadow_set *set, const struct shadow_leaf *leaf, uint64_t bits)
{
	if (set->track == PV_TRACK_KERNEL)
		log_bits(set, leaf->page, leaf->writable & bits);
}

int shadow_pages_map(struct pv_shadow *shadow, uint64_t base,
		     const struct shadow_window *window)
{
	struct shadow_leaf *leaf = shadow_leaf_make(shadow, base);

	if (!leaf)
		return -ENOMEM;
	leaf->recent = true;
	log_losses(shadow->set, leaf, window->present);
	if (shadow->set->track == PV_TRACK_SHADOW)
		log_bits(shadow->set, window->page, window->writable);
	count_out(shadow, leaf);
	leaf->present |= window->present;
	leaf->writable = (leaf->writable & ~window->present) | window->writable;
	leaf->exec = (leaf->exec & ~window->present) | window->exec;
	for (uint64_t bits = window->present; bits; bits &= bits - 1)
		leaf->page[first_bit(bits)] = window->page[first_bit(bits)];
	leaf_changed(shadow, leaf, base, window->present);
	return 0;
}

void shadow_pages_protect(struct pv_shadow *shadow, struct shadow_leaf *leaf, uint64_t base,
			  uint64_t bits)
{
	bits &= leaf->writable;
	count_out(shadow, leaf);
	leaf->writable &= ~bits;
	leaf_changed(shadow, leaf, base, bits);
}

static void leaf_unmap(struct pv_shadow *shadow, struct shadow_leaf *leaf, uint64_t bits,
		       bool losses)
{
	if (losses)
		log_losses(shadow->set, leaf, bits);
	count_out(shadow, leaf);
	leaf->present &= ~bits;
	leaf->writable &= ~bits;
	leaf->exec &= ~bits;
	leaf_rejoin(leaf, bits | (bits << 1));
	count_in(shadow, leaf);
}

bool shadow_pages_unmap(struct pv_shadow *shadow, uint64_t first, uint64_t end, bool losses,
			struct pv_map *ret_map)
{
	uint64_t base = first, from = 0, to = 0;
	struct shadow_leaf *leaf;

	for (; base < end && (leaf = shadow_leaf_next(shadow, &base)) && base < end;
	     base += LEAF_PAGES) {
		uint64_t bits = leaf->present & leaf_mask(base, first, end);

		if (!bits)
			continue;
		if (!to)
			from = base + first_bit(bits);
		to = base + last_bit(bits) + 1;
		leaf_unmap(shadow, leaf, bits, losses);
		if (!leaf->present)
			shadow_leaf_drop(shadow, base);
	}
	if (!to)
		return false;
	if (to % LEAF_PAGES == 0)
		recount_first(shadow, to);
	*ret_map = (struct pv_map){.op = PV_UNMAP, .va = from * RAM_PAGE, .pages = to - from};
	return true;
}
