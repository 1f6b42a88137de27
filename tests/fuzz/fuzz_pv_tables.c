/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest can do with page tables to the paravirtual engine's walker and shadows.
 *
 * Input: two bytes of choices, a number of table entries to be written, then operations, eight
 * bytes each. Every order is checked against what the engine takes as given: addresses within
 * the shadow's, pages within RAM, rights within the entry's, counts within the limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/abi.h"
#include "vmm/engine/pv/shadow.h"

#define RAM_BYTES (2u << 20)
#define PAGES     (RAM_BYTES / 4096)
#define SHADOWS   3u
#define MAPS_MAX  64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram *ram;
static struct pv_shadow_set *set;
static struct pv_shadow *shadows[SHADOWS];
static uint64_t roots[SHADOWS];
static uint64_t words[PAGES / 64];

static const uint64_t begins[SHADOWS] = {SEGUE_PV_USER_BEGIN, SEGUE_PV_USER_BEGIN, 0x60200000};

static void must(bool true_of_every_input)
{
	if (!true_of_every_input)
		abort();
}

static enum pv_mode mode_of(unsigned s)
{
	return s == 2 ? PV_KERNEL : PV_USER;
}

/* An address from few bytes, near the places where something begins or ends. */
static uint64_t address(const uint8_t *b)
{
	uint64_t low = (uint64_t)(b[0] | (b[1] & 15) << 8) * 4096;

	switch (b[1] >> 4 & 7) {
	case 0:
		return low;
	case 1:
		return SEGUE_PV_VA_END - 4096 * 64 + low;
	case 2:
		return 0x60200000 - 4096 * 64 + low;
	case 3:
		return (uint64_t)b[0] << 30 | (uint64_t)b[1] << 21 | (uint64_t)b[2] << 12 |
		       b[0];
	case 4:
		return ~0ull - low;
	default:
		return 0x40000000 - 4096 * 64 + low;
	}
}

static void check_order(unsigned s, const struct pv_map *map)
{
	uint64_t end = map->va + map->pages * 4096;

	must(map->pages && map->va % 4096 == 0 && map->offset % 4096 == 0);
	must(map->va >= begins[s] && end > map->va && end <= SEGUE_PV_VA_END);
	if (map->op != PV_MAP)
		return;
	must(map->pages <= PAGES && map->offset / 4096 <= PAGES - map->pages);
	for (uint64_t i = 0; i < map->pages; i++) {
		struct pv_leaf leaf;

		pv_walk(ram, roots[s], map->va + i * 4096, mode_of(s), &leaf);
		must(leaf.present && leaf.page == map->offset / 4096 + i);
		must((map->prot & ~leaf.prot) == 0 && map->prot & PROT_READ);
	}
}

static unsigned index_of(const struct pv_shadow *shadow)
{
	for (unsigned s = 0; s < SHADOWS; s++)
		if (shadows[s] == shadow)
			return s;
	abort();
}

static void fault(unsigned s, uint64_t va, int access)
{
	struct pv_fault f;
	struct pv_leaf leaf;

	for (unsigned turn = 0;; turn++) {
		unsigned of = s;

		must(turn < 40 && pv_shadow_fault(shadows[s], va, access, &f) == 0);
		must(f.n <= PV_SHADOW_ORDERS);
		if (f.answer == PV_FAULT_RELIEVE)
			of = index_of(f.other);
		for (unsigned i = 0; i < f.n; i++)
			check_order(of, &f.maps[i]);
		if (f.answer != PV_FAULT_RELIEVE)
			break;
	}
	must(pv_shadow_maps(shadows[s]) <= MAPS_MAX);
	if (f.answer == PV_FAULT_REFLECT)
		return;
	must(pv_shadow_find(shadows[s], va, &leaf) && leaf.prot & access);
}

static void flush(unsigned s, uint64_t begin, uint64_t pages, bool scanned)
{
	uint64_t end = begin + pages * 4096;
	struct pv_map map;
	struct pv_leaf leaf;
	bool any;

	any = scanned ? pv_shadow_flush_scanned(shadows[s], begin, end, &map)
		      : pv_shadow_flush(shadows[s], begin, end, &map);
	if (any)
		check_order(s, &map);
	must(end <= begin || !pv_shadow_find(shadows[s], begin, &leaf));
}

static void protect(unsigned s)
{
	struct pv_map maps[3];
	uint64_t cursor = 0, va = 0;
	unsigned n;

	while ((n = pv_shadow_protect(shadows[s], &cursor, maps, 3)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			check_order(s, &maps[i]);
			must(maps[i].op == PV_PROTECT && !(maps[i].prot & PROT_WRITE));
		}
	}
	must(pv_shadow_writable(shadows[s], &va) == 0);
}

static void scan(unsigned s, uint64_t va, uint64_t pages)
{
	uint64_t at = va, n;

	pv_shadow_written(shadows[s], va, pages, words);
	for (unsigned i = 0; i < 50 && (n = pv_shadow_writable(shadows[s], &at)) > 0; i++)
		at += n * 4096;
}

/* From seven bytes. */
static void entry_write(const uint8_t *b)
{
	uint64_t entry = (uint64_t)(b[2] | (b[3] & 3) << 8) << 12 | b[4] | (b[5] & 3) << 8;
	uint64_t at = (uint64_t)(b[0] & 31) * 4096 + (b[1] | (b[3] & 4) << 6) * 8;

	if (b[5] & 4) /* anywhere, and bits that mean nothing */
		memcpy(&entry, b, 7);
	must(ram_write(ram, at, &entry, 8) == 0);
}

static void operate(const uint8_t *b)
{
	unsigned s = b[0] / 16 % SHADOWS;
	uint64_t pages = (uint64_t)b[4] << (b[5] & 63);
	struct pv_map map;

	switch (b[0] % 16) {
	case 8:
		flush(s, address(b + 1), pages, b[6] & 1);
		break;
	case 9:
		scan(s, address(b + 1), pages);
		break;
	case 10:
		pv_shadow_track(set, (enum pv_track)(b[1] % 3));
		for (unsigned i = 0; i < SHADOWS; i++)
			protect(i);
		break;
	case 11:
		pv_shadow_harvest(set, words);
		for (unsigned i = 0; i < SHADOWS; i++)
			protect(i);
		break;
	case 12:
		pv_shadow_refused(shadows[s], &map);
		check_order(s, &map);
		break;
	case 13:
		roots[s] = b[1] & 128 ? ~0ull << (b[2] & 63) : (uint64_t)(b[1] & 31) * 4096;
		pv_shadow_set_root(shadows[s], roots[s]);
		break;
	case 14:
	case 15:
		entry_write(b + 1);
		break;
	default:
		fault(s, address(b + 1), 1 << b[4] % 3);
	}
}

static void build(uint8_t around)
{
	struct pv_shadow_limits limits = {MAPS_MAX, MAPS_MAX + 32, 1, 1u << around % 7};

	must(ram || ram_create(RAM_BYTES, &ram, NULL) == 0);
	memset(ram_base(ram), 0, 32 * 4096);
	must(pv_shadow_set_create(ram, &limits, &set, NULL) == 0);
	for (unsigned s = 0; s < SHADOWS; s++) {
		roots[s] = s * 4096;
		must(pv_shadow_create(set, roots[s], mode_of(s), begins[s], SEGUE_PV_VA_END,
				      NULL, &shadows[s]) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t entries;

	if (size < 2)
		return 0;
	build(data[0]);
	entries = data[1];
	data += 2;
	size -= 2;
	for (; size >= 8; data += 8, size -= 8) {
		if (entries) {
			entries--;
			entry_write(data);
		} else {
			operate(data);
		}
	}
	must(pv_shadow_set_bytes(set) <= PV_SHADOW_BYTES_MIN);
	must(pv_shadow_set_maps(set) <= MAPS_MAX + 32);
	pv_shadow_set_destroy(set);
	return 0;
}
