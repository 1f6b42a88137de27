/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef OS_SEGUE_H
#define OS_SEGUE_H

#include <linux/types.h>
#include <asm/segue-abi.h>
#include <sysdep/ptrace.h>

struct task_struct;
struct mm_struct;
struct pt_regs;

extern struct segue_pv_boot *segue_boot;
extern struct segue_pv_vcpu *segue_vcpu;

/* Hypercalls: results are 0 or more, or a negative errno. */
static inline long segue_call6(long number, unsigned long a, unsigned long b, unsigned long c,
			       unsigned long d, unsigned long e, unsigned long f)
{
	register unsigned long r10 asm("r10") = d;
	register unsigned long r8 asm("r8") = e;
	register unsigned long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

static inline long segue_call4(long number, unsigned long a, unsigned long b, unsigned long c,
			       unsigned long d)
{
	register unsigned long r10 asm("r10") = d;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
		     : "rcx", "r11", "memory");
	return ret;
}

#define segue_call3(number, a, b, c) segue_call4(number, a, b, c, 0)
#define segue_call2(number, a, b)    segue_call4(number, a, b, 0, 0)
#define segue_call1(number, a)       segue_call4(number, a, 0, 0, 0)
#define segue_call0(number)          segue_call4(number, 0, 0, 0, 0)

/* console.c: prints to the serial port, from a buffer in the direct map. */
void segue_print(const char *text, unsigned long bytes);
void segue_console_early(void);

/* end.c: from then on the machine is told of a panic. */
void segue_end_early(void);

/* memory.c */
void segue_memory_init(void);

/* address_space.c: the machine starts to know MM's page tables. */
void segue_mm_used(struct mm_struct *mm);

/* irq.c: handles all that is pending and wanted; events masked. */
void segue_irq_handle(struct pt_regs *regs);
/* What a handler sees as the registers of interrupted kernel code. */
struct pt_regs *segue_irq_kernel_regs(unsigned long ip, unsigned long sp, unsigned long bp);

/* clock.c: guest time in ns, and ns since 1970. */
u64 segue_clock_read(void);
u64 segue_clock_wall(void);

/* user.c: makes thread.regs of the current task complete. */
void segue_user_fetch(void);
/* Ends the current task's context, for exec and exit. */
void segue_user_forget(struct task_struct *task);
/* fault.c: a page fault of user mode; 0, or the signal to send and its code. */
int segue_fault_user(unsigned long address, u32 error, int *ret_code);

/* entry.S */
void segue_event_entry(void);
void segue_trap_entry(void);

/* registers.c */
void segue_regs_from_abi(struct uml_pt_regs *to, const struct segue_pv_regs *from);
void segue_regs_to_abi(struct segue_pv_regs *to, const struct uml_pt_regs *from);
void segue_regs_reset(struct uml_pt_regs *regs); /* as a new program finds them */

/* xstate.c */
unsigned int segue_xstate_size(void); /* bytes */
void segue_xstate_reset(void *xstate);
/* Makes XSTATE, of unknown origin, one that a processor takes. */
void segue_xstate_clean(void *xstate);
u64 segue_xstate_features(void);

#endif
