/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#define ROOTS   8192u
#define ENTRIES 512u
#define TABLE   (SEGUE_PV_PTE_P) /* of an upper entry: P and the address count */

extern char probe_end[];

static uint64_t first, next, limit;
static uint64_t roots[ROOTS];
static unsigned n_roots;

/* GCC may call these by itself. */
void *memset(void *to, int value, size_t n)
{
	void *p = to;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(value) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *p = to;

	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
	return to;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void memory_init(void)
{
	first = larger((boot->free + PAGE - 1) & ~(uint64_t)(PAGE - 1), gpa_of(probe_end));
	next = first;
	limit = boot->ram;
}

void memory_reset(void)
{
	while (n_roots)
		hv(SEGUE_PV_DROP_ROOT, roots[--n_roots], 0, 0);
	hv(SEGUE_PV_SET_KERNEL_ROOT, NO_ROOT, 0, 0);
	next = first;
}

uint64_t pages_left(void)
{
	return (limit - next) / PAGE;
}

uint64_t pages_new(uint64_t count)
{
	uint64_t gpa = next;

	if (count > pages_left()) {
		print("probe: FAIL out of memory\n");
		hv(SEGUE_PV_END, SEGUE_PV_PANIC, 0, 0);
		__builtin_trap();
	}
	next += count * PAGE;
	return gpa;
}

uint64_t page_new(void)
{
	uint64_t gpa = pages_new(1);

	memset(at(gpa), 0, PAGE);
	return gpa;
}

/* ---- roots ---- */

uint64_t root_new(void)
{
	uint64_t root = page_new();

	if (n_roots < ROOTS)
		roots[n_roots++] = root;
	return root;
}

void root_drop(uint64_t root)
{
	for (unsigned i = 0; i < n_roots; i++)
		if (roots[i] == root)
			roots[i] = roots[--n_roots];
	hv(SEGUE_PV_DROP_ROOT, root, 0, 0);
}

static uint64_t *below(uint64_t *at_entry)
{
	if (!(*at_entry & SEGUE_PV_PTE_P))
		*at_entry = page_new() | TABLE;
	return at(*at_entry & SEGUE_PV_PTE_ADDRESS);
}

volatile uint64_t *entry(uint64_t root, uint64_t va)
{
	uint64_t *table = at(root);

	table = below(&table[va >> 30 & (ENTRIES - 1)]);
	table = below(&table[va >> 21 & (ENTRIES - 1)]);
	return &table[va >> 12 & (ENTRIES - 1)];
}

void map(uint64_t root, uint64_t va, uint64_t gpa, uint64_t flags)
{
	*entry(root, va) = gpa | flags;
}

void map_range(uint64_t root, uint64_t va, uint64_t gpa, uint64_t pages, uint64_t flags)
{
	for (uint64_t i = 0; i < pages; i++)
		map(root, va + i * PAGE, gpa + i * PAGE, flags);
}

int64_t flush(uint64_t root, uint64_t va, uint64_t pages)
{
	return hv(SEGUE_PV_FLUSH, root, va, va + pages * PAGE);
}

/* xorshift64 (Marsaglia 2003). */
uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}
