// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of programs, and of the kernel's accesses on their behalf, which walk page
 * tables and come here where they find nothing.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>
#include <linux/uaccess.h>
#include <kern_util.h>
#include "segue.h"

static bool allowed(const struct vm_area_struct *vma, u32 error)
{
	if (error & SEGUE_PV_PF_WRITE)
		return vma->vm_flags & VM_WRITE;
	if (error & SEGUE_PV_PF_FETCH)
		return vma->vm_flags & VM_EXEC;
	return vma->vm_flags & (VM_READ | VM_EXEC);
}

static unsigned int fault_flags(u32 error)
{
	unsigned int flags = FAULT_FLAG_DEFAULT;

	if (error & SEGUE_PV_PF_USER)
		flags |= FAULT_FLAG_USER;
	if (error & SEGUE_PV_PF_WRITE)
		flags |= FAULT_FLAG_WRITE;
	if (error & SEGUE_PV_PF_FETCH)
		flags |= FAULT_FLAG_INSTRUCTION;
	return flags;
}

/* What handle_mm_fault() could not do. User mode runs again after ENOMEM, or is killed. */
static int failed(vm_fault_t fault, u32 error)
{
	if (fault & VM_FAULT_OOM) {
		if (!(error & SEGUE_PV_PF_USER))
			return -ENOMEM;
		pagefault_out_of_memory();
		return 0;
	}
	if (fault & (VM_FAULT_SIGBUS | VM_FAULT_HWPOISON))
		return -EACCES;
	if (fault & VM_FAULT_SIGSEGV)
		return -EFAULT;
	BUG();
}

/*
 * A program that writes to fresh memory page after page gets the rest of a block at once: a
 * fault costs more than the page does. The machine tries as many pages around a fault.
 * What the last fault was is kept for whoever runs; that another program's comes in between
 * only costs the next block one fault more.
 */
#define BLOCK_SIZE (16 * PAGE_SIZE)

static struct {
	struct mm_struct *mm;
	unsigned long next;
} last;

static bool in_sequence(struct mm_struct *mm, unsigned long page)
{
	bool yes = last.mm == mm && last.next == page;

	last.mm = mm;
	last.next = page + PAGE_SIZE;
	return yes;
}

static bool untouched(struct mm_struct *mm, unsigned long address)
{
	pte_t *pte = virt_to_pte(mm, address);

	return !pte || pte_none(*pte);
}

/* MM is locked, the fault at ADDRESS done. */
static void go_ahead(struct vm_area_struct *vma, unsigned long address)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long page = address & PAGE_MASK, end;

	if (!vma_is_anonymous(vma) || userfaultfd_armed(vma) || !in_sequence(mm, page))
		return;
	end = min(ALIGN(page + 1, BLOCK_SIZE), vma->vm_end);
	for (page += PAGE_SIZE; page < end && untouched(mm, page); page += PAGE_SIZE)
		if (handle_mm_fault(vma, page, FAULT_FLAG_WRITE, NULL) & VM_FAULT_ERROR)
			break;
	last.next = page;
}

static int resolve(struct mm_struct *mm, unsigned long address, u32 error, int *ret_code)
{
	unsigned int flags = fault_flags(error);
	struct vm_area_struct *vma;
	vm_fault_t fault;

	for (;;) {
		*ret_code = SEGV_MAPERR;
		vma = lock_mm_and_find_vma(mm, address, NULL);
		if (!vma)
			return -EFAULT;
		*ret_code = SEGV_ACCERR;
		if (!allowed(vma, error)) {
			mmap_read_unlock(mm);
			return -EFAULT;
		}
		fault = handle_mm_fault(vma, address, flags, NULL);
		if (fault & VM_FAULT_COMPLETED)
			return 0;
		if (!(fault & VM_FAULT_RETRY))
			break;
		/* The lock is gone. */
		if (fatal_signal_pending(current))
			return -EFAULT;
		flags |= FAULT_FLAG_TRIED;
	}
	if (!(fault & VM_FAULT_ERROR) && !(~error & (SEGUE_PV_PF_USER | SEGUE_PV_PF_WRITE)))
		go_ahead(vma, address);
	mmap_read_unlock(mm);
	return fault & VM_FAULT_ERROR ? failed(fault, error) : 0;
}

/* For the kernel's accesses to programs' memory: skas/uaccess.c. */
int handle_page_fault(unsigned long address, unsigned long ip, int is_write, int is_user,
		      int *code_out)
{
	if (faulthandler_disabled() || !current->mm)
		return -EFAULT;
	return resolve(current->mm, address, is_write ? SEGUE_PV_PF_WRITE : 0, code_out);
}

int segue_fault_user(unsigned long address, u32 error, int *ret_code)
{
	int err = -EFAULT;

	*ret_code = SEGV_MAPERR;
	if (address >= SEGUE_PV_USER_BEGIN && address < TASK_SIZE)
		err = resolve(current->mm, address, error | SEGUE_PV_PF_USER, ret_code);
	if (err == -EACCES) {
		*ret_code = BUS_ADRERR;
		return SIGBUS;
	}
	return err ? SIGSEGV : 0;
}
