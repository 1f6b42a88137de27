// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks: their kernel stacks, the switch between them, and what starting a program means.
 */
#include <linux/cpu.h>
#include <linux/elfcore.h>
#include <linux/personality.h>
#include <linux/ptrace.h>
#include <linux/random.h>
#include <linux/resume_user_mode.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>
#include <asm/elf.h>
#include <asm/switch_to.h>
#include <kern_util.h>
#include <longjmp.h>
#include <os.h>
#include <skas.h>
#include "segue.h"

struct task_struct *__switch_to(struct task_struct *from, struct task_struct *to)
{
	to->thread.prev_sched = from;
	if (!setjmp(from->thread.switch_buf))
		longjmp(to->thread.switch_buf, 1);
	return current->thread.prev_sched;
}

/* Before user mode is entered, and after it was left: what has come up meanwhile. */
void interrupt_end(void)
{
	struct pt_regs *regs = &current->thread.regs;
	unsigned long flags;

	while ((flags = read_thread_flags()) & _TIF_WORK_MASK) {
		if (flags & _TIF_NEED_RESCHED)
			schedule();
		if (flags & (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)) {
			segue_user_fetch();
			current->thread.arch.segue.load = true;
			do_signal(regs);
		}
		if (flags & _TIF_NOTIFY_RESUME)
			resume_user_mode_work(regs);
	}
}

static void new_task(void)
{
	if (current->thread.prev_sched)
		schedule_tail(current->thread.prev_sched);
	current->thread.prev_sched = NULL;
}

/* A kernel thread's first code. Its function returns only if it has become a program. */
static void start_kernel_thread(void)
{
	new_task();
	current->thread.request.u.thread.proc(current->thread.request.u.thread.arg);
	userspace(&current->thread.regs.regs, NULL);
}

static void start_user_thread(void)
{
	new_task();
	userspace(&current->thread.regs.regs, NULL);
}

static void prepare_switch(struct task_struct *task, void (*start)(void))
{
	unsigned long top = (unsigned long)task_stack_page(task) + THREAD_SIZE;

	/* As if START had been called: its caller's address, zero, ends a backtrace. */
	task->thread.switch_buf->JB_IP = (unsigned long)start;
	task->thread.switch_buf->JB_SP = top - 3 * sizeof(void *);
	memset((void *)(top - 3 * sizeof(void *)), 0, 3 * sizeof(void *));
}

static void copy_registers(struct task_struct *task, const struct kernel_clone_args *args)
{
	struct pt_regs *regs = &task->thread.regs;

	/* The system call has fetched them. */
	*regs = *current_pt_regs();
	PT_REGS_SET_SYSCALL_RETURN(regs, 0);
	UPT_SYSCALL_NR(&regs->regs) = -1;
	if (args->stack)
		PT_REGS_SP(regs) = args->stack;
	arch_copy_thread(&current->thread.arch, &task->thread.arch);
}

int copy_thread(struct task_struct *task, const struct kernel_clone_args *args)
{
	task->thread = (struct thread_struct)INIT_THREAD;
	task->thread.arch.segue.have = true;
	task->thread.arch.segue.load = true;
	if (args->fn) {
		segue_regs_reset(&task->thread.regs.regs);
		task->thread.request.u.thread.proc = args->fn;
		task->thread.request.u.thread.arg = args->fn_arg;
		prepare_switch(task, start_kernel_thread);
		return 0;
	}
	copy_registers(task, args);
	prepare_switch(task, start_user_thread);
	if (args->flags & CLONE_SETTLS)
		return arch_set_tls(task, args->tls);
	return 0;
}

void exit_thread(struct task_struct *task)
{
	segue_user_forget(task);
}

void flush_thread(void)
{
	segue_user_forget(current);
	arch_flush_thread(&current->thread.arch);
	current->thread.arch.fs = 0;
	segue_regs_reset(&current->thread.regs.regs);
	current->thread.arch.segue.have = true;
	current->thread.arch.segue.load = true;
}

void start_thread(struct pt_regs *regs, unsigned long ip, unsigned long sp)
{
	PT_REGS_IP(regs) = ip;
	PT_REGS_SP(regs) = sp;
	clear_thread_flag(TIF_SINGLESTEP);
}

void arch_cpu_idle(void)
{
	segue_call0(SEGUE_PV_BLOCK);
	raw_local_irq_enable();
}

unsigned long arch_align_stack(unsigned long sp)
{
	if (!(current->personality & ADDR_NO_RANDOMIZE) && randomize_va_space)
		sp -= prandom_u32_max(8192);
	return sp & ~0xful;
}

unsigned long __get_wchan(struct task_struct *task)
{
	unsigned long *slot = (unsigned long *)task->thread.switch_buf->JB_SP;
	unsigned long *top = task_stack_page(task) + THREAD_SIZE;
	bool scheduler = false;

	for (; slot >= (unsigned long *)task_stack_page(task) && slot < top; slot++) {
		if (in_sched_functions(*slot))
			scheduler = true;
		else if (scheduler && kernel_text_address(*slot))
			return *slot;
	}
	return 0;
}

int elf_core_copy_fpregs(struct task_struct *task, elf_fpregset_t *fpu)
{
	memcpy(fpu, task->thread.regs.regs.fp, sizeof(*fpu));
	return 1;
}
