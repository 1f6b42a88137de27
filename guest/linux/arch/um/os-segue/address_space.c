// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces: the page tables are the machine's to read, so all there is to do is to say
 * what may no longer be relied on. A root the machine has not seen needs not even that.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <asm/mmu_context.h>
#include <asm/page.h>
#include <asm/tlbflush.h>
#include "segue.h"

#define KERNEL_ROOT (~0ul)

/* mm_id's members are the Linux host layer's; this port needs one truth of each mm. */
static bool mm_known(const struct mm_struct *mm)
{
	return mm->context.id.u.pid;
}

void segue_mm_used(struct mm_struct *mm)
{
	mm->context.id.u.pid = 1;
}

int init_new_context(struct task_struct *task, struct mm_struct *mm)
{
	mm->context.id.u.pid = 0;
	return 0;
}

void destroy_context(struct mm_struct *mm)
{
	if (mm_known(mm))
		segue_call1(SEGUE_PV_DROP_ROOT, __pa(mm->pgd));
}

void __switch_mm(struct mm_id *id)
{
}

/* One that nobody uses any more is dropped as a whole soon, and runs no program till then. */
static void flush(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	if (mm_known(mm) && atomic_read(&mm->mm_users))
		segue_call3(SEGUE_PV_FLUSH, __pa(mm->pgd), start & PAGE_MASK, PAGE_ALIGN(end));
}

void flush_tlb_mm(struct mm_struct *mm)
{
	flush(mm, 0, TASK_SIZE);
}

void flush_tlb_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	flush(vma->vm_mm, start, end);
}
EXPORT_SYMBOL(flush_tlb_range);

void flush_tlb_page(struct vm_area_struct *vma, unsigned long address)
{
	flush(vma->vm_mm, address & PAGE_MASK, (address & PAGE_MASK) + PAGE_SIZE);
}

void flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	segue_call3(SEGUE_PV_FLUSH, KERNEL_ROOT, start & PAGE_MASK, PAGE_ALIGN(end));
}

void flush_tlb_kernel_vm(void)
{
	flush_tlb_kernel_range(VMALLOC_START, VMALLOC_END);
}

void flush_tlb_all(void)
{
	flush_tlb_kernel_vm();
	if (current->mm)
		flush_tlb_mm(current->mm);
}

void __flush_tlb_one(unsigned long addr)
{
	flush_tlb_kernel_range(addr, addr + PAGE_SIZE);
}
