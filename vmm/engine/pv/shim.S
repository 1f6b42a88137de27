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
 * The gate, guest/abi.h: ENTER_USER of context rdi, called by kernel mode. Where the context
 * waits for the value of a system call, and the monitor has lent it (its slot says so), this
 * answers it and waits for its next call, without the monitor. Everything else, and all that
 * goes wrong, is the hypercall. What the monitor does when it stops this anywhere in between:
 * domain_gate.c.
 */
#define PAGE_PENDING   0
#define USER           128 /* struct segue_pv_user in the vCPU's page: gate.c checks these */
#define USER_ACTION    (USER + 0)
#define USER_VALUE     (USER + 8)
#define USER_NUMBER    (USER + 16)
#define USER_ARGUMENTS (USER + 24)
#define USER_RIP       (USER + 72)
#define CALL_ENTER     0x5e9007 /* SEGUE_PV_ENTER_USER */
#define ACTION_RETURN  1
#define ACTION_CONTINUE 0
#define REASON_SYSCALL 1
#define NR_IOCTL       16
#define NR_PWRITE      18
#define ARCH_X86_64    0xc000003e
#define NOTIF_ID       (PV_GATE_NOTIF + 0)
#define NOTIF_PID      (PV_GATE_NOTIF + 8)
#define NOTIF_NR       (PV_GATE_NOTIF + 16)
#define NOTIF_ARCH     (PV_GATE_NOTIF + 20)
#define NOTIF_IP       (PV_GATE_NOTIF + 24)
#define NOTIF_ARGS     (PV_GATE_NOTIF + 32)
#define VA_END_BITS    39
/* -512 to -516 have the host's kernel make a call again: the monitor knows what to do. */
#define RESTARTS_LAST  516
#define RESTARTS       4

PLACE(shim_gate):
	movabs	$PV_GATE_BLOCK, %r8
	mov	%rdi, PV_GATE_ASKED(%r8)
PLACE(shim_gate_asked):
	mov	PV_GATE_PAGE(%r8), %rcx
	test	%rcx, %rcx
	jz	gate_slow
	cmpl	$ACTION_RETURN, USER_ACTION(%rcx)
	jne	gate_slow
	mov	%edi, %eax
	and	$(PV_GATE_SLOTS - 1), %eax
	shl	$PV_GATE_SHIFT, %eax
	lea	PV_GATE_SLOT(%r8, %rax), %r9
	cmp	%rdi, PV_SLOT_CONTEXT(%r9)
	jne	gate_slow
	mov	USER_VALUE(%rcx), %rax
	lea	RESTARTS_LAST(%rax), %rdx
	cmp	$RESTARTS, %rdx
	jbe	gate_slow
	mov	%rax, PV_GATE_VALUE(%r8)
	mov	PV_SLOT_ID(%r9), %rax
	mov	%rax, PV_GATE_ID(%r8)

	mov	$PV_FD_AREAS, %edi
	lea	PV_GATE_ID(%r8), %rsi
	mov	$PV_ANSWER_LEN, %edx
	mov	PV_GATE_OFFSET(%r8), %r10
	mov	$NR_PWRITE, %eax
	syscall
PLACE(shim_gate_write_ip):
	cmp	$PV_ANSWER_LEN, %rax
	jne	gate_slow

	/* What it receives into must be zero; and so nothing old counts as received, or sent. */
	lea	PV_GATE_NOTIF(%r8), %rdx
	xor	%eax, %eax
	mov	%rax, (%rdx)
	mov	%rax, 8(%rdx)
	mov	%rax, 16(%rdx)
	mov	%rax, 24(%rdx)
	mov	%rax, 32(%rdx)
	mov	%rax, 40(%rdx)
	mov	%rax, 48(%rdx)
	mov	%rax, 56(%rdx)
	mov	%rax, 64(%rdx)
	mov	%rax, 72(%rdx)
	mov	%rax, PV_GATE_SENT(%r8)

	/* From here on who raises an event sees that we are inside, or we see the event. */
	mov	PV_GATE_ASKED(%r8), %edi
	and	$(PV_GATE_SLOTS - 1), %edi
	lea	1(%rdi), %rax
	mov	PV_GATE_PAGE(%r8), %rcx
	xchg	%rax, PV_GATE_INSIDE(%r8)
	cmpq	$0, PAGE_PENDING(%rcx)
	jne	gate_slow
	add	$PV_GATE_FD, %edi
	mov	$PV_GATE_SEND, %esi
	movabs	$PV_GATE_ANSWER, %rdx
	mov	$NR_IOCTL, %eax
	syscall
PLACE(shim_gate_send_ip):
	test	%rax, %rax
	jnz	gate_slow
	movq	$1, PV_GATE_SENT(%r8)
PLACE(shim_gate_sent):
	lea	PV_GATE_NOTIF(%r8), %rdx
	mov	$PV_GATE_RECV, %esi
	mov	$NR_IOCTL, %eax
	syscall
PLACE(shim_gate_recv_ip):
	test	%rax, %rax
	jnz	gate_slow

	/* Its own system call, or something that is for the monitor? */
	mov	NOTIF_PID(%r8), %eax
	cmp	%rax, PV_SLOT_PID(%r9)
	jne	gate_slow
	cmpl	$ARCH_X86_64, NOTIF_ARCH(%r8)
	jne	gate_slow
	mov	NOTIF_IP(%r8), %rdx
	mov	%rdx, %rax
	shr	$VA_END_BITS, %rax
	jnz	gate_slow
	mov	PV_GATE_PAGE(%r8), %rcx
	mov	%rdx, PV_SLOT_RIP(%r9)
	mov	%rdx, USER_RIP(%rcx)
	mov	NOTIF_NR(%r8), %eax
	mov	%rax, PV_SLOT_NUMBER(%r9)
	mov	%rax, USER_NUMBER(%rcx)
	mov	NOTIF_ID(%r8), %rax
	mov	%rax, PV_SLOT_ID(%r9)
	mov	NOTIF_ARGS(%r8), %rax
	mov	%rax, USER_ARGUMENTS(%rcx)
	mov	NOTIF_ARGS + 8(%r8), %rax
	mov	%rax, USER_ARGUMENTS + 8(%rcx)
	mov	NOTIF_ARGS + 16(%r8), %rax
	mov	%rax, USER_ARGUMENTS + 16(%rcx)
	mov	NOTIF_ARGS + 24(%r8), %rax
	mov	%rax, USER_ARGUMENTS + 24(%rcx)
	mov	NOTIF_ARGS + 32(%r8), %rax
	mov	%rax, USER_ARGUMENTS + 32(%rcx)
	mov	NOTIF_ARGS + 40(%r8), %rax
	mov	%rax, USER_ARGUMENTS + 40(%rcx)
	movl	$ACTION_CONTINUE, USER_ACTION(%rcx)
	xor	%eax, %eax
	mov	%rax, PV_GATE_INSIDE(%r8)
PLACE(shim_gate_done):
	mov	$REASON_SYSCALL, %eax
PLACE(shim_gate_done_ret):
	ret

gate_slow:
	mov	PV_GATE_ASKED(%r8), %rdi
	mov	$CALL_ENTER, %eax
	syscall
PLACE(shim_gate_slow_ip):
	ret
PLACE(shim_gate_end):

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
