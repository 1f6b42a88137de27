/* SPDX-License-Identifier: Apache-2.0 */
/*
 * int64_t hv(call, a, b, c) and hv6(call, a, b, c, d, e, f): C's argument registers to the
 * hypercall's.
 */
	.text
	.globl	hv, hv6
hv:
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	xorl	%r10d, %r10d
	syscall
	ret

hv6:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret

/* int64_t hv_gate(context): ENTER_USER by the machine's own code. */
	.globl	hv_gate, hv_gate_at
hv_gate:
	movabsq	$0x500000000000, %rax
	call	*%rax
	ret

/* void hv_gate_at(regs): somewhere else in it, with RAX, RDI, RSI, RDX, R8, R9, R10 from REGS. */
hv_gate_at:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rdi, %rbx
	movq	0(%rbx), %rax
	movq	8(%rbx), %rdi
	movq	16(%rbx), %rsi
	movq	24(%rbx), %rdx
	movq	32(%rbx), %r8
	movq	40(%rbx), %r9
	movq	48(%rbx), %r10
	movq	56(%rbx), %rcx
	call	*%rcx
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.section .note.GNU-stack, "", @progbits
