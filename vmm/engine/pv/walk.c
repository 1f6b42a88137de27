/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/walk.h"

#include <sys/mman.h>

#include "guest/abi.h"

#define ENTRIES    512u
#define LEVEL_BITS 9u
#define TOP_SHIFT  30u

_Static_assert(SEGUE_PV_PAGE == RAM_PAGE, "the guest's pages are the file's");
_Static_assert(SEGUE_PV_VA_END == 1ull << (TOP_SHIFT + LEVEL_BITS), "three levels");

static const uint64_t *table_at(const struct ram *ram, uint64_t gpa)
{
	return ram_at(ram, gpa, RAM_PAGE);
}

/* Devices write to guest memory too: an entry is loaded once and whole. */
static uint64_t entry_load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

const uint64_t *pv_walk_table(const struct ram *ram, uint64_t root, uint64_t va)
{
	const uint64_t *table;

	if (va >= SEGUE_PV_VA_END || root % RAM_PAGE)
		return NULL;
	table = table_at(ram, root);
	for (unsigned shift = TOP_SHIFT; table && shift > TOP_SHIFT - 2 * LEVEL_BITS;
	     shift -= LEVEL_BITS) {
		uint64_t entry = entry_load(&table[va >> shift & (ENTRIES - 1)]);

		if (!(entry & SEGUE_PV_PTE_P))
			return NULL;
		table = table_at(ram, entry & SEGUE_PV_PTE_ADDRESS);
	}
	return table;
}

static int entry_prot(uint64_t entry, enum pv_mode mode)
{
	const uint64_t dirty = SEGUE_PV_PTE_D | SEGUE_PV_PTE_W;
	int prot = PROT_READ;

	if (!(entry & SEGUE_PV_PTE_A) || (mode == PV_USER && !(entry & SEGUE_PV_PTE_U)))
		return PROT_NONE;
	if ((entry & dirty) == dirty)
		prot |= PROT_WRITE;
	if (entry & SEGUE_PV_PTE_X)
		prot |= PROT_EXEC;
	return prot;
}

void pv_entry(const struct ram *ram, const uint64_t *at, enum pv_mode mode,
	      struct pv_leaf *ret_leaf)
{
	uint64_t entry = entry_load(at);
	const uint8_t *page = NULL;

	*ret_leaf = (struct pv_leaf){.prot = PROT_NONE};
	if (entry & SEGUE_PV_PTE_P)
		page = ram_at(ram, entry & SEGUE_PV_PTE_ADDRESS, RAM_PAGE);
	if (!page)
		return;
	ret_leaf->present = true;
	ret_leaf->prot = entry_prot(entry, mode);
	ret_leaf->page = (uint64_t)(page - ram_base(ram)) / RAM_PAGE;
}

void pv_walk(const struct ram *ram, uint64_t root, uint64_t va, enum pv_mode mode,
	     struct pv_leaf *ret_leaf)
{
	const uint64_t *table = pv_walk_table(ram, root, va);

	if (table)
		pv_entry(ram, &table[va / RAM_PAGE % ENTRIES], mode, ret_leaf);
	else
		*ret_leaf = (struct pv_leaf){.prot = PROT_NONE};
}

uint32_t pv_fault_error(const struct pv_leaf *leaf, int access, enum pv_mode mode)
{
	uint32_t error = leaf->present ? SEGUE_PV_PF_PRESENT : 0;

	if (access & PROT_WRITE)
		error |= SEGUE_PV_PF_WRITE;
	if (access & PROT_EXEC)
		error |= SEGUE_PV_PF_FETCH;
	if (mode == PV_USER)
		error |= SEGUE_PV_PF_USER;
	return error;
}
