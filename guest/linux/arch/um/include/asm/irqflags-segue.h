/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __UM_IRQFLAGS_SEGUE_H
#define __UM_IRQFLAGS_SEGUE_H

#include <asm/segue-abi.h>

/*
 * Interrupts are the machine's events, masked by a byte in the vCPU's page. Flags as arch/um
 * has them: 1 enabled, 0 disabled. Set before anything else at the kernel's entry.
 */
extern struct segue_pv_vcpu *segue_vcpu;

/* Handles what came up while events were masked. Called, and returns, with them unmasked. */
void segue_irq_pending(void);

#define arch_local_save_flags arch_local_save_flags
static inline unsigned long arch_local_save_flags(void)
{
	return !*(volatile segue_u8 *)&segue_vcpu->masked;
}

#define arch_local_irq_disable arch_local_irq_disable
static inline void arch_local_irq_disable(void)
{
	*(volatile segue_u8 *)&segue_vcpu->masked = 1;
	asm volatile("" ::: "memory");
}

/* The exchange is a full barrier: the look at what is pending must come after unmasking. */
#define arch_local_irq_enable arch_local_irq_enable
static inline void arch_local_irq_enable(void)
{
	segue_u8 zero = 0;

	asm volatile("xchgb %0, %1" : "+q"(zero), "+m"(segue_vcpu->masked) : : "memory");
	if (__builtin_expect(*(volatile segue_u64 *)&segue_vcpu->pending != 0, 0))
		segue_irq_pending();
}

#define arch_local_irq_restore arch_local_irq_restore
static inline void arch_local_irq_restore(unsigned long flags)
{
	if (!flags)
		arch_local_irq_disable();
	else if (*(volatile segue_u8 *)&segue_vcpu->masked)
		arch_local_irq_enable();
}

#endif
