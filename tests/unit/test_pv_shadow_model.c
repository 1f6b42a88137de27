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

#include "tests/unit/pv_model.h"

#define OPS 12000u

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
		unsigned from = model_place(va / 4096), to = from + (unsigned)pages;

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
		unsigned n, most = 1 + model_below(5);

		while ((n = pv_shadow_protect(m.shadow[r], &cursor, maps, most)) != 0) {
			MUST(n <= most);
			model_carry_out(r, maps, n);
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
		if (model_below(2))
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
	m.track = (enum pv_track)model_below(3);
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

	if (m.track == PV_TRACK_KERNEL && model_below(2)) {
		scan(r, from, to);
		any = pv_shadow_flush_scanned(m.shadow[r], begin, end, &map);
	} else {
		any = pv_shadow_flush(m.shadow[r], begin, end, &map);
	}
	if (any) {
		MUST(map.op == PV_UNMAP && map.va >= begin && map.va < end);
		MUST(map.va + map.pages * 4096 <= end || crowded);
		model_carry_out(r, &map, 1);
	}
	for (unsigned i = from; i < to; i++) {
		MUST(!m.host[r][i].prot);
		m.given[r][i].n = 0;
		model_note_given(r, i);
	}
}

static void random_range(unsigned *from, unsigned *to)
{
	*from = model_below(PLACES);
	*to = *from + 1 + model_below(model_below(4) ? 8 : model_below(4) ? 100 : PLACES);
	if (*to > PLACES)
		*to = PLACES;
	if (!model_below(100)) {
		*from = 0;
		*to = PLACES;
	}
}

static void flush_some(void)
{
	unsigned from, to;

	random_range(&from, &to);
	flush(model_below(ROOTS), from, to);
}

/* Entries have changed there: what they give now is given, and histories stay short. */
static void note_range(unsigned from, unsigned to)
{
	for (unsigned r = 0; r < ROOTS; r++) {
		for (unsigned i = from; i < to; i++) {
			if (m.given[r][i].n + 1 >= HISTORY)
				flush(r, i, i + 1);
			model_note_given(r, i);
		}
	}
}

static uint64_t random_bits(void)
{
	static const uint64_t usual[] = {PTE_READ,
					 PTE_WRITE,
					 PTE_ALL,
					 PTE_READ | SEGUE_PV_PTE_X,
					 PTE_READ | SEGUE_PV_PTE_W,
					 PTE_WRITE & ~SEGUE_PV_PTE_U};

	return model_below(8) ? usual[model_below(6)] : random_next(&m.seed) & 0xfff;
}

static void edit(void)
{
	unsigned from, to, r = model_below(ROOTS);
	uint64_t page =
	    model_below(20) ? DATA + model_below(PAGES - DATA) : model_below(PAGES + 20);
	uint64_t bits = random_bits(), same = model_below(3);

	random_range(&from, &to);
	for (unsigned i = from; i < to; i++, page += same || model_below(8) ? 1 : 5) {
		if (!same && !model_below(4))
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
	unsigned from, to, r = model_below(ROOTS);
	uint64_t flip = flips[model_below(5)];

	random_range(&from, &to);
	for (unsigned i = from; i < to; i++)
		*tables_entry(&m.tables, m.root[r], m.places[i] * 4096) ^= flip;
	note_range(from, to);
}

/* A table of the middle level goes, comes back, or is shared by two roots. */
static void edit_upper(void)
{
	unsigned place = model_below(PLACES), r = model_below(ROOTS);
	uint64_t va = m.places[place] * 4096;
	uint64_t *top = tables_word(m.tables.ram, m.root[r], va >> 30 & 511);

	if (model_below(2) && *top & 1)
		*tables_word(m.tables.ram, m.root[model_below(ROOTS)], va >> 30 & 511) = *top;
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

	if (model_below(400))
		return false;
	/* Those count as mapped and unmapped again. */
	for (unsigned k = 0; k < fault->n; k++)
		for (uint64_t i = 0; fault->maps[k].op == PV_MAP && i < fault->maps[k].pages;
		     i++)
			m.lost[fault->maps[k].offset / 4096 + i] = true;
	model_carry_out(r, fault->maps, model_below(fault->n));
	m.maps_limit[r] = limit < PV_SHADOW_MAPS_MIN ? PV_SHADOW_MAPS_MIN : limit;
	pv_shadow_refused(m.shadow[r], &map);
	model_carry_out(r, &map, 1);
	for (unsigned i = 0; i < PLACES; i++)
		MUST(!m.host[r][i].prot);
	return true;
}

/* Until it is mapped (true) or the guest's. */
static bool fault(unsigned r, unsigned place, int access, struct pv_fault *f)
{
	for (unsigned turn = 0; turn < 200; turn++) {
		MUST(pv_shadow_fault(m.shadow[r], m.places[place] * 4096 + model_below(4096),
				     access, f) == 0);
		MUST(f->n <= PV_SHADOW_ORDERS);
		if (f->answer == PV_FAULT_REFLECT)
			return false;
		if (f->answer == PV_FAULT_RELIEVE) {
			MUST(f->n && f->other != m.shadow[r]);
			model_carry_out(root_of(f->other), f->maps, f->n);
		} else if (!refuse(r, f)) {
			model_carry_out(r, f->maps, f->n);
			return true;
		}
	}
	MUST(false);
	return false;
}

static void check_reflected(unsigned r, unsigned place, int access, uint32_t error)
{
	uint32_t want = r == KERNEL ? 0 : SEGUE_PV_PF_USER, page;
	bool present = model_own(r, place);
	int prot = 0;

	present = present && model_walk(r, m.places[place], &page, &prot);
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

	if (!(at->prot & access) || !model_below(50)) {
		if (!fault(r, place, access, &f)) {
			check_reflected(r, place, access, f.error);
			return;
		}
		MUST(model_walk(r, m.places[place], &page, &prot));
		MUST(at->page == page && at->prot & access);
	}
	if (access == PROT_WRITE) {
		m.written[at->page] = true;
		at->written = m.track == PV_TRACK_KERNEL;
	}
}

static void touch_some(void)
{
	unsigned r = model_below(ROOTS), from, to;

	random_range(&from, &to);
	if (to - from > 40)
		to = from + 40;
	for (unsigned i = from; i < to; i++)
		touch(r, i, 1 << model_below(3));
}

static void shadow_begin(unsigned r)
{
	MUST(pv_shadow_create(m.set, m.root[r], r == KERNEL ? PV_KERNEL : PV_USER,
			      model_begin(r), SEGUE_PV_VA_END, &m.root[r], &m.shadow[r]) == 0);
	m.maps_limit[r] = m.limits.maps;
}

static void renew(void)
{
	unsigned r = model_below(ROOTS);

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
	model_lay_out();
	MUST(pv_shadow_set_create(ram, limits, &m.set, NULL) == 0);
	for (unsigned r = 0; r < ROOTS; r++) {
		m.root[r] = tables_new(&m.tables);
		shadow_begin(r);
	}
	note_range(0, PLACES);
}

/* What happens how often, in a thousand steps. */
static const struct {
	unsigned often;
	void (*happens)(void);
} steps[] = {
    {200, edit},   {80, edit_bits},   {10, edit_upper}, {80, flush_some},
    {30, harvest}, {1, change_track}, {3, renew},       {596, touch_some},
};

static void step(void)
{
	unsigned dice = model_below(1000), i = 0;

	for (; dice >= steps[i].often; i++)
		dice -= steps[i].often;
	steps[i].happens();
}

static void run(const struct pv_shadow_limits *limits)
{
	begin(limits);
	for (unsigned i = 0; i < OPS; i++) {
		step();
		model_check_counts();
		if (i % 16 == 0)
			model_check_all();
	}
	harvest();
	model_check_all();
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
