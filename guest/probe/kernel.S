/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel mode looks after its own registers. What is said about them in probe.h. */
	.text
	.globl	hypercall_check, steady

	.macro	SAVE
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.endm
	.macro	RESTORE
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	.endm
	/* Register N holds N << 40 plus N. */
	.macro	SET register, n
	movabsq	$(\n << 40) + \n, \register
	.endm
	.macro	CHECK register, n
	movabsq	$(\n << 40) + \n, %rax
	cmpq	%rax, \register
	movl	$\n, %eax
	jne	9f
	.endm
	.macro	SSE_SET n
	movabsq	$(\n << 48) + \n, %rax
	movq	%rax, %xmm\n
	.endm
	.macro	SSE_CHECK n
	movabsq	$(\n << 48) + \n, %rax
	movq	%xmm\n, %rcx
	cmpq	%rax, %rcx
	movl	$32 + \n, %eax
	jne	9f
	.endm

hypercall_check:
	SAVE
	pushq	%rsi
	movq	%rdi, %rax
	xorl	%edi, %edi
	xorl	%esi, %esi
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	SET	%rbx, 3
	SET	%rbp, 5
	SET	%r8, 8
	SET	%r9, 9
	SET	%r12, 12
	SET	%r13, 13
	SET	%r14, 14
	SET	%r15, 15
	movq	%rax, %rcx
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	SSE_SET	\n
	.endr
	movq	%rsp, %xmm15
	movq	%rcx, %rax
	movabsq	$0x1122334455667788, %rcx
	movq	%rcx, -8(%rsp)
	movq	%rcx, -128(%rsp)
	std
	stc
	syscall
	movq	%rax, %r11
	movl	$64, %eax
	jnc	8f
	movl	$66, %eax
	cmpq	%r11, (%rsp)
	jne	8f
	movl	$67, %eax
	movabsq	$0x1122334455667788, %rcx
	cmpq	%rcx, -8(%rsp)
	jne	8f
	cmpq	%rcx, -128(%rsp)
	jne	8f
	pushfq
	popq	%rcx
	movl	$65, %eax
	testq	$0x400, %rcx
	jz	8f
	movl	$6, %eax
	testq	%rsi, %rsi
	jnz	8f
	movl	$7, %eax
	testq	%rdi, %rdi
	jnz	8f
	movl	$4, %eax
	testq	%rdx, %rdx
	jnz	8f
	movl	$10, %eax
	testq	%r10, %r10
	jnz	8f
	movq	%xmm15, %rcx
	movl	$47, %eax
	cmpq	%rcx, %rsp
	jne	8f
	CHECK	%rbx, 3
	CHECK	%rbp, 5
	CHECK	%r8, 8
	CHECK	%r9, 9
	CHECK	%r12, 12
	CHECK	%r13, 13
	CHECK	%r14, 14
	CHECK	%r15, 15
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	SSE_CHECK \n
	.endr
	xorl	%eax, %eax
8:
9:	cld
	popq	%rsi
	RESTORE
	ret

steady:
	SAVE
	movq	%rsp, %xmm15
	SET	%rbx, 3
	SET	%rdx, 4
	SET	%rbp, 5
	SET	%r8, 8
	SET	%r9, 9
	SET	%r10, 10
	SET	%r11, 11
	SET	%r12, 12
	SET	%r13, 13
	SET	%r14, 14
	SET	%r15, 15
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	SSE_SET	\n
	.endr
	movabsq	$0x1122334455667788, %rax
	.irp	n, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128
	movq	%rax, -\n(%rsp)
	.endr
1:	CHECK	%rbx, 3
	CHECK	%rdx, 4
	CHECK	%rbp, 5
	CHECK	%r8, 8
	CHECK	%r9, 9
	CHECK	%r10, 10
	CHECK	%r11, 11
	CHECK	%r12, 12
	CHECK	%r13, 13
	CHECK	%r14, 14
	CHECK	%r15, 15
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	SSE_CHECK \n
	.endr
	movq	%xmm15, %rcx
	movl	$47, %eax
	cmpq	%rcx, %rsp
	jne	9f
	movabsq	$0x1122334455667788, %rcx
	movl	$67, %eax
	.irp	n, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128
	cmpq	%rcx, -\n(%rsp)
	jne	9f
	.endr
	movl	$64, %eax
	stc
	.rept	64
	nop
	.endr
	jnc	9f
	cmpq	$0, (%rdi)
	jne	2f
	decq	(%rsi)
	jnz	1b
2:	xorl	%eax, %eax
9:	RESTORE
	ret
	.section .note.GNU-stack, "", @progbits
