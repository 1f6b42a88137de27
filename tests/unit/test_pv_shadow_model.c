/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadows under random work, held against a model of the processes they are for: an array of
 * what is mapped, changed by nothing but the orders. No right may be there that the guest's
 * entries have not given since the last flush, the counts must be what a host would count,
 * and the log must have every page that was written.
 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/shadow.h"

#define RAM_BYTES (16ull << 20)
#define PAGES     (RAM_BYTES / 4096)
#define DATA      2048u /* data pages from here up, tables below */
#define ROOTS     3u
#define KERNEL    2u    /* this root is the kernel's */
#define PLACES    704u  /* addresses in play, a root */
#define HISTORY   12u
#define OPS       12000u

#define MUST(what) CU_ASSERT_TRUE_FATAL(what)

struct mapped {
	uint32_t page;
	int prot;     /* 0: nothing mapped */
	bool written; /* as a host's kernel would know */
};

/* What the entry of one place has given since its last flush; the last one is in force. */
struct given {
	unsigned n;
	struct {
		uint32_t page;
		int prot;
	} was[HISTORY];
};

static struct {
	uint64_t seed;
	struct pv_tables tables;
	struct pv_shadow_limits limits;
	struct pv_shadow_set *set;
	struct pv_shadow *shadow[ROOTS];
	uint64_t root[ROOTS];
	unsigned maps_limit[ROOTS];
	uint64_t places[PLACES]; /* page numbers, ascending */
	struct mapped host[ROOTS][PLACES];
	struct given given[ROOTS][PLACES];

	enum pv_track track;
	bool written[PAGES]; /* since the last harvest */
	bool lost[PAGES];    /* writable mappings of these have gone */
	uint64_t log[PAGES / 64];
} m;

static unsigned below(unsigned n)
{
	return (unsigned)random_below(&m.seed, n);
}

static uint64_t va_begin(unsigned r)
{
	return r == KERNEL ? 0x3fff0000ull : SEGUE_PV_USER_BEGIN;
}

static bool own(unsigned r, unsigned place)
{
	return m.places[place] * 4096 >= va_begin(r);
}

/* ---- places ---- */

/* The lowest addresses, both sides of a top-level boundary, the highest, and far between. */
static void lay_out(void)
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
static unsigned place_from(uint64_t number)
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

static bool plain_walk(unsigned r, uint64_t number, uint32_t *ret_page, int *ret_prot)
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

static void note_given(unsigned r, unsigned place)
{
	struct given *g = &m.given[r][place];
	uint32_t page;
	int prot;

	if (!plain_walk(r, m.places[place], &page, &prot)) {
		page = 0;
		prot = 0;
	}
	for (unsigned i = 0; i + 1 < g->n; i++)
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
		unsigned place = place_from(number);
		uint32_t page = (uint32_t)(map->offset / 4096 + i);

		MUST(place < PLACES && m.places[place] == number && own(r, place));
		MUST(page < PAGES && map->prot & PROT_READ);
		MUST(was_given(r, place, page, map->prot));
		unmap_place(r, place);
		m.host[r][place] = (struct mapped){.page = page, .prot = map->prot};
	}
}

static void protect_run(unsigned r, const struct pv_map *map)
{
	for (uint64_t i = 0; i < map->pages; i++) {
		unsigned place = place_from(map->va / 4096 + i);

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

static void carry_out(unsigned r, const struct pv_map *maps, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		const struct pv_map *map = &maps[k];
		uint64_t end = map->va + map->pages * 4096;

		MUST(map->pages && map->va % 4096 == 0 && map->offset % 4096 == 0);
		MUST(map->va >= va_begin(r) && end <= SEGUE_PV_VA_END);
		if (map->op == PV_MAP)
			map_run(r, map);
		else if (map->op == PV_PROTECT)
			protect_run(r, map);
		else
			for (unsigned i = place_from(map->va / 4096);
			     i < PLACES && m.places[i] < end / 4096; i++)
				unmap_place(r, i);
		MUST(host_maps(r) <= m.maps_limit[r] + 2);
	}
}

/* ---- checks ---- */

static void check_counts(void)
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

static void check_all(void)
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

/* ---- tracking ---- */

static void scan(unsigned r, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		unsigned end = i;

		while (end < to && m.host[r][end].written &&
		       m.places[end] == m.places[i] + (end - i))
			m.host[r][end++].written = false;
		if (end == i)
			continue;
		pv_shadow_written(m.shadow[r], m.places[i] * 4096, end - i, m.log);
		i = end - 1;
	}
}

/* Only what can have been written, by pv_shadow_writable(). */
static void scan_writable(unsigned r)
{
	uint64_t va = 0, pages;

	while ((pages = pv_shadow_writable(m.shadow[r], &va)) != 0) {
		unsigned from = place_from(va / 4096), to = from + (unsigned)pages;

		MUST(to <= PLACES && m.places[to - 1] == va / 4096 + pages - 1);
		for (unsigned i = from; i < to; i++)
			MUST(m.host[r][i].prot & PROT_WRITE);
		scan(r, from, to);
		va += pages * 4096;
		MUST(to == PLACES || m.places[to] > m.places[to - 1] + 1 ||
		     !(m.host[r][to].prot & PROT_WRITE));
	}
	for (unsigned i = 0; i < PLACES; i++)
		MUST(!m.host[r][i].written);
}

static void protect_all(void)
{
	for (unsigned r = 0; r < ROOTS; r++) {
		struct pv_map maps[5];
		uint64_t cursor = 0;
		unsigned n, most = 1 + below(5);

		while ((n = pv_shadow_protect(m.shadow[r], &cursor, maps, most)) != 0) {
			MUST(n <= most);
			carry_out(r, maps, n);
		}
		for (unsigned i = 0; i < PLACES; i++)
			MUST(!(m.host[r][i].prot & PROT_WRITE));
	}
}

static void round_begins(void)
{
	memset(m.written, 0, sizeof(m.written));
	memset(m.lost, 0, sizeof(m.lost));
	memset(m.log, 0, sizeof(m.log));
}

static void harvest(void)
{
	if (m.track == PV_TRACK_OFF)
		return;
	for (unsigned r = 0; m.track == PV_TRACK_KERNEL && r < ROOTS; r++) {
		if (below(2))
			scan_writable(r);
		else
			scan(r, 0, PLACES);
	}
	pv_shadow_harvest(m.set, m.log);
	if (m.track == PV_TRACK_SHADOW)
		protect_all();
	for (unsigned i = 0; i < PAGES; i++) {
		bool logged = m.log[i / 64] >> (i % 64) & 1;

		MUST(logged || !m.written[i]);
		MUST(!logged || m.written[i] || (m.track == PV_TRACK_KERNEL && m.lost[i]));
	}
	round_begins();
}

static void change_track(void)
{
	m.track = (enum pv_track)below(3);
	pv_shadow_track(m.set, m.track);
	round_begins();
	for (unsigned i = 0; i < ROOTS * PLACES; i++)
		m.host[i / PLACES][i % PLACES].written = false;
	if (m.track == PV_TRACK_SHADOW)
		protect_all();
}

/* ---- what guests do ---- */

static void flush(unsigned r, unsigned from, unsigned to)
{
	uint64_t begin = m.places[from] * 4096, end = m.places[to - 1] * 4096 + 4096;
	bool crowded = pv_shadow_maps(m.shadow[r]) == m.maps_limit[r] ||
		       pv_shadow_set_maps(m.set) == m.limits.maps_total;
	struct pv_map map;
	bool any;

	if (m.track == PV_TRACK_KERNEL && below(2)) {
		scan(r, from, to);
		any = pv_shadow_flush_scanned(m.shadow[r], begin, end, &map);
	} else {
		any = pv_shadow_flush(m.shadow[r], begin, end, &map);
	}
	if (any) {
		MUST(map.op == PV_UNMAP && map.va >= begin && map.va < end);
		MUST(map.va + map.pages * 4096 <= end || crowded);
		carry_out(r, &map, 1);
	}
	for (unsigned i = from; i < to; i++) {
		MUST(!m.host[r][i].prot);
		m.given[r][i].n = 0;
		note_given(r, i);
	}
}

static void random_range(unsigned *from, unsigned *to)
{
	*from = below(PLACES);
	*to = *from + 1 + below(below(4) ? 8 : below(4) ? 100 : PLACES);
	if (*to > PLACES)
		*to = PLACES;
	if (!below(100)) {
		*from = 0;
		*to = PLACES;
	}
}

static void flush_some(void)
{
	unsigned from, to;

	random_range(&from, &to);
	flush(below(ROOTS), from, to);
}

/* Entries have changed there: what they give now is given, and histories stay short. */
static void note_range(unsigned from, unsigned to)
{
	for (unsigned r = 0; r < ROOTS; r++) {
		for (unsigned i = from; i < to; i++) {
			if (m.given[r][i].n + 1 >= HISTORY)
				flush(r, i, i + 1);
			note_given(r, i);
		}
	}
}

static uint64_t random_bits(void)
{
	static const uint64_t usual[] = {PTE_READ, PTE_WRITE, PTE_ALL, PTE_READ | SEGUE_PV_PTE_X,
					 PTE_READ | SEGUE_PV_PTE_W, PTE_WRITE & ~SEGUE_PV_PTE_U};

	return below(8) ? usual[below(6)] : random_next(&m.seed) & 0xfff;
}

static void edit(void)
{
	unsigned from, to, r = below(ROOTS);
	uint64_t page = below(20) ? DATA + below(PAGES - DATA) : below(PAGES + 20);
	uint64_t bits = random_bits(), same = below(3);

	random_range(&from, &to);
	for (unsigned i = from; i < to; i++, page += same || below(8) ? 1 : 5) {
		if (!same && !below(4))
			bits = random_bits();
		*tables_entry(&m.tables, m.root[r], m.places[i] * 4096) = page * 4096 | bits;
	}
	note_range(from, to);
}

/* Bits of entries that are there change, as a guest's faults and its reclaim do. */
static void edit_bits(void)
{
	static const uint64_t flips[] = {SEGUE_PV_PTE_D, SEGUE_PV_PTE_A, SEGUE_PV_PTE_W,
					 SEGUE_PV_PTE_P, SEGUE_PV_PTE_D | SEGUE_PV_PTE_W};
	unsigned from, to, r = below(ROOTS);
	uint64_t flip = flips[below(5)];

	random_range(&from, &to);
	for (unsigned i = from; i < to; i++)
		*tables_entry(&m.tables, m.root[r], m.places[i] * 4096) ^= flip;
	note_range(from, to);
}

/* A table of the middle level goes, comes back, or is shared by two roots. */
static void edit_upper(void)
{
	unsigned place = below(PLACES), r = below(ROOTS);
	uint64_t va = m.places[place] * 4096;
	uint64_t *top = tables_word(m.tables.ram, m.root[r], va >> 30 & 511);

	if (below(2) && *top & 1)
		*tables_word(m.tables.ram, m.root[below(ROOTS)], va >> 30 & 511) = *top;
	else if (*top)
		*top ^= SEGUE_PV_PTE_P;
	note_range(0, PLACES);
	*top |= SEGUE_PV_PTE_P & -(uint64_t)(*top != 0);
	note_range(0, PLACES);
}

static unsigned root_of(const struct pv_shadow *shadow)
{
	unsigned r = (unsigned)((uint64_t *)pv_shadow_owner(shadow) - m.root);

	MUST(r < ROOTS && m.shadow[r] == shadow);
	return r;
}

/* A host that refuses one of the orders, now and then. */
static bool refuse(unsigned r, const struct pv_fault *fault)
{
	unsigned limit = pv_shadow_maps(m.shadow[r]) / 4 * 3;
	struct pv_map map;

	if (below(400))
		return false;
	/* Those count as mapped and unmapped again. */
	for (unsigned k = 0; k < fault->n; k++)
		for (uint64_t i = 0; fault->maps[k].op == PV_MAP && i < fault->maps[k].pages; i++)
			m.lost[fault->maps[k].offset / 4096 + i] = true;
	carry_out(r, fault->maps, below(fault->n));
	m.maps_limit[r] = limit < PV_SHADOW_MAPS_MIN ? PV_SHADOW_MAPS_MIN : limit;
	pv_shadow_refused(m.shadow[r], &map);
	carry_out(r, &map, 1);
	for (unsigned i = 0; i < PLACES; i++)
		MUST(!m.host[r][i].prot);
	return true;
}

/* Until it is mapped (true) or the guest's. */
static bool fault(unsigned r, unsigned place, int access, struct pv_fault *f)
{
	for (unsigned turn = 0; turn < 200; turn++) {
		MUST(pv_shadow_fault(m.shadow[r], m.places[place] * 4096 + below(4096), access,
				     f) == 0);
		MUST(f->n <= PV_SHADOW_ORDERS);
		if (f->answer == PV_FAULT_REFLECT)
			return false;
		if (f->answer == PV_FAULT_RELIEVE) {
			MUST(f->n && f->other != m.shadow[r]);
			carry_out(root_of(f->other), f->maps, f->n);
		} else if (!refuse(r, f)) {
			carry_out(r, f->maps, f->n);
			return true;
		}
	}
	MUST(false);
	return false;
}

static void check_reflected(unsigned r, unsigned place, int access, uint32_t error)
{
	uint32_t want = r == KERNEL ? 0 : SEGUE_PV_PF_USER, page;
	bool present = own(r, place);
	int prot = 0;

	present = present && plain_walk(r, m.places[place], &page, &prot);
	MUST(!(prot & access));
	want |= present ? SEGUE_PV_PF_PRESENT : 0;
	want |= access == PROT_WRITE ? SEGUE_PV_PF_WRITE : 0;
	want |= access == PROT_EXEC ? SEGUE_PV_PF_FETCH : 0;
	MUST(error == want);
}

static void touch(unsigned r, unsigned place, int access)
{
	struct mapped *at = &m.host[r][place];
	struct pv_fault f;
	uint32_t page;
	int prot;

	if (!(at->prot & access) || !below(50)) {
		if (!fault(r, place, access, &f)) {
			check_reflected(r, place, access, f.error);
			return;
		}
		MUST(plain_walk(r, m.places[place], &page, &prot));
		MUST(at->page == page && at->prot & access);
	}
	if (access == PROT_WRITE) {
		m.written[at->page] = true;
		at->written = m.track == PV_TRACK_KERNEL;
	}
}

static void touch_some(void)
{
	unsigned r = below(ROOTS), from, to;

	random_range(&from, &to);
	if (to - from > 40)
		to = from + 40;
	for (unsigned i = from; i < to; i++)
		touch(r, i, 1 << below(3));
}

static void shadow_begin(unsigned r)
{
	MUST(pv_shadow_create(m.set, m.root[r], r == KERNEL ? PV_KERNEL : PV_USER, va_begin(r),
			      SEGUE_PV_VA_END, &m.root[r], &m.shadow[r]) == 0);
	m.maps_limit[r] = m.limits.maps;
}

static void renew(void)
{
	unsigned r = below(ROOTS);

	flush(r, 0, PLACES);
	pv_shadow_destroy(m.shadow[r]);
	shadow_begin(r);
}

/* ---- runs ---- */

static void begin(const struct pv_shadow_limits *limits)
{
	static unsigned runs;
	struct ram *ram;

	memset(&m, 0, sizeof(m));
	m.seed = random_seed((uint64_t)time(NULL) * 2654435761u + ++runs);
	m.limits = *limits;
	MUST(ram_create(RAM_BYTES, &ram, NULL) == 0);
	m.tables = (struct pv_tables){.ram = ram, .next = 4096};
	lay_out();
	MUST(pv_shadow_set_create(ram, limits, &m.set, NULL) == 0);
	for (unsigned r = 0; r < ROOTS; r++) {
		m.root[r] = tables_new(&m.tables);
		shadow_begin(r);
	}
	note_range(0, PLACES);
}

static void step(void)
{
	switch (below(100)) {
	case 0 ... 19:
		edit();
		break;
	case 20 ... 27:
		edit_bits();
		break;
	case 28:
		edit_upper();
		break;
	case 29 ... 36:
		flush_some();
		break;
	case 37 ... 39:
		harvest();
		break;
	case 40:
		if (!below(10))
			change_track();
		break;
	case 41:
		if (!below(4))
			renew();
		break;
	default:
		touch_some();
		break;
	}
}

static void run(const struct pv_shadow_limits *limits)
{
	begin(limits);
	for (unsigned i = 0; i < OPS; i++) {
		step();
		check_counts();
		if (i % 16 == 0)
			check_all();
	}
	harvest();
	check_all();
	pv_shadow_set_destroy(m.set);
	ram_destroy(m.tables.ram);
}

static void test_roomy(void)
{
	run(&(struct pv_shadow_limits){60000, 1000000, 64 << 20, 16});
}

static void test_tight(void)
{
	run(&(struct pv_shadow_limits){64, 1000, 64 << 20, 16});
	run(&(struct pv_shadow_limits){100, 160, 64 << 20, 64});
}

static void test_alone(void)
{
	run(&(struct pv_shadow_limits){200, 300, 64 << 20, 1});
}

static void test_memory(void)
{
	run(&(struct pv_shadow_limits){500, 2000, PV_SHADOW_BYTES_MIN, 4});
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pv_shadow_model", NULL, NULL);
	CU_add_test(suite, "room for all", test_roomy);
	CU_add_test(suite, "few host mappings", test_tight);
	CU_add_test(suite, "page by page", test_alone);
	CU_add_test(suite, "little memory", test_memory);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
