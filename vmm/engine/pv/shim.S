/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/shim.h"

/*
 * The instructions of ours in a domain. Position independent; no stack, no memory that guest
 * code can write, but for the frame whose registers a context is about to get anyway.
 * Guest code may jump to any byte of this: whatever system call it then makes is a
 * notification with numbers that the monitor checks, or an rt_sigreturn, which gives it
 * registers it could have loaded itself.
 */
#define NR_CLONE     56
#define NR_MUNMAP    11
#define NR_PRCTL     157
#define NR_SECCOMP   317
#define NR_SIGRETURN 15
#define SIGKILL      9

#define PLACE(name) .globl name; .hidden name; name

	.section pvshim, "ax", @progbits
	.balign 64

/*
 * A signal or a fault: rdi is its number, rsp the frame with all registers. All signals are
 * blocked meanwhile. An answer below zero is the kernel's: there is no monitor any more.
 */
PLACE(shim_handler):
	mov	%rsp, %rsi
	rdfsbase %rdx
	rdgsbase %r10
stop:
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	mov	$PV_CALL_STOP, %eax
	syscall
PLACE(shim_stop_ip):
	test	%rax, %rax
	js	die
	btr	$0, %rax /* PV_STOP_BASES */
	jnc	resume
	xor	%ecx, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %fs
	mov	%ecx, %gs
	mov	-16(%rax), %rcx
	wrfsbase %rcx
	mov	-8(%rax), %rcx
	wrgsbase %rcx
resume:
	/* As if the handler had returned to its restorer. */
	lea	8(%rax), %rsp
	mov	$NR_SIGRETURN, %eax
	syscall
PLACE(shim_sigreturn_ip):
	/* Faulting with the signal blocked, or as a guest's own fault, ends it or is seen. */
die:
	ud2

/* Template: its result of the last clone in rdi; the answer is the stack of the next. */
PLACE(shim_template_start):
	/* (program, where to put the listener's descriptor): the filter, then no memory. */
	mov	%rsi, %r12
	mov	%rdi, %rdx
	mov	$1, %edi     /* SECCOMP_SET_MODE_FILTER */
	mov	$0xc, %esi   /* SPEC_ALLOW: guests get what any process gets; NEW_LISTENER */
	mov	$NR_SECCOMP, %eax
	syscall
	mov	%rax, (%r12)
	xor	%edi, %edi
	test	%rax, %rax
	js	refused
template:
	xor	%esi, %esi
	mov	$PV_CALL_TEMPLATE, %eax
	syscall
PLACE(shim_template_ip):
	test	%rax, %rax
	js	die
	mov	$PV_CLONE_FLAGS, %edi
	mov	%rax, %rsi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	mov	$NR_CLONE, %eax
	syscall
PLACE(shim_clone_ip):
	mov	%rax, %rdi
	test	%rax, %rax
	jnz	template

	/* A context is born. It ends with the template. */
	mov	$1, %edi     /* PR_SET_PDEATHSIG */
	mov	$SIGKILL, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	mov	$NR_PRCTL, %eax
	syscall
PLACE(shim_prctl_ip):
	test	%rax, %rax
	js	die
	xor	%edi, %edi   /* no signal: it has no registers yet */
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	jmp	stop

refused:
	pause                /* until the mapper has told and ends the process */
	jmp	refused

/* Mapper: (orders, stack and its size, which it gives back). */
PLACE(shim_mapper_start):
	mov	%rdi, %r12
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	$NR_MUNMAP, %eax
	syscall
	mov	%rax, %rdi
	xor	%ebp, %ebp
next:
	mov	%rbp, %rsi
	mov	$PV_CALL_NEXT, %eax
	syscall
PLACE(shim_next_ip):
	test	%rax, %rax
	jle	die
	mov	%rax, %rbp
	mov	%r12, %rbx
order:
	mov	(%rbx), %rax
	mov	8(%rbx), %rdi
	mov	16(%rbx), %rsi
	mov	24(%rbx), %rdx
	mov	32(%rbx), %r10
	mov	40(%rbx), %r8
	mov	48(%rbx), %r9
	syscall
	cmp	$-4095, %rax
	jae	failed
	add	$64, %rbx
	dec	%rbp
	jnz	order
	xor	%edi, %edi
	jmp	next
failed:
	mov	%rax, %rdi
	jmp	next

/*
 * A thread of the same address space: (flags, stack top, function, its argument). The
 * caller gets the thread's id or an error.
 */
PLACE(shim_thread):
	mov	%rdx, %r11
	mov	%rcx, %r9
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	push	%r11         /* lost in SYSCALL */
	mov	$NR_CLONE, %eax
	/* The child finds function and argument in r12 and r13. */
	push	%r12
	push	%r13
	mov	%r11, %r12
	mov	%r9, %r13
	syscall
	test	%rax, %rax
	jz	1f
	pop	%r13
	pop	%r12
	pop	%r11
	ret
1:	xor	%ebp, %ebp
	mov	%r13, %rdi
	call	*%r12
	ud2

/* First instructions of the zygote, on a stack of its own: rdi to rdx are for zygote_main. */
PLACE(shim_zygote_entry):
	xor	%ebp, %ebp
	and	$-16, %rsp
	call	zygote_main
	ud2

PLACE(shim_pagemap_path):
	.asciz	"/proc/self/pagemap"

	.section .note.GNU-stack, "", @progbits
