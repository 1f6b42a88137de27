// SPDX-License-Identifier: GPL-2.0-only
/*
 * User mode. The machine keeps a program's registers, in a context a task; most system calls
 * and page faults never look at them. struct segue_task says where they are.
 */
#include <linux/idr.h>
#include <linux/irqflags.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <asm/page.h>
#include <asm/processor-flags.h>
#include <asm/unistd.h>
#include <kern_util.h>
#include <os.h>
#include <skas.h>
#include "segue.h"

#define CONTEXT_LAST ((1 << 22) - 1)

static DEFINE_IDA(contexts);

static struct segue_task *segue_of(struct task_struct *task)
{
	return &task->thread.arch.segue;
}

void segue_user_forget(struct task_struct *task)
{
	struct segue_task *own = segue_of(task);

	if (!own->context)
		return;
	/* May have ended already, with its address space. */
	segue_call1(SEGUE_PV_CONTEXT_DESTROY, own->context);
	ida_free(&contexts, own->context);
	own->context = 0;
	own->have = true;
	own->load = true;
	own->call = false;
	own->stepping = false;
}

/* The program cannot go on: what it was at is not known any more. */
static void lost(const char *why, long err)
{
	pr_err_ratelimited("%s[%d]: %s: %ld\n", current->comm, task_pid_nr(current), why, err);
	segue_user_forget(current);
	force_sig(SIGKILL);
}

void segue_user_fetch(void)
{
	struct uml_pt_regs *regs = &current->thread.regs.regs;
	struct segue_task *own = segue_of(current);
	unsigned long value = UPT_AX(regs), number = regs->gp[HOST_ORIG_AX];
	long err;

	if (own->have)
		return;
	err = segue_call1(SEGUE_PV_GET_USER, own->context);
	if (err) {
		lost("registers", err);
		return;
	}
	segue_regs_from_abi(regs, &segue_vcpu->user.regs);
	memcpy(regs->fp, segue_vcpu->user.xsave, segue_xstate_size());
	if (own->call) {
		UPT_AX(regs) = value;
		regs->gp[HOST_ORIG_AX] = number;
	}
	own->have = true;
}

static int create(struct segue_task *own)
{
	int id = ida_alloc_range(&contexts, 1, CONTEXT_LAST, GFP_KERNEL);
	long err;

	if (id < 0)
		return id;
	err = segue_call2(SEGUE_PV_CONTEXT_CREATE, __pa(current->mm->pgd), id);
	if (err) {
		ida_free(&contexts, id);
		return err;
	}
	segue_mm_used(current->mm);
	own->context = id;
	own->have = true;
	own->load = true;
	return 0;
}

static void set_load(struct segue_pv_user *user, struct uml_pt_regs *regs)
{
	user->action = SEGUE_PV_LOAD;
	segue_regs_to_abi(&user->regs, regs);
	if (segue_of(current)->stepping)
		user->regs.rflags |= X86_EFLAGS_TF;
	user->has_xsave = 1;
	memcpy(user->xsave, regs->fp, segue_xstate_size());
}

/*
 * The machine's own way in. Below the red zone: the compiler does not know of the return
 * address.
 */
static long call_gate(unsigned long context)
{
	unsigned long gate = SEGUE_PV_GATE;
	long ret;

	asm volatile("leaq -128(%%rsp), %%rsp\n\t"
		     "call *%[gate]\n\t"
		     "leaq 128(%%rsp), %%rsp"
		     : "=a"(ret), "+D"(context), [gate] "+b"(gate)
		     :
		     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "cc", "memory");
	return ret;
}

/* Events masked: nobody else uses the page's part for user mode until its answer is read. */
static long enter(struct uml_pt_regs *regs, struct segue_task *own)
{
	struct segue_pv_user *user = &segue_vcpu->user;

	if (own->load) {
		set_load(user, regs);
	} else if (own->call) {
		user->action = SEGUE_PV_RETURN;
		user->value = UPT_AX(regs);
	} else {
		user->action = SEGUE_PV_CONTINUE;
	}
	own->have = false;
	own->load = false;
	own->call = false;
	return call_gate(own->context);
}

/* System calls that read or write registers beyond their number, arguments and value. */
static bool wants_registers(unsigned long number)
{
	switch (number) {
	case __NR_clone:
	case __NR_clone3:
	case __NR_fork:
	case __NR_vfork:
	case __NR_rt_sigreturn:
	case __NR_sigaltstack:
	case __NR_arch_prctl:
		return true;
	}
	return current->ptrace || test_thread_flag(TIF_SYSCALL_TRACE) ||
	       test_thread_flag(TIF_SINGLESTEP);
}

static void take_call(struct uml_pt_regs *regs, const struct segue_pv_user *user)
{
	unsigned long *gp = regs->gp;

	gp[HOST_ORIG_AX] = user->number;
	gp[HOST_AX] = -ENOSYS;
	gp[HOST_DI] = user->arguments[0];
	gp[HOST_SI] = user->arguments[1];
	gp[HOST_DX] = user->arguments[2];
	gp[HOST_R10] = user->arguments[3];
	gp[HOST_R8] = user->arguments[4];
	gp[HOST_R9] = user->arguments[5];
	gp[HOST_IP] = user->rip;
	segue_of(current)->call = true;
}

static void do_call(struct uml_pt_regs *regs)
{
	if (wants_registers(regs->gp[HOST_ORIG_AX]))
		segue_user_fetch();
	handle_syscall(regs);
}

static void do_page_fault(const struct segue_pv_trap *trap)
{
	int code, signal = segue_fault_user(trap->address, trap->error, &code);

	if (signal)
		force_sig_fault(signal, code, (void __user *)trap->address);
}

static void end_step(struct uml_pt_regs *regs)
{
	segue_user_fetch();
	regs->gp[HOST_EFLAGS] &= ~X86_EFLAGS_TF;
	segue_of(current)->load = true;
	segue_of(current)->stepping = false;
}

static void do_trap(struct uml_pt_regs *regs, const struct segue_pv_trap *trap)
{
	void __user *ip = (void __user *)UPT_IP(regs);

	current->thread.arch.faultinfo = (struct faultinfo){
		.error_code = trap->error,
		.cr2 = trap->address,
		.trap_no = trap->vector,
	};
	switch (trap->vector) {
	case SEGUE_PV_VECTOR_PF:
		do_page_fault(trap);
		break;
	case SEGUE_PV_VECTOR_DE:
		force_sig_fault(SIGFPE, FPE_INTDIV, ip);
		break;
	case SEGUE_PV_VECTOR_DB:
		force_sig_fault(SIGTRAP, TRAP_TRACE, ip);
		break;
	case SEGUE_PV_VECTOR_BP:
		force_sig(SIGTRAP);
		break;
	case SEGUE_PV_VECTOR_UD:
		force_sig_fault(SIGILL, ILL_ILLOPN, ip);
		break;
	case SEGUE_PV_VECTOR_MF:
		force_sig_fault(SIGFPE, FPE_FLTUNK, ip);
		break;
	case SEGUE_PV_VECTOR_AC:
		force_sig_fault(SIGBUS, BUS_ADRALN, ip);
		break;
	case SEGUE_PV_VECTOR_LOST:
		lost("the machine has lost it", 0);
		break;
	default:
		force_sig(SIGSEGV);
	}
}

/* Ends with events unmasked, the program's next step done as far as the kernel's part goes. */
static void run_once(struct uml_pt_regs *regs, struct segue_task *own)
{
	const struct segue_pv_user *user = &segue_vcpu->user;
	struct segue_pv_trap trap;
	long reason;

	UPT_SYSCALL_NR(regs) = -1;
	reason = enter(regs, own);
	switch (reason) {
	case SEGUE_PV_SYSCALL:
		take_call(regs, user);
		local_irq_enable();
		if (own->stepping)
			end_step(regs);
		do_call(regs);
		break;
	case SEGUE_PV_TRAP:
		trap = user->trap;
		UPT_IP(regs) = user->rip;
		local_irq_enable();
		if (own->stepping)
			end_step(regs);
		do_trap(regs, &trap);
		break;
	case SEGUE_PV_EVENT:
		segue_irq_handle(&current->thread.regs);
		local_irq_enable();
		break;
	default:
		local_irq_enable();
		lost("cannot run it", reason);
	}
}

/* The rest of a task's life, once it is a program. */
void userspace(struct uml_pt_regs *regs, unsigned long *unused)
{
	struct segue_task *own = segue_of(current);
	int err;

	for (;;) {
		interrupt_end();
		if (test_thread_flag(TIF_SINGLESTEP) && !own->stepping) {
			segue_user_fetch();
			own->load = true;
			own->stepping = true;
		}
		err = own->context ? 0 : create(own);
		if (err) {
			lost("no context for it", err);
			continue;
		}
		local_irq_disable();
		if (read_thread_flags() & _TIF_WORK_MASK)
			local_irq_enable();
		else
			run_once(regs, own);
	}
}
