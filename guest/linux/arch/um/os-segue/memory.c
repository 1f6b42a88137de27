// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's memory: all RAM in the direct map, the kernel's image at its beginning, the
 * rest of kernel addresses through page tables of its own.
 */
#include <linux/export.h>
#include <linux/init.h>
#include <linux/linkage.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <asm/page.h>
#include <asm/pgalloc.h>
#include <asm/pgtable.h>
#include <asm/sections.h>
#include "segue.h"

unsigned long uml_physmem = SEGUE_PV_DIRECT;
unsigned long task_size = SEGUE_PV_VA_END;
unsigned long end_iomem; /* the end of RAM's addresses, behind which vmalloc's begin */
unsigned long *empty_zero_page;

pgd_t swapper_pg_dir[PTRS_PER_PGD] __page_aligned_bss;

static void __init paging_start(void)
{
	unsigned long max_zone_pfn[MAX_NR_ZONES] = { [ZONE_NORMAL] = max_pfn };

	empty_zero_page = memblock_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!empty_zero_page)
		panic("No memory for the page of zeros");
	free_area_init(max_zone_pfn);
	if (segue_call1(SEGUE_PV_SET_KERNEL_ROOT, __pa(swapper_pg_dir)))
		panic("The machine refuses the kernel's page tables");
}

/*
 * The loader's things lie between the kernel and FREE. RAM's last page stays unused: code that
 * reads by words may look beyond a buffer's end, and arch/um has no exception table for it.
 */
void __init segue_memory_init(void)
{
	u64 ram = segue_boot->ram & PAGE_MASK;

	memblock_add(0, ram);
	memblock_reserve(0, PAGE_ALIGN(segue_boot->free));
	memblock_reserve(ram - PAGE_SIZE, PAGE_SIZE);
	min_low_pfn = 0;
	max_low_pfn = max_pfn = max_mapnr = ram >> PAGE_SHIFT;
	end_iomem = SEGUE_PV_DIRECT + ram;
	high_memory = (void *)end_iomem;
	paging_start();
}

void __init mem_init(void)
{
	memblock_free_all();
}

void free_initmem(void)
{
	free_initmem_default(POISON_FREE_INITMEM);
}

/* A program's tables have nothing of the kernel's in them. */
pgd_t *pgd_alloc(struct mm_struct *mm)
{
	return (pgd_t *)get_zeroed_page(GFP_KERNEL);
}

#define USER_PAGE	   (_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_READONLY_EXEC __pgprot(USER_PAGE | _PAGE_EXEC)
#define PAGE_COPY_EXEC	   PAGE_READONLY_EXEC
#define PAGE_SHARED_EXEC   __pgprot(USER_PAGE | _PAGE_RW | _PAGE_EXEC)

static const pgprot_t protection_map[16] = {
	[VM_NONE]					= PAGE_NONE,
	[VM_READ]					= PAGE_READONLY,
	[VM_WRITE]					= PAGE_COPY,
	[VM_WRITE | VM_READ]				= PAGE_COPY,
	[VM_EXEC]					= PAGE_READONLY_EXEC,
	[VM_EXEC | VM_READ]				= PAGE_READONLY_EXEC,
	[VM_EXEC | VM_WRITE]				= PAGE_COPY_EXEC,
	[VM_EXEC | VM_WRITE | VM_READ]			= PAGE_COPY_EXEC,
	[VM_SHARED]					= PAGE_NONE,
	[VM_SHARED | VM_READ]				= PAGE_READONLY,
	[VM_SHARED | VM_WRITE]				= PAGE_SHARED,
	[VM_SHARED | VM_WRITE | VM_READ]		= PAGE_SHARED,
	[VM_SHARED | VM_EXEC]				= PAGE_READONLY_EXEC,
	[VM_SHARED | VM_EXEC | VM_READ]			= PAGE_READONLY_EXEC,
	[VM_SHARED | VM_EXEC | VM_WRITE]		= PAGE_SHARED_EXEC,
	[VM_SHARED | VM_EXEC | VM_WRITE | VM_READ]	= PAGE_SHARED_EXEC,
};
DECLARE_VM_GET_PAGE_PROT
