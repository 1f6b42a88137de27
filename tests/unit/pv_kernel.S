/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A guest kernel for tests of the paravirtual engine: carries out a list of operations that
 * the test has put into guest memory, and notes how it was interrupted. Runs anywhere in the
 * direct map. pv_guest.h has the other side of every number here.
 */
#define DIRECT   0x60000000
#define LIST     DIRECT + 0x10000
#define NOTES    DIRECT + 0x3000
#define EVENTS   (NOTES)
#define TRAPS    (NOTES + 8)
#define TRAP     (NOTES + 16) /* vector and error, address, rip */
#define FRAME_RSP (NOTES + 40)

	.section .rodata
	.globl pv_kernel, pv_kernel_event, pv_kernel_trap, pv_kernel_end
	.globl pv_program, pv_program_calls, pv_program_touches, pv_program_end

	.balign 16
pv_kernel:
	mov	$LIST, %ebx
	mov	%rdi, NOTES + 48
next:
	xor	%r15d, %r15d
	mov	(%rbx), %rax
	test	%rax, %rax
	jnz	1f
	pause
	jmp	next
1:	mov	8(%rbx), %rdi
	mov	16(%rbx), %rsi
	mov	24(%rbx), %rdx
	mov	32(%rbx), %r10
	mov	40(%rbx), %r8
	mov	48(%rbx), %r9
	lea	skipped(%rip), %r15
	cmp	$1, %rax
	je	load
	cmp	$2, %rax
	je	store
	cmp	$3, %rax
	je	go
	cmp	$4, %rax
	je	unmask
	cmp	$5, %rax
	je	stack
	cmp	$6, %rax
	je	raise
	cmp	$7, %rax
	je	repeat
	syscall
done:	mov	%rax, 56(%rbx)
	movq	$1, 64(%rbx)
	add	$72, %rbx
	jmp	next
load:	mov	(%rdi), %rax
	jmp	done
store:	mov	%rsi, (%rdi)
	xor	%eax, %eax
	jmp	done
go:	call	*%rdi
	jmp	done
unmask:	xor	%eax, %eax
	xchg	%al, (%rdi)
	jmp	done
stack:	mov	%rsp, %rax
	mov	%rdi, %rsp
	jmp	done
raise:	ud2
	jmp	done
/* RDI: a hypercall with argument RSI, RDX times; R10: va of a word that is set to 1 before. */
repeat:	mov	%rdi, %r12
	mov	%rsi, %r13
	mov	%rdx, %r14
	mov	%r10, %rbp
1:	movl	$1, (%rbp)
	mov	%r12, %rax
	mov	%r13, %rdi
	syscall
	dec	%r14
	jnz	1b
	jmp	done
skipped:
	mov	$-1, %rax
	jmp	done

pv_kernel_event:
	incq	EVENTS
	mov	%rdi, FRAME_RSP
	/* The timer's and the power button's lines are the guest's to clear. */
	mov	NOTES + 56, %rax
	lock andq $~0x21, (%rax)
	jmp	resume

pv_kernel_trap:
	incq	TRAPS
	mov	160(%rdi), %rax
	mov	%rax, TRAP
	mov	168(%rdi), %rax
	mov	%rax, TRAP + 8
	mov	128(%rdi), %rax
	mov	%rax, TRAP + 16
	mov	120(%rdi), %rax		/* r15: where to go on, or 0: try again */
	test	%rax, %rax
	jz	resume
	mov	%rax, 128(%rdi)
resume:
	sub	$128, %rsp
	mov	%ss, %eax
	push	%rax
	pushq	56(%rdi)
	pushq	136(%rdi)
	mov	%cs, %eax
	push	%rax
	pushq	128(%rdi)
	mov	(%rdi), %rax
	mov	8(%rdi), %rbx
	mov	16(%rdi), %rcx
	mov	24(%rdi), %rdx
	mov	32(%rdi), %rsi
	mov	48(%rdi), %rbp
	mov	64(%rdi), %r8
	mov	72(%rdi), %r9
	mov	80(%rdi), %r10
	mov	88(%rdi), %r11
	mov	96(%rdi), %r12
	mov	104(%rdi), %r13
	mov	112(%rdi), %r14
	mov	120(%rdi), %r15
	mov	40(%rdi), %rdi
	iretq
pv_kernel_end:

/*
 * A program: RBX points at its own page of data. Counts in (RBX) while 8(RBX) is 0, which the
 * test sets; calls with what it counted; adds what came back to 16(RBX); and again.
 */
	.balign 16
pv_program:
	movq	$0, 8(%rbx)
1:	incq	(%rbx)
	cmpq	$0, 8(%rbx)
	je	1b
	mov	$77, %eax
	mov	(%rbx), %rdi
	mov	$2, %esi
	mov	$3, %edx
	mov	$4, %r10d
	mov	$5, %r8d
	mov	$6, %r9d
	syscall
	add	%rax, 16(%rbx)
	movq	%xmm7, 24(%rbx)
	jmp	pv_program

/* Calls and nothing else. */
	.balign 16
pv_program_calls:
	syscall
	jmp	pv_program_calls

/* Writes to a page, and to the next. */
	.balign 16
pv_program_touches:
	incq	(%rbx)
	add	$4096, %rbx
	jmp	pv_program_touches
pv_program_end:

	.section .note.GNU-stack, "", @progbits
