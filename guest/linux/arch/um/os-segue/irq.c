// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: Linux's numbers are the machine's lines. The machine masks all or none; which
 * lines are wanted is remembered here.
 */
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqflags.h>
#include <asm/irq_regs.h>
#include <asm/ptrace.h>
#include <os.h>
#include "segue.h"

#define LINES 64

static_assert(offsetof(struct segue_pv_vcpu, pending) ==
	      offsetof(struct segue_irq_flags, pending));
static_assert(offsetof(struct segue_pv_vcpu, masked) ==
	      offsetof(struct segue_irq_flags, masked));

static unsigned long wanted;
static struct pt_regs kernel_regs;

static void line_mask(struct irq_data *data)
{
	__clear_bit(data->irq, &wanted);
}

static void line_unmask(struct irq_data *data)
{
	__set_bit(data->irq, &wanted);
}

static void line_ack(struct irq_data *data)
{
	clear_bit(data->irq, (unsigned long *)&segue_vcpu->pending);
}

static void line_leave(struct irq_data *data)
{
}

static struct irq_chip level_lines = {
	.name = "segue-level",
	.irq_ack = line_leave, /* its device does that */
	.irq_mask = line_mask,
	.irq_unmask = line_unmask,
};

static struct irq_chip edge_lines = {
	.name = "segue-edge",
	.irq_ack = line_ack,
	.irq_mask = line_mask,
	.irq_unmask = line_unmask,
};

void __init init_IRQ(void)
{
	int line;

	for (line = 0; line < LINES; line++)
		irq_set_chip_and_handler(line, &level_lines, handle_level_irq);
	irq_set_chip_and_handler(SEGUE_PV_LINE_TIMER, &edge_lines, handle_edge_irq);
	irq_set_chip_and_handler(SEGUE_PV_LINE_POWER, &edge_lines, handle_edge_irq);
}

static unsigned long pending(void)
{
	return READ_ONCE(segue_vcpu->pending) & wanted;
}

void segue_irq_handle(struct pt_regs *regs)
{
	struct pt_regs *before = set_irq_regs(regs);
	unsigned long lines;

	while ((lines = pending()) != 0) {
		irq_enter();
		generic_handle_irq(__ffs(lines));
		irq_exit();
	}
	set_irq_regs(before);
}

/* One for all: its readers want to know where the tick fell, and nested ones fall here. */
struct pt_regs *segue_irq_kernel_regs(unsigned long ip, unsigned long sp, unsigned long bp)
{
	kernel_regs.regs.gp[HOST_IP] = ip;
	kernel_regs.regs.gp[HOST_SP] = sp;
	kernel_regs.regs.gp[HOST_BP] = bp;
	kernel_regs.regs.is_user = 0;
	return &kernel_regs;
}

void segue_irq_pending(void)
{
	while (pending()) {
		arch_local_irq_disable();
		segue_irq_handle(segue_irq_kernel_regs(_THIS_IP_, current_stack_pointer, 0));
		/* Not arch_local_irq_enable(), which would come back here. */
		xchg(&segue_vcpu->masked, 0);
	}
}

/* arch/um's names for the same, as its signal code calls them. */
void block_signals(void)
{
	arch_local_irq_disable();
}

void unblock_signals(void)
{
	arch_local_irq_enable();
}

int um_set_signals(int enable)
{
	int before = arch_local_save_flags();

	arch_local_irq_restore(enable);
	return before;
}

int os_is_signal_stack(void)
{
	return 0;
}
