/* SPDX-License-Identifier: Apache-2.0 */
/* The three ways into kernel mode: start, events, traps; and the way back to what they met. */

/* Offsets in struct segue_pv_regs, and so in struct segue_pv_frame; trap.c checks them. */
#define RAX 0
#define RBX 8
#define RCX 16
#define RDX 24
#define RSI 32
#define RDI 40
#define RBP 48
#define RSP 56
#define R8  64
#define RIP 128
#define RFLAGS 136

	.text
	.globl	probe_start, trap_entry, event_entry, try_call, try_landing
probe_start:
	movq	%rax, start_regs + RAX(%rip)
	movq	%rbx, start_regs + RBX(%rip)
	movq	%rcx, start_regs + RCX(%rip)
	movq	%rdx, start_regs + RDX(%rip)
	movq	%rsi, start_regs + RSI(%rip)
	movq	%rdi, start_regs + RDI(%rip)
	movq	%rbp, start_regs + RBP(%rip)
	movq	%rsp, start_regs + RSP(%rip)
	movq	%r8, start_regs + R8(%rip)
	movq	%r9, start_regs + R8 + 8(%rip)
	movq	%r10, start_regs + R8 + 16(%rip)
	movq	%r11, start_regs + R8 + 24(%rip)
	movq	%r12, start_regs + R8 + 32(%rip)
	movq	%r13, start_regs + R8 + 40(%rip)
	movq	%r14, start_regs + R8 + 48(%rip)
	movq	%r15, start_regs + R8 + 56(%rip)
	pushfq
	popq	start_regs + RFLAGS(%rip)
	movups	%xmm0, start_xmm(%rip)
	movups	%xmm1, start_xmm + 16(%rip)
	movups	%xmm7, start_xmm + 32(%rip)
	movups	%xmm15, start_xmm + 48(%rip)
	stmxcsr	start_mxcsr(%rip)
	cld
	movq	$stack_end, %rsp
	call	probe_main
	ud2

trap_entry:
	cld
	movq	%rsp, entry_rsp(%rip)
	movq	%rdi, %rbx
	andq	$-16, %rsp
	call	trap_handle
	jmp	frame_return

event_entry:
	cld
	movq	%rsp, entry_rsp(%rip)
	movq	%rdi, %rbx
	andq	$-16, %rsp
	call	event_handle

/*
 * RBX: the frame to go back to. RDI, RFLAGS and RIP go below the red zone of the stack that was
 * interrupted, from where POP, POPF and RET take them when nothing of the frame is needed any
 * more: from the switch of RSP on, the next interruption may overwrite it. It may come anywhere
 * here.
 */
frame_return:
	movq	RSP(%rbx), %rax
	subq	$152, %rax
	movq	RDI(%rbx), %rcx
	movq	RFLAGS(%rbx), %rdx
	movq	RIP(%rbx), %rsi
	movq	%rcx, (%rax)
	movq	%rdx, 8(%rax)
	movq	%rsi, 16(%rax)
	movq	%rax, RSP(%rbx)
	movq	RAX(%rbx), %rax
	movq	RCX(%rbx), %rcx
	movq	RDX(%rbx), %rdx
	movq	RSI(%rbx), %rsi
	movq	RBP(%rbx), %rbp
	movq	R8(%rbx), %r8
	movq	R8 + 8(%rbx), %r9
	movq	R8 + 16(%rbx), %r10
	movq	R8 + 24(%rbx), %r11
	movq	R8 + 32(%rbx), %r12
	movq	R8 + 40(%rbx), %r13
	movq	R8 + 48(%rbx), %r14
	movq	R8 + 56(%rbx), %r15
	movq	RSP(%rbx), %rdi
	movq	RBX(%rbx), %rbx
	movq	%rdi, %rsp
	popq	%rdi
	popfq
	ret	$128

/* bool try_call(function, argument): false when it returned, true when a trap ended it. */
try_call:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	try_rsp(%rip)
	movq	%rsp, try_rsp(%rip)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	xorl	%eax, %eax
	jmp	1f
try_landing:
	movl	$1, %eax
1:	popq	try_rsp(%rip)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	.data
	.balign	16
	.globl	start_regs, start_xmm, start_mxcsr, entry_rsp, try_rsp
start_regs:	.skip 160	/* in .data: the kernel shall see what was loaded, not .bss */
start_xmm:	.skip 64
start_mxcsr:	.quad 0
entry_rsp:	.quad 0
try_rsp:	.quad 0
	.bss
	.balign	4096
	.skip	65536
stack_end:
	.section .note.GNU-stack, "", @progbits
