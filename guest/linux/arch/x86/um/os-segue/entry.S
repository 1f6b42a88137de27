/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the machine enters the kernel: at its start, for events and for traps.
 */
#include <linux/linkage.h>
#include <linux/init.h>
#include <asm/page.h>
#include <asm/thread_info.h>

/* struct segue_pv_regs, at the beginning of struct segue_pv_frame; trap.c checks them. */
#define RAX	0
#define RBX	8
#define RCX	16
#define RDX	24
#define RSI	32
#define RDI	40
#define RBP	48
#define RSP	56
#define R8	64
#define R15	120
#define RIP	128
#define RFLAGS	136
#define RED_ZONE 128

	__INIT
/* RDI: va of struct segue_pv_boot. */
SYM_CODE_START(_start)
	movq	$init_stack, %rsp
	addq	$THREAD_SIZE, %rsp
	xorl	%ebp, %ebp
	call	segue_start
	ud2
SYM_CODE_END(_start)
	.previous

	.text
/*
 * An event has interrupted the kernel, RDI: its frame. Everything returns through here: no
 * instruction takes all registers at once, so flags and address are put where the last two
 * instructions find them: right below the red zone of the interrupted code, in what may be
 * the frame's last part but is behind its registers. An event that comes up in between
 * builds its frame below whatever RSP then is.
 */
SYM_CODE_START(segue_event_entry)
	cld
	movq	%rdi, %rsp
	call	segue_event
.Lreturn:
	movq	RSP(%rsp), %rax
	subq	$(RED_ZONE + 16), %rax
	movq	RFLAGS(%rsp), %rcx
	movq	%rcx, (%rax)
	movq	RIP(%rsp), %rcx
	movq	%rcx, 8(%rax)
	movq	%rax, RSP(%rsp)
	movq	RAX(%rsp), %rax
	movq	RBX(%rsp), %rbx
	movq	RCX(%rsp), %rcx
	movq	RDX(%rsp), %rdx
	movq	RSI(%rsp), %rsi
	movq	RDI(%rsp), %rdi
	movq	RBP(%rsp), %rbp
	movq	R8(%rsp), %r8
	movq	R8 + 8(%rsp), %r9
	movq	R8 + 16(%rsp), %r10
	movq	R8 + 24(%rsp), %r11
	movq	R8 + 32(%rsp), %r12
	movq	R8 + 40(%rsp), %r13
	movq	R8 + 48(%rsp), %r14
	movq	R15(%rsp), %r15
	movq	RSP(%rsp), %rsp
	popfq
	ret	$RED_ZONE
SYM_CODE_END(segue_event_entry)

SYM_CODE_START(segue_trap_entry)
	cld
	movq	%rdi, %rsp
	call	segue_trap
	jmp	.Lreturn
SYM_CODE_END(segue_trap_entry)

	.section .note.GNU-stack, "", @progbits
