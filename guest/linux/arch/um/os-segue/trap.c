// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interruptions of kernel code: events, and its own faults.
 */
#include <linux/build_bug.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/stddef.h>
#include <asm/irqflags.h>
#include <asm/ptrace.h>
#include "segue.h"

void segue_event(struct segue_pv_frame *frame);
void segue_trap(struct segue_pv_frame *frame);

/* What entry.S takes for granted. */
static_assert(offsetof(struct segue_pv_frame, regs.rsp) == 56);
static_assert(offsetof(struct segue_pv_frame, regs.r15) == 120);
static_assert(offsetof(struct segue_pv_frame, regs.rip) == 128);
static_assert(offsetof(struct segue_pv_frame, regs.rflags) == 136);
static_assert(sizeof(struct segue_pv_frame) - offsetof(struct segue_pv_frame, trap) == 16);

/* Masked by the machine, and unmasked for the rest of what was interrupted. */
void segue_event(struct segue_pv_frame *frame)
{
	segue_irq_handle(segue_irq_kernel_regs(frame->regs.rip, frame->regs.rsp,
					       frame->regs.rbp));
	arch_local_irq_enable();
}

static void die(struct segue_pv_frame *frame)
{
	static struct pt_regs regs;

	arch_local_irq_disable();
	segue_regs_from_abi(&regs.regs, &frame->regs);
	current->thread.segv_regs = &regs;
	show_regs(&regs);
	show_stack(current, NULL, KERN_DEFAULT);
	panic("Kernel trap %u, error %x, at %pS, address %llx", frame->trap.vector,
	      frame->trap.error, (void *)frame->regs.rip, frame->trap.address);
}

/*
 * Nothing is repaired: programs' memory is reached through page tables, and what reads beyond
 * the end of a buffer (x86's load_unaligned_zeropad) finds memory there, see memory.c.
 */
void segue_trap(struct segue_pv_frame *frame)
{
	die(frame);
}
