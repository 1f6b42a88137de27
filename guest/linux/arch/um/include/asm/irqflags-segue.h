/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __UM_IRQFLAGS_SEGUE_H
#define __UM_IRQFLAGS_SEGUE_H

#include <linux/compiler.h>

/*
 * Interrupts are the machine's events, masked by a byte in the vCPU's page. Flags as arch/um
 * has them: 1 enabled, 0 disabled. This is how that page begins (struct segue_pv_vcpu); set
 * before anything else at the kernel's entry.
 */
struct segue_irq_flags {
	unsigned long pending;
	unsigned char masked;
};

extern struct segue_irq_flags *segue_irq_flags;

/* Handles what came up while events were masked. Called, and returns, with them unmasked. */
void segue_irq_pending(void);

#define arch_local_save_flags arch_local_save_flags
static inline unsigned long arch_local_save_flags(void)
{
	return !READ_ONCE(segue_irq_flags->masked);
}

#define arch_local_irq_disable arch_local_irq_disable
static inline void arch_local_irq_disable(void)
{
	WRITE_ONCE(segue_irq_flags->masked, 1);
	barrier();
}

/* The exchange is a full barrier: the look at what is pending must come after unmasking. */
#define arch_local_irq_enable arch_local_irq_enable
static inline void arch_local_irq_enable(void)
{
	unsigned char zero = 0;

	asm volatile("xchgb %0, %1" : "+q"(zero), "+m"(segue_irq_flags->masked) : : "memory");
	if (unlikely(READ_ONCE(segue_irq_flags->pending)))
		segue_irq_pending();
}

#define arch_local_irq_restore arch_local_irq_restore
static inline void arch_local_irq_restore(unsigned long flags)
{
	if (!flags)
		arch_local_irq_disable();
	else if (READ_ONCE(segue_irq_flags->masked))
		arch_local_irq_enable();
}

#endif
