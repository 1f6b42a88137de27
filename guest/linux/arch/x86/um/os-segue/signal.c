// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signal frames of x86-64, with the whole of the floating-point state: a handler may use any
 * register that the program it interrupts uses.
 */
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <asm/processor-flags.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <asm/sigframe.h>
#include <frame_kern.h>
#include "../../../um/os-segue/segue.h"

#define FRAME_ALIGN 16
#define XSAVE_ALIGN 64
#define RED_ZONE    128
#define XSTATE_FP_SSE 3u

struct segue_frame {
	char __user *pretcode;
	struct ucontext uc;
	struct siginfo info;
};

static void sc_from_regs(struct sigcontext *sc, const struct pt_regs *regs)
{
	const unsigned long *gp = regs->regs.gp;

	sc->r8 = gp[HOST_R8];
	sc->r9 = gp[HOST_R9];
	sc->r10 = gp[HOST_R10];
	sc->r11 = gp[HOST_R11];
	sc->r12 = gp[HOST_R12];
	sc->r13 = gp[HOST_R13];
	sc->r14 = gp[HOST_R14];
	sc->r15 = gp[HOST_R15];
	sc->di = gp[HOST_DI];
	sc->si = gp[HOST_SI];
	sc->bp = gp[HOST_BP];
	sc->bx = gp[HOST_BX];
	sc->dx = gp[HOST_DX];
	sc->ax = gp[HOST_AX];
	sc->cx = gp[HOST_CX];
	sc->sp = gp[HOST_SP];
	sc->ip = gp[HOST_IP];
	sc->flags = gp[HOST_EFLAGS];
	sc->cs = gp[HOST_CS];
	sc->ss = gp[HOST_SS];
}

static void sc_to_regs(const struct sigcontext *sc, struct pt_regs *regs)
{
	unsigned long *gp = regs->regs.gp;

	gp[HOST_R8] = sc->r8;
	gp[HOST_R9] = sc->r9;
	gp[HOST_R10] = sc->r10;
	gp[HOST_R11] = sc->r11;
	gp[HOST_R12] = sc->r12;
	gp[HOST_R13] = sc->r13;
	gp[HOST_R14] = sc->r14;
	gp[HOST_R15] = sc->r15;
	gp[HOST_DI] = sc->di;
	gp[HOST_SI] = sc->si;
	gp[HOST_BP] = sc->bp;
	gp[HOST_BX] = sc->bx;
	gp[HOST_DX] = sc->dx;
	gp[HOST_AX] = sc->ax;
	gp[HOST_CX] = sc->cx;
	gp[HOST_SP] = sc->sp;
	gp[HOST_IP] = sc->ip;
	gp[HOST_EFLAGS] = sc->flags;
	gp[HOST_ORIG_AX] = -1;
}

/* The state, then the marks by which a C library and we know its size again. */
static int put_xstate(void __user *to, void *xstate)
{
	unsigned int size = segue_xstate_size();
	struct _fpx_sw_bytes marks = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = size + FP_XSTATE_MAGIC2_SIZE,
		.xfeatures = segue_xstate_features(),
		.xstate_size = size,
	};

	if (copy_to_user(to, xstate, size) ||
	    copy_to_user(&((struct _fpstate __user *)to)->sw_reserved, &marks, sizeof(marks)))
		return -EFAULT;
	return put_user(FP_XSTATE_MAGIC2, (u32 __user *)(to + size));
}

static bool marks_good(const struct _fpstate *fx, const void __user *from)
{
	const struct _fpx_sw_bytes *marks = &fx->sw_reserved;
	unsigned int size = segue_xstate_size();
	u32 magic2;

	return marks->magic1 == FP_XSTATE_MAGIC1 && marks->xstate_size == size &&
	       marks->extended_size == size + FP_XSTATE_MAGIC2_SIZE &&
	       !get_user(magic2, (u32 __user *)(from + size)) && magic2 == FP_XSTATE_MAGIC2;
}

static int get_xstate(void *xstate, const void __user *from)
{
	struct _fpstate *fx = xstate;

	segue_xstate_reset(xstate);
	if (!from)
		return 0;
	if (copy_from_user(fx, from, sizeof(*fx)))
		return -EFAULT;
	if (!marks_good(fx, from))
		((struct _xstate *)xstate)->xstate_hdr.xfeatures = XSTATE_FP_SSE;
	else if (copy_from_user(xstate, from, segue_xstate_size()))
		return -EFAULT;
	segue_xstate_clean(xstate);
	return 0;
}

static int put_context(struct segue_frame __user *frame, void __user *xstate,
		       struct pt_regs *regs, sigset_t *set)
{
	struct faultinfo *fault = &current->thread.arch.faultinfo;
	struct sigcontext sc = {
		.cr2 = fault->cr2,
		.err = fault->error_code,
		.trapno = fault->trap_no,
		.oldmask = set->sig[0],
		.fpstate = (unsigned long)xstate,
	};
	int err;

	sc_from_regs(&sc, regs);
	err = put_user(UC_FP_XSTATE, &frame->uc.uc_flags);
	err |= put_user(0, &frame->uc.uc_link);
	err |= __save_altstack(&frame->uc.uc_stack, PT_REGS_SP(regs));
	err |= copy_to_user(&frame->uc.uc_mcontext, &sc, sizeof(sc)) ? -EFAULT : 0;
	err |= copy_to_user(&frame->uc.uc_sigmask, set, sizeof(*set)) ? -EFAULT : 0;
	return err ? err : put_xstate(xstate, regs->regs.fp);
}

int setup_signal_stack_si(unsigned long stack_top, struct ksignal *ksig, struct pt_regs *regs,
			  sigset_t *set)
{
	struct segue_frame __user *frame;
	void __user *xstate;

	xstate = (void __user *)round_down(stack_top - RED_ZONE - segue_xstate_size() -
					   FP_XSTATE_MAGIC2_SIZE, XSAVE_ALIGN);
	/* As if the handler had been called: 8 bytes off the alignment. */
	frame = (void __user *)(round_down((unsigned long)xstate - sizeof(*frame), FRAME_ALIGN)
				- 8);
	/* There is no code of ours in programs to return through. */
	if (!(ksig->ka.sa.sa_flags & SA_RESTORER) ||
	    !access_ok(frame, stack_top - (unsigned long)frame))
		return -EFAULT;
	if (((ksig->ka.sa.sa_flags & SA_SIGINFO) &&
	     copy_siginfo_to_user(&frame->info, &ksig->info)) ||
	    put_context(frame, xstate, regs, set) ||
	    put_user((char __user *)ksig->ka.sa.sa_restorer, &frame->pretcode))
		return -EFAULT;

	PT_REGS_SP(regs) = (unsigned long)frame;
	PT_REGS_DI(regs) = ksig->sig;
	PT_REGS_AX(regs) = 0; /* for a handler without a prototype */
	PT_REGS_SI(regs) = (unsigned long)&frame->info;
	PT_REGS_DX(regs) = (unsigned long)&frame->uc;
	PT_REGS_IP(regs) = (unsigned long)ksig->ka.sa.sa_handler;
	PT_REGS_EFLAGS(regs) &= ~(X86_EFLAGS_DF | X86_EFLAGS_RF | X86_EFLAGS_TF);
	return 0;
}

long sys_rt_sigreturn(void)
{
	struct pt_regs *regs = &current->thread.regs;
	struct segue_frame __user *frame = (void __user *)(PT_REGS_SP(regs) - sizeof(long));
	struct sigcontext sc;
	sigset_t set;

	/* A system call that was interrupted is not restarted from here. */
	current->restart_block.fn = do_no_restart_syscall;
	if (copy_from_user(&set, &frame->uc.uc_sigmask, sizeof(set)) ||
	    copy_from_user(&sc, &frame->uc.uc_mcontext, sizeof(sc)) ||
	    get_xstate(regs->regs.fp, (void __user *)sc.fpstate) ||
	    restore_altstack(&frame->uc.uc_stack)) {
		force_sig(SIGSEGV);
		return 0;
	}
	set_current_blocked(&set);
	sc_to_regs(&sc, regs);
	current->thread.arch.segue.load = true;
	PT_REGS_SYSCALL_NR(regs) = -1;
	return PT_REGS_SYSCALL_RET(regs);
}
