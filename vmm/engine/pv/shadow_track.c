/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of guest RAM have been written through a shadow. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/engine/pv/shadow_internal.h"

void pv_shadow_track(struct pv_shadow_set *set, enum pv_track track)
{
	memset(set->log, 0, set->log_words * sizeof(*set->log));
	set->track = track;
}

void pv_shadow_harvest(struct pv_shadow_set *set, uint64_t *words)
{
	for (uint64_t i = 0; i < set->log_words; i++) {
		words[i] |= set->log[i];
		set->log[i] = 0;
	}
}

/* The run of pages from bit FROM on that can be written and have equal rights. */
static uint64_t equal_run(const struct shadow_leaf *leaf, unsigned from)
{
	uint64_t exec = leaf->exec >> from & 1 ? leaf->exec : ~leaf->exec;
	unsigned n = run_length(leaf->writable & exec, from);

	return (n < LEAF_PAGES ? (1ull << n) - 1 : ~0ull) << from;
}

static bool order_extends(const struct pv_map *map, uint64_t va, int prot)
{
	return map->va + map->pages * RAM_PAGE == va && map->prot == prot;
}

/* The writable pages of a leaf from *CURSOR on, as far as the N orders of MAPS go. */
static bool protect_leaf(struct pv_shadow *shadow, struct shadow_leaf *leaf, uint64_t base,
			 uint64_t *cursor, struct pv_map *maps, unsigned *used, unsigned n)
{
	uint64_t todo;

	while ((todo = leaf->writable & leaf_mask(base, *cursor, base + LEAF_PAGES))) {
		unsigned bit = first_bit(todo);
		uint64_t run = equal_run(leaf, bit), va = (base + bit) * RAM_PAGE;
		unsigned pages = (unsigned)__builtin_popcountll(run);
		int prot = leaf_prot(leaf, bit) & ~PROT_WRITE;

		if (!*used || !order_extends(&maps[*used - 1], va, prot)) {
			if (*used == n)
				return false;
			maps[(*used)++] =
			    (struct pv_map){.op = PV_PROTECT, .prot = prot, .va = va};
		}
		maps[*used - 1].pages += pages;
		shadow_pages_protect(shadow, leaf, base, run);
		*cursor = base + bit + pages;
		if (*cursor == base + LEAF_PAGES)
			break;
	}
	return true;
}

unsigned pv_shadow_protect(struct pv_shadow *shadow, uint64_t *cursor, struct pv_map *maps,
			   unsigned n)
{
	struct shadow_leaf *leaf;
	uint64_t base = *cursor;
	unsigned used = 0;

	while ((leaf = shadow_leaf_next(shadow, &base))) {
		if (*cursor < base)
			*cursor = base;
		if (!protect_leaf(shadow, leaf, base, cursor, maps, &used, n))
			break;
		base += LEAF_PAGES;
		*cursor = base;
	}
	return used;
}

void pv_shadow_written(const struct pv_shadow *shadow, uint64_t va, uint64_t pages,
		       uint64_t *words)
{
	uint64_t first = va / RAM_PAGE, base = first, end;
	struct shadow_leaf *leaf;

	if (first >= shadow->end)
		return;
	if (!words)
		words = shadow->set->log;
	end = pages < shadow->end - first ? first + pages : shadow->end;
	for (; base < end && (leaf = shadow_leaf_next(shadow, &base)) && base < end;
	     base += LEAF_PAGES) {
		uint64_t bits = leaf->present & leaf_mask(base, first, end);

		for (; bits; bits &= bits - 1) {
			uint64_t page = leaf->page[first_bit(bits)];

			words[page / 64] |= 1ull << (page % 64);
		}
	}
}

/* The first writable page from *NUMBER on; NULL: none. */
static struct shadow_leaf *writable_next(const struct pv_shadow *shadow, uint64_t *number)
{
	uint64_t base = *number;
	struct shadow_leaf *leaf;

	for (; (leaf = shadow_leaf_next(shadow, &base)); base += LEAF_PAGES) {
		uint64_t bits = leaf->writable & leaf_mask(base, *number, base + LEAF_PAGES);

		if (!bits)
			continue;
		*number = base + first_bit(bits);
		return leaf;
	}
	return NULL;
}

uint64_t pv_shadow_writable(const struct pv_shadow *shadow, uint64_t *va)
{
	uint64_t number = *va / RAM_PAGE, end;
	struct shadow_leaf *leaf = writable_next(shadow, &number);

	if (!leaf)
		return 0;
	*va = number * RAM_PAGE;
	for (end = number; leaf && leaf->writable & leaf_bit(end);) {
		end += run_length(leaf->writable, (unsigned)(end % LEAF_PAGES));
		if (end % LEAF_PAGES)
			break;
		leaf = shadow_leaf_find(shadow, end);
	}
	return end - number;
}

bool pv_shadow_find(const struct pv_shadow *shadow, uint64_t va, struct pv_leaf *ret_leaf)
{
	uint64_t number = va / RAM_PAGE;
	const struct shadow_leaf *leaf = shadow_leaf_find(shadow, number);
	unsigned bit = (unsigned)(number % LEAF_PAGES);

	if (!leaf || !(leaf->present & leaf_bit(number)))
		return false;
	*ret_leaf = (struct pv_leaf){
	    .present = true, .prot = leaf_prot(leaf, bit), .page = leaf->page[bit]};
	return true;
}
