/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about a fault: the guest's, or a page to be mapped, and which others with it. */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/engine/pv/shadow_internal.h"

#define RUNS (PV_SHADOW_ORDERS - SHADOW_EVICTIONS)

/* ---- what could be mapped ---- */

/* Where writes show only as faults, a page is mapped writable for one, or if it is logged. */
static bool may_write(const struct pv_shadow_set *set, const struct pv_leaf *leaf, bool writing)
{
	if (!(leaf->prot & PROT_WRITE))
		return false;
	return set->track != PV_TRACK_SHADOW || writing || log_has(set, leaf->page);
}

static void window_add(const struct pv_shadow_set *set, struct shadow_window *window,
		       unsigned bit, const struct pv_leaf *leaf, bool writing)
{
	uint64_t one = 1ull << bit;

	window->present |= one;
	if (may_write(set, leaf, writing))
		window->writable |= one;
	if (leaf->prot & PROT_EXEC)
		window->exec |= one;
	window->page[bit] = (uint32_t)leaf->page;
}

/* The bits of NUMBER's leaf that a fault there may fill: around it, ours, not yet mapped. */
static uint64_t around_mask(const struct pv_shadow *shadow, uint64_t number)
{
	uint64_t around = shadow->set->limits.around, base = leaf_base(number);
	uint64_t first = number & ~(around - 1), end = first + around;
	const struct shadow_leaf *leaf = shadow_leaf_find(shadow, number);

	first = first > shadow->begin ? first : shadow->begin;
	end = end < shadow->end ? end : shadow->end;
	return leaf_mask(base, first, end) & ~(leaf ? leaf->present : 0) & ~leaf_bit(number);
}

/* TABLE is the guest's, its 512 entries begin where a leaf does. */
static void window_look(const struct pv_shadow *shadow, const uint64_t *table, uint64_t number,
			struct shadow_window *window)
{
	const uint64_t *entries = &table[leaf_base(number) % 512];

	for (uint64_t bits = around_mask(shadow, number); bits; bits &= bits - 1) {
		struct pv_leaf leaf;

		pv_entry(shadow->set->ram, &entries[first_bit(bits)], shadow->mode, &leaf);
		if (leaf.prot)
			window_add(shadow->set, window, first_bit(bits), &leaf, false);
	}
}

/* ---- how much of it is ---- */

static bool same_run(const struct shadow_window *w, unsigned bit)
{
	return w->page[bit] == w->page[bit - 1] + 1 &&
	       (w->writable >> bit & 1) == (w->writable >> (bit - 1) & 1) &&
	       (w->exec >> bit & 1) == (w->exec >> (bit - 1) & 1);
}

/* The bits that begin a run: one order and at most one host mapping each. */
static uint64_t window_starts(const struct shadow_window *window)
{
	uint64_t starts = window->present & ~(window->present << 1);

	for (uint64_t bits = window->present & window->present << 1; bits; bits &= bits - 1)
		if (!same_run(window, first_bit(bits)))
			starts |= 1ull << first_bit(bits);
	return starts;
}

/* The run of BIT. */
static uint64_t run_of(const struct shadow_window *window, uint64_t starts, unsigned bit)
{
	unsigned first = last_bit(starts & (~0ull >> (63 - bit)));
	uint64_t breaks = ~(window->present & ~starts) & (~0ull << first << 1);
	uint64_t to = ~0ull << first;

	if (breaks)
		to &= (1ull << first_bit(breaks)) - 1;
	return to;
}

/* Mappings are getting scarce: guesses are not worth any. */
static bool crowded(const struct pv_shadow *shadow)
{
	const struct pv_shadow_set *set = shadow->set;

	return shadow->maps > shadow->maps_limit / 4 * 3 ||
	       set->maps > set->limits.maps_total / 4 * 3;
}

/* Keeps the page's own run and as many others as there are orders for: how many runs. */
static unsigned window_cut(const struct pv_shadow *shadow, struct shadow_window *window,
			   unsigned bit)
{
	uint64_t starts = window_starts(window), keep = run_of(window, starts, bit);
	uint64_t rest = crowded(shadow) ? 0 : starts & ~keep;
	unsigned n;

	for (n = 1; rest && n < RUNS; n++) {
		uint64_t above = rest & (~0ull << bit);
		unsigned next = above ? first_bit(above) : last_bit(rest);

		keep |= run_of(window, starts, next);
		rest &= ~(1ull << next);
	}
	window->present &= keep;
	window->writable &= keep;
	window->exec &= keep;
	return n;
}

/* ---- the answer ---- */

static void order_add(struct pv_fault *ret, const struct shadow_window *w, uint64_t base,
		      unsigned first, unsigned pages)
{
	ret->maps[ret->n++] = (struct pv_map){
	    .op = PV_MAP,
	    .populate = true,
	    .va = (base + first) * RAM_PAGE,
	    .offset = (uint64_t)w->page[first] * RAM_PAGE,
	    .pages = pages,
	    .prot = PROT_READ | (w->writable >> first & 1 ? PROT_WRITE : 0) |
		    (w->exec >> first & 1 ? PROT_EXEC : 0),
	};
}

/* The order of BIT's run first, should the host run out of anything half-way. */
static void orders_make(struct pv_fault *ret, const struct shadow_window *window, uint64_t base,
			unsigned bit)
{
	uint64_t starts = window_starts(window), own = run_of(window, starts, bit);

	order_add(ret, window, base, first_bit(own), (unsigned)__builtin_popcountll(own));
	for (uint64_t rest = starts & ~own; rest; rest &= rest - 1) {
		uint64_t run = run_of(window, starts, first_bit(rest));

		order_add(ret, window, base, first_bit(run),
			  (unsigned)__builtin_popcountll(run));
	}
}

/* This shadow had the set's last fault. */
static void shadow_renew(struct pv_shadow *shadow)
{
	struct pv_shadow_set *set = shadow->set;

	if (set->newest == shadow)
		return;
	shadow->newer->older = shadow->older;
	if (shadow->older)
		shadow->older->newer = shadow->newer;
	else
		set->oldest = shadow->newer;
	shadow->older = set->newest;
	shadow->newer = NULL;
	set->newest->newer = shadow;
	set->newest = shadow;
}

static int fault_map(struct pv_shadow *shadow, const uint64_t *table, uint64_t number,
		     const struct pv_leaf *leaf, int access, struct pv_fault *ret)
{
	unsigned bit = (unsigned)(number % LEAF_PAGES), runs;
	struct shadow_window window;
	int error;

	window.present = window.writable = window.exec = 0;
	window_add(shadow->set, &window, bit, leaf, access & PROT_WRITE);
	window_look(shadow, table, number, &window);
	runs = window_cut(shadow, &window, bit);
	shadow_renew(shadow);
	/* Mapping over the inside of a mapping makes two more of it. */
	if (!shadow_make_room(shadow, runs + 1, ret))
		return 0;
	error = shadow_pages_map(shadow, leaf_base(number), &window);
	if (error)
		return error;
	ret->answer = PV_FAULT_MAP;
	orders_make(ret, &window, leaf_base(number), bit);
	return 0;
}

int pv_shadow_fault(struct pv_shadow *shadow, uint64_t va, int access, struct pv_fault *ret)
{
	struct pv_leaf leaf = {.prot = PROT_NONE};
	uint64_t number = va / RAM_PAGE;
	const uint64_t *table = NULL;

	ret->error = 0;
	ret->other = NULL;
	ret->n = 0;
	if (number >= shadow->begin && number < shadow->end)
		table = pv_walk_table(shadow->set->ram, shadow->root, va);
	if (table)
		pv_entry(shadow->set->ram, &table[number % 512], shadow->mode, &leaf);
	if (leaf.prot && pv_leaf_allows(&leaf, access))
		return fault_map(shadow, table, number, &leaf, access, ret);
	ret->answer = PV_FAULT_REFLECT;
	ret->error = pv_fault_error(&leaf, access, shadow->mode);
	return 0;
}
