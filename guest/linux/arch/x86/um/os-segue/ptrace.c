// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tracer's view of a program's registers. The program is stopped and its registers are in
 * thread.regs: it came there through segue_user_fetch().
 */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#define __FRAME_OFFSETS
#include <asm/ptrace.h>
#include <asm/ptrace-abi.h>
#include <asm/user.h>
#include "../../../um/os-segue/segue.h"

/* Of RFLAGS, what a tracer may set: CF PF AF ZF SF TF DF OF NT RF AC. */
#define FLAGS_MASK 0x54dd5ul
#define SYSCALL_INSTRUCTION 0x050f

int poke_user(struct task_struct *child, long addr, long data);
int peek_user(struct task_struct *child, long addr, long data);
int is_syscall(unsigned long addr);

static unsigned long *gp_of(struct task_struct *child, int offset)
{
	/* arch/um keeps them in the order of struct user_regs_struct. */
	return &child->thread.regs.regs.gp[offset / (int)sizeof(long)];
}

static void changed(struct task_struct *child)
{
	child->thread.arch.segue.have = true;
	child->thread.arch.segue.load = true;
}

int putreg(struct task_struct *child, int offset, unsigned long value)
{
	unsigned long *reg = gp_of(child, offset);

	switch (offset) {
	case ORIG_RAX:
		UPT_SYSCALL_NR(&child->thread.regs.regs) = value;
		break;
	case CS: case SS: case DS: case ES: case FS: case GS:
		return 0; /* flat, all of them */
	case FS_BASE:
		child->thread.arch.fs = value;
		fallthrough;
	case GS_BASE:
		if (value >= TASK_SIZE)
			return -EIO;
		break;
	case EFLAGS:
		value = (*reg & ~FLAGS_MASK) | (value & FLAGS_MASK);
		break;
	}
	*reg = value;
	changed(child);
	return 0;
}

unsigned long getreg(struct task_struct *child, int offset)
{
	return *gp_of(child, offset);
}

int poke_user(struct task_struct *child, long addr, long data)
{
	if (addr < 0 || addr % sizeof(long) || addr >= MAX_REG_OFFSET)
		return -EIO;
	return putreg(child, addr, data);
}

int peek_user(struct task_struct *child, long addr, long data)
{
	unsigned long value = 0;

	if (addr < 0 || addr % sizeof(long) || addr >= (long)sizeof(struct user))
		return -EIO;
	if (addr < MAX_REG_OFFSET)
		value = getreg(child, addr);
	return put_user(value, (unsigned long __user *)data);
}

int is_syscall(unsigned long addr)
{
	u16 instruction;

	if (copy_from_user(&instruction, (void __user *)addr, sizeof(instruction)))
		return 0;
	return instruction == SYSCALL_INSTRUCTION;
}

static long set_fpregs(struct task_struct *child, const void __user *from)
{
	void *fp = child->thread.regs.regs.fp;

	if (copy_from_user(fp, from, sizeof(struct user_i387_struct)))
		return -EFAULT;
	*(u64 *)(fp + sizeof(struct user_i387_struct)) |= 3; /* x87 and SSE are valid */
	segue_xstate_clean(fp);
	changed(child);
	return 0;
}

long subarch_ptrace(struct task_struct *child, long request, unsigned long addr,
		    unsigned long data)
{
	void __user *user = (void __user *)data;

	switch (request) {
	case PTRACE_GETFPREGS:
		return copy_to_user(user, child->thread.regs.regs.fp,
				    sizeof(struct user_i387_struct)) ? -EFAULT : 0;
	case PTRACE_SETFPREGS:
		return set_fpregs(child, user);
	case PTRACE_ARCH_PRCTL:
		return arch_prctl(child, data, (void __user *)addr);
	default:
		return -EIO;
	}
}
