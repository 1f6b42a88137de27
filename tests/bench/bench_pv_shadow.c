/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the paravirtual engine's bookkeeping costs, apart from the host's part: a process of 1
 * GiB whose pages lie anywhere in guest RAM, faulted in at random. Processor time, best of five.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/pv_tables.h"
#include "vmm/engine/pv/shadow.h"

#define PAGES 262144u
#define VA    0x40000000ull
#define RUNS  5

static struct ram *ram;
static struct pv_tables tables;
static uint64_t root;
static uint32_t order[PAGES];
static uint64_t words[2 * PAGES / 64 + 1024];

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void shuffle(uint32_t *numbers)
{
	uint64_t seed = 88172645463325252;

	for (unsigned i = 0; i < PAGES; i++)
		numbers[i] = i;
	for (unsigned i = PAGES - 1; i; i--) {
		unsigned j = (unsigned)random_below(&seed, i + 1);
		uint32_t other = numbers[j];

		numbers[j] = numbers[i];
		numbers[i] = other;
	}
}

static void fill(bool scattered)
{
	uint32_t *at = calloc(PAGES, sizeof(*at));

	shuffle(at);
	for (uint64_t i = 0; i < PAGES; i++)
		*tables_entry(&tables, root, VA + i * 4096) =
		    (4096 + (uint64_t)(scattered ? at[i] : i)) * 4096 | PTE_WRITE;
	free(at);
}

static struct {
	double fault, flush, written, protect;
	double orders, maps, evicted, bytes;
} best;

static void least(double *to, double value)
{
	if (*to == 0 || value < *to)
		*to = value;
}

static void faults(struct pv_shadow *shadow)
{
	struct pv_fault f;
	uint64_t n = 0, orders = 0, evicted = 0;
	struct pv_leaf leaf;
	double begin, spent;

	begin = seconds();
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t va = VA + (uint64_t)order[i] * 4096;

		if (pv_shadow_find(shadow, va, &leaf))
			continue; /* a process would not have faulted */
		if (pv_shadow_fault(shadow, va, PROT_WRITE, &f) < 0 || f.answer != PV_FAULT_MAP)
			abort();
		n++;
		orders += f.n;
		evicted += f.maps[0].op == PV_UNMAP;
	}
	spent = seconds() - begin;
	least(&best.fault, spent / (double)n * 1e9);
	best.orders = (double)orders / (double)n;
	best.evicted = (double)evicted / (double)n;
	best.maps = (double)pv_shadow_maps(shadow);
}

static void rest(struct pv_shadow_set *set, struct pv_shadow *shadow)
{
	struct pv_map maps[256];
	uint64_t cursor = 0;
	double begin = seconds();

	pv_shadow_written(shadow, VA, PAGES, words);
	least(&best.written, (seconds() - begin) * 1e3);
	best.bytes = (double)pv_shadow_set_bytes(set) / 1048576;
	begin = seconds();
	while (pv_shadow_protect(shadow, &cursor, maps, 256))
		;
	least(&best.protect, (seconds() - begin) * 1e3);
	begin = seconds();
	if (!pv_shadow_flush(shadow, 0, SEGUE_PV_VA_END, &maps[0]))
		abort();
	least(&best.flush, (seconds() - begin) * 1e3);
}

static void run(const char *name, unsigned limit, unsigned around)
{
	struct pv_shadow_limits limits = pv_shadow_usual;
	struct pv_shadow_set *set;
	struct pv_shadow *shadow;

	limits.maps = limit;
	limits.around = around;
	memset(&best, 0, sizeof(best));
	for (unsigned i = 0; i < RUNS; i++) {
		if (pv_shadow_set_create(ram, &limits, &set, NULL) < 0 ||
		    pv_shadow_create(set, root, PV_USER, VA, SEGUE_PV_VA_END, NULL, &shadow) <
			0)
			abort();
		faults(shadow);
		rest(set, shadow);
		pv_shadow_set_destroy(set);
	}
	printf("%-34s %6.0f %7.2f %8.3f %8.0f %6.1f %8.2f %8.2f %7.2f\n", name, best.fault,
	       best.orders, best.evicted, best.maps, best.bytes, best.written, best.protect,
	       best.flush);
}

int main(void)
{
	if (ram_create(1536ull << 20, &ram, NULL) < 0)
		abort();
	tables = (struct pv_tables){.ram = ram, .next = 4096};
	root = tables_new(&tables);
	shuffle(order);
	printf("%-34s %6s %7s %8s %8s %6s %8s %8s %7s\n", "262144 pages, faulted at random",
	       "ns a", "orders", "evicting", "host", "MiB of", "written", "protect", "flush");
	printf("%-34s %6s %7s %8s %8s %6s %8s %8s %7s\n", "", "fault", "a fault", "a fault",
	       "mappings", "it", "ms", "ms", "ms");
	fill(true);
	run("scattered in RAM, page by page", 1000000, 1);
	run("scattered, 16 around", 1000000, 16);
	run("scattered, 16 around, 60000 maps", 60000, 16);
	run("scattered, page by page, 60000", 60000, 1);
	fill(false);
	run("in order in RAM, page by page", 60000, 1);
	run("in order, 16 around", 60000, 16);
	run("in order, 64 around", 60000, 64);
	ram_destroy(ram);
	return 0;
}
