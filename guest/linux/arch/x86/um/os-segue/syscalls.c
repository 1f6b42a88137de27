// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system calls that are x86-64's own, and thread-local storage.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/syscalls.h>
#include <linux/uaccess.h>
#include <asm/elf.h>
#include <asm/prctl.h>
#include "../../../um/os-segue/segue.h"

/* No page of code for programs: they make system calls, which read the clock fast enough. */
unsigned long um_vdso_addr;
long elf_aux_hwcap;

int arch_setup_additional_pages(struct linux_binprm *bprm, int uses_interp)
{
	return 0;
}

const char *arch_vma_name(struct vm_area_struct *vma)
{
	return NULL;
}

static long set_base(struct task_struct *task, int reg, unsigned long base)
{
	if (base >= TASK_SIZE)
		return -EPERM;
	task->thread.regs.regs.gp[reg] = base;
	task->thread.arch.segue.load = true;
	return 0;
}

/* TASK's registers are complete: it is stopped, or the caller. */
long arch_prctl(struct task_struct *task, int option, unsigned long __user *arg2)
{
	unsigned long *gp = task->thread.regs.regs.gp;

	switch (option) {
	case ARCH_SET_FS:
		task->thread.arch.fs = (unsigned long)arg2;
		return set_base(task, HOST_FS_BASE, (unsigned long)arg2);
	case ARCH_SET_GS:
		return set_base(task, HOST_GS_BASE, (unsigned long)arg2);
	case ARCH_GET_FS:
		return put_user(gp[HOST_FS_BASE], arg2);
	case ARCH_GET_GS:
		return put_user(gp[HOST_GS_BASE], arg2);
	default:
		return -EINVAL;
	}
}

SYSCALL_DEFINE2(arch_prctl, int, option, unsigned long, arg2)
{
	return arch_prctl(current, option, (unsigned long __user *)arg2);
}

SYSCALL_DEFINE6(mmap, unsigned long, addr, unsigned long, len, unsigned long, prot,
		unsigned long, flags, unsigned long, fd, unsigned long, off)
{
	if (off & ~PAGE_MASK)
		return -EINVAL;
	return ksys_mmap_pgoff(addr, len, prot, flags, fd, off >> PAGE_SHIFT);
}

void clear_flushed_tls(struct task_struct *task)
{
}

int arch_set_tls(struct task_struct *task, unsigned long tls)
{
	task->thread.arch.fs = tls;
	return set_base(task, HOST_FS_BASE, tls);
}
