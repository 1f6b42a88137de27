// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program's registers, between arch/um's order of them (that of ptrace) and the ABI's.
 */
#include <linux/printk.h>
#include <linux/string.h>
#include <asm/processor-flags.h>
#include <asm/ptrace.h>
#include <longjmp.h>
#include "../../../um/os-segue/segue.h"

/* What a 64-bit program of any Linux finds in its segment registers. */
#define USER_CS 0x33
#define USER_SS 0x2b

void segue_regs_from_abi(struct uml_pt_regs *to, const struct segue_pv_regs *from)
{
	unsigned long *gp = to->gp;

	gp[HOST_AX] = from->rax;
	gp[HOST_BX] = from->rbx;
	gp[HOST_CX] = from->rcx;
	gp[HOST_DX] = from->rdx;
	gp[HOST_SI] = from->rsi;
	gp[HOST_DI] = from->rdi;
	gp[HOST_BP] = from->rbp;
	gp[HOST_SP] = from->rsp;
	gp[HOST_R8] = from->r8;
	gp[HOST_R9] = from->r9;
	gp[HOST_R10] = from->r10;
	gp[HOST_R11] = from->r11;
	gp[HOST_R12] = from->r12;
	gp[HOST_R13] = from->r13;
	gp[HOST_R14] = from->r14;
	gp[HOST_R15] = from->r15;
	gp[HOST_IP] = from->rip;
	gp[HOST_EFLAGS] = from->rflags;
	gp[HOST_FS_BASE] = from->fs_base;
	gp[HOST_GS_BASE] = from->gs_base;
}

void segue_regs_to_abi(struct segue_pv_regs *to, const struct uml_pt_regs *from)
{
	const unsigned long *gp = from->gp;

	to->rax = gp[HOST_AX];
	to->rbx = gp[HOST_BX];
	to->rcx = gp[HOST_CX];
	to->rdx = gp[HOST_DX];
	to->rsi = gp[HOST_SI];
	to->rdi = gp[HOST_DI];
	to->rbp = gp[HOST_BP];
	to->rsp = gp[HOST_SP];
	to->r8 = gp[HOST_R8];
	to->r9 = gp[HOST_R9];
	to->r10 = gp[HOST_R10];
	to->r11 = gp[HOST_R11];
	to->r12 = gp[HOST_R12];
	to->r13 = gp[HOST_R13];
	to->r14 = gp[HOST_R14];
	to->r15 = gp[HOST_R15];
	to->rip = gp[HOST_IP];
	to->rflags = gp[HOST_EFLAGS];
	to->fs_base = gp[HOST_FS_BASE];
	to->gs_base = gp[HOST_GS_BASE];
}

void segue_regs_reset(struct uml_pt_regs *regs)
{
	memset(regs->gp, 0, sizeof(regs->gp));
	regs->gp[HOST_EFLAGS] = X86_EFLAGS_FIXED | X86_EFLAGS_IF;
	regs->gp[HOST_CS] = USER_CS;
	regs->gp[HOST_SS] = USER_SS;
	regs->gp[HOST_ORIG_AX] = -1;
	regs->syscall = -1;
	regs->is_user = 1;
	segue_xstate_reset(regs->fp);
}

/* Of a task that is not running, for the KSTK_ macros. */
unsigned long get_thread_reg(int reg, jmp_buf *buf)
{
	switch (reg) {
	case HOST_IP:
		return buf[0]->__rip;
	case HOST_SP:
		return buf[0]->__rsp;
	case HOST_BP:
		return buf[0]->__rbp;
	default:
		return 0;
	}
}
