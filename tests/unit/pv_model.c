/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/pv_model.h"

struct model m;

unsigned model_below(unsigned n)
{
	return (unsigned)random_below(&m.seed, n);
}

uint64_t model_begin(unsigned r)
{
	return r == KERNEL ? 0x3fff0000ull : SEGUE_PV_USER_BEGIN;
}

bool model_own(unsigned r, unsigned place)
{
	return m.places[place] * 4096 >= model_begin(r);
}

/* ---- places ---- */

/* The lowest addresses, both sides of a top-level boundary, the highest, and far between. */
void model_lay_out(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 192; i++)
		m.places[n++] = 16 + i;
	for (unsigned i = 0; i < 256; i++)
		m.places[n++] = 0x40000 - 100 + i;
	for (unsigned i = 0; i < 64; i++)
		m.places[n++] = 0x200000 + i * 0x1c0123ull;
	for (unsigned i = 0; i < 192; i++)
		m.places[n++] = (SEGUE_PV_VA_END >> 12) - 192 + i;
	MUST(n == PLACES);
}

/* The first place at NUMBER or behind. */
unsigned model_place(uint64_t number)
{
	unsigned low = 0, high = PLACES;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (m.places[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- what the guest's tables say ---- */

bool model_walk(unsigned r, uint64_t number, uint32_t *ret_page, int *ret_prot)
{
	uint64_t entry = m.root[r];

	for (int shift = 18; shift >= 0; shift -= 9) {
		uint64_t at = (entry & 0x000ffffffffff000ull) + 8 * (number >> shift & 511);

		if (ram_read(m.tables.ram, at, &entry, 8) < 0 || !(entry & 1) ||
		    (entry & 0x000ffffffffff000ull) >= RAM_BYTES)
			return false;
	}
	*ret_page = (uint32_t)((entry & 0x000ffffffffff000ull) / 4096);
	*ret_prot = 0;
	if (!(entry & 0x80) || (r != KERNEL && !(entry & 0x40)))
		return true;
	*ret_prot = PROT_READ | ((entry & 0x120) == 0x120 ? PROT_WRITE : 0) |
		    (entry & 0x200 ? PROT_EXEC : 0);
	return true;
}

void model_note_given(unsigned r, unsigned place)
{
	struct given *g = &m.given[r][place];
	uint32_t page;
	int prot;

	if (!model_walk(r, m.places[place], &page, &prot)) {
		page = 0;
		prot = 0;
	}
	for (unsigned i = 0; i < g->n; i++)
		if (g->was[i].page == page && (g->was[i].prot & prot) == prot)
			return;
	MUST(g->n < HISTORY);
	g->was[g->n].page = page;
	g->was[g->n].prot = prot;
	g->n++;
}

static bool was_given(unsigned r, unsigned place, uint32_t page, int prot)
{
	const struct given *g = &m.given[r][place];

	for (unsigned i = 0; i < g->n; i++)
		if (g->was[i].page == page && (g->was[i].prot & prot) == prot)
			return true;
	return false;
}

/* ---- the processes ---- */

static void unmap_place(unsigned r, unsigned place)
{
	struct mapped *at = &m.host[r][place];

	if (at->prot & PROT_WRITE)
		m.lost[at->page] = true;
	*at = (struct mapped){0};
}

static void map_run(unsigned r, const struct pv_map *map)
{
	for (uint64_t i = 0; i < map->pages; i++) {
		uint64_t number = map->va / 4096 + i;
		unsigned place = model_place(number);
		uint32_t page = (uint32_t)(map->offset / 4096 + i);

		MUST(place < PLACES && m.places[place] == number && model_own(r, place));
		MUST(page < PAGES && map->prot & PROT_READ);
		MUST(was_given(r, place, page, map->prot));
		unmap_place(r, place);
		m.host[r][place] = (struct mapped){.page = page, .prot = map->prot};
	}
}

static void protect_run(unsigned r, const struct pv_map *map)
{
	for (uint64_t i = 0; i < map->pages; i++) {
		unsigned place = model_place(map->va / 4096 + i);

		MUST(place < PLACES && m.places[place] == map->va / 4096 + i);
		MUST(m.host[r][place].prot == (map->prot | PROT_WRITE));
		m.host[r][place].prot = map->prot;
	}
}

static unsigned host_maps(unsigned r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PLACES; i++) {
		const struct mapped *at = &m.host[r][i], *before = at - 1;

		if (!at->prot)
			continue;
		n += i == 0 || m.places[i - 1] + 1 != m.places[i] || !before->prot ||
		     before->page + 1 != at->page || before->prot != at->prot;
	}
	return n;
}

void model_carry_out(unsigned r, const struct pv_map *maps, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		const struct pv_map *map = &maps[k];
		uint64_t end = map->va + map->pages * 4096;

		MUST(map->pages && map->va % 4096 == 0 && map->offset % 4096 == 0);
		MUST(map->va >= model_begin(r) && end <= SEGUE_PV_VA_END);
		if (map->op == PV_MAP)
			map_run(r, map);
		else if (map->op == PV_PROTECT)
			protect_run(r, map);
		else
			for (unsigned i = model_place(map->va / 4096);
			     i < PLACES && m.places[i] < end / 4096; i++)
				unmap_place(r, i);
		MUST(host_maps(r) <= m.maps_limit[r] + 2);
	}
}

/* ---- checks ---- */

void model_check_counts(void)
{
	uint64_t all = 0;

	for (unsigned r = 0; r < ROOTS; r++) {
		unsigned maps = host_maps(r);

		MUST(pv_shadow_maps(m.shadow[r]) == maps);
		MUST(maps <= m.maps_limit[r]);
		all += maps;
	}
	MUST(pv_shadow_set_maps(m.set) == all && all <= m.limits.maps_total);
	MUST(pv_shadow_set_bytes(m.set) <= m.limits.bytes);
}

static void check_place(unsigned r, unsigned place)
{
	const struct mapped *at = &m.host[r][place];
	struct pv_leaf leaf;
	bool found = pv_shadow_find(m.shadow[r], m.places[place] * 4096 + 77, &leaf);

	MUST(found == !!at->prot);
	if (found)
		MUST(leaf.page == at->page && leaf.prot == at->prot &&
		     was_given(r, place, at->page, at->prot));
	if (at->prot & PROT_WRITE && m.track == PV_TRACK_SHADOW)
		MUST(m.written[at->page]);
}

void model_check_all(void)
{
	for (unsigned r = 0; r < ROOTS; r++) {
		uint64_t pages = 0;

		for (unsigned i = 0; i < PLACES; i++) {
			check_place(r, i);
			pages += m.host[r][i].prot != 0;
		}
		MUST(pv_shadow_pages(m.shadow[r]) == pages);
	}
}
