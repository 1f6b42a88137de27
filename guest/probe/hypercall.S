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
	.section .note.GNU-stack, "", @progbits
