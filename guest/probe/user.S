/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in user mode. Pieces of position-independent code, mapped at USER_CODE into every
 * root; the kernel sets their registers. They speak to it by system calls:
 *
 *   number 1, RDI: a result
 *   number 2, RDI, RSI, RDX: something is wrong
 */
#define SYS_DONE  1
#define SYS_WRONG 2

	.section .user, "ax"
	.macro	CODE name
	.balign	16
	.globl	\name
\name:
	.endm

	/* Nothing but a system call, again and again; the kernel looks at the registers. */
	CODE	u_syscall
1:	syscall
	.globl	u_syscall_next
u_syscall_next:
	jmp	1b

	/*
	 * Passes every register by in the six arguments. A number and an RSP come along: the
	 * call's result is the number of the next.
	 */
	CODE	u_rotate
1:	syscall
	xchgq	%rdi, %rsi
	xchgq	%rsi, %rdx
	xchgq	%rdx, %r10
	xchgq	%r10, %r8
	xchgq	%r8, %r9
	xchgq	%r9, %rbx
	xchgq	%rbx, %rbp
	xchgq	%rbp, %r12
	xchgq	%r12, %r13
	xchgq	%r13, %r14
	xchgq	%r14, %r15
	jmp	1b

	/* Hands back in RDI what the last call's result was. */
	CODE	u_echo
1:	syscall
	movq	%rax, %rdi
	movl	$SYS_DONE, %eax
	jmp	1b

	/*
	 * The SSE registers, MXCSR's rounding and the x87 control word from the seed RDI; then
	 * system calls for ever, looking at all of them after each.
	 */
	.macro	SSE_SET n
	leaq	\n(%rdi), %rax
	movq	%rax, %xmm\n
	.endm
	.macro	SSE_CHECK n
	movq	%xmm\n, %rax
	leaq	\n(%rdi), %rdx
	cmpq	%rax, %rdx
	movl	$\n, %esi
	jne	9f
	.endm
	CODE	u_sse
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	SSE_SET	\n
	.endr
	movl	%edi, %eax
	andl	$3, %eax
	shll	$13, %eax
	orl	$0x1f80, %eax
	movl	%eax, -4(%rsp)
	ldmxcsr	-4(%rsp)
	movl	%eax, %ebx
	movl	%edi, %eax
	andl	$3, %eax
	shll	$10, %eax
	orl	$0x037f, %eax
	movw	%ax, -8(%rsp)
	fldcw	-8(%rsp)
	movl	%eax, %ebp
	movq	%rdi, -16(%rsp)
	fildll	-16(%rsp)
1:	movl	$SYS_DONE, %eax
	syscall
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	SSE_CHECK \n
	.endr
	movl	$100, %esi
	stmxcsr	-4(%rsp)
	movl	-4(%rsp), %eax
	andl	$0xffc0, %eax		/* not the flags */
	cmpl	%ebx, %eax
	jne	9f
	movl	$101, %esi
	fnstcw	-8(%rsp)
	cmpw	%bp, -8(%rsp)
	jne	9f
	movl	$102, %esi
	fld	%st(0)
	fistpll	-16(%rsp)
	cmpq	%rdi, -16(%rsp)
	jne	9f
	jmp	1b
9:	movl	$SYS_WRONG, %eax
	syscall
	jmp	9b

	/* The high halves of the AVX registers: RDI goes round in YMM0 to YMM15. */
	CODE	u_avx
	vmovq	%rdi, %xmm0
	vpbroadcastq %xmm0, %ymm0
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqa	%ymm0, %ymm\n
	.endr
1:	movl	$SYS_DONE, %eax
	syscall
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vpcmpeqq %ymm0, %ymm\n, %ymm\n
	vpmovmskb %ymm\n, %eax
	movl	$\n, %esi
	cmpl	$-1, %eax
	jne	9f
	vmovdqa	%ymm0, %ymm\n
	.endr
	vextracti128 $1, %ymm0, %xmm1
	vmovq	%xmm1, %rax
	movl	$200, %esi
	cmpq	%rax, %rdi
	jne	9f
	vmovdqa	%ymm0, %ymm1
	jmp	1b
9:	movl	$SYS_WRONG, %eax
	syscall
	jmp	9b

	/* Counts in RBX and at USER_DATA (RDI) for ever. */
	CODE	u_spin
1:	incq	%rbx
	movq	%rbx, (%rdi)
	jmp	1b

	/*
	 * Checks for ever that all registers hold what they were loaded with: RDI plus their
	 * number; counts at (RSP).
	 */
	.macro	REG_CHECK register, n
	leaq	\n(%rdi), %rax
	cmpq	%rax, \register
	movl	$\n, %edx
	jne	9f
	.endm
	CODE	u_steady
1:	REG_CHECK %rsi, 1
	REG_CHECK %rbx, 3
	REG_CHECK %rcx, 4
	REG_CHECK %rbp, 5
	REG_CHECK %r8, 8
	REG_CHECK %r9, 9
	REG_CHECK %r10, 10
	REG_CHECK %r11, 11
	REG_CHECK %r12, 12
	REG_CHECK %r13, 13
	REG_CHECK %r14, 14
	REG_CHECK %r15, 15
	incq	(%rsp)
	stc
	.rept	64
	nop
	.endr
	movl	$16, %edx
	jnc	9f
	jmp	1b
9:	movl	$SYS_WRONG, %eax
	syscall
	jmp	9b

	/* One access and what it brought. */
	CODE	u_read
	movq	(%rdi), %rdi
	movl	$SYS_DONE, %eax
	syscall
	ud2
	CODE	u_write
	movq	%rsi, (%rdi)
	movl	$SYS_DONE, %eax
	syscall
	ud2
	CODE	u_jump
	jmp	*%rdi
	CODE	u_jump_r15
	jmp	*%r15
	CODE	u_fs
	movq	%fs:0, %rdi
	movq	%gs:8, %rsi
	movl	$SYS_DONE, %eax
	syscall
	jmp	u_fs

	/* Faults of every kind. */
	CODE	u_divide
	xorl	%ecx, %ecx
	divl	%ecx
	CODE	u_overflow
	movl	$0x80000000, %eax
	cltd
	movl	$-1, %ecx
	idivl	%ecx
	CODE	u_breakpoint
	int3
	.globl	u_breakpoint_next
u_breakpoint_next:
	movl	$SYS_DONE, %eax
	syscall
	CODE	u_undefined
	ud2
	CODE	u_privileged
	hlt
	CODE	u_noncanonical
	movabsq	$0x8000000000000000, %rax
	movq	(%rax), %rax
	CODE	u_segment
	movl	$0x1234, %eax
	movl	%eax, %ds
	CODE	u_port
	inb	$0x80, %al
	CODE	u_softint
	int	$0x42
	CODE	u_alignment
	pushfq
	orl	$0x40000, (%rsp)
	popfq
	movl	1(%rsp), %eax
	CODE	u_x87
	pushq	$0x0300		/* nothing masked */
	fldcw	(%rsp)
	fldz
	fld1
	fdivp			/* 1 / 0 */
	fwait
	CODE	u_simd
	pushq	$0		/* nothing masked */
	ldmxcsr	(%rsp)
	xorps	%xmm1, %xmm1
	movl	$1, %eax
	cvtsi2ss %eax, %xmm0
	divss	%xmm1, %xmm0
	ud2
	CODE	u_step
	pushfq
	orl	$0x100, (%rsp)
	popfq
	.globl	u_step_first
u_step_first:
	nop
	.globl	u_step_second
u_step_second:
	nop
	nop
	ud2

	/* Other ways into the host's kernel. RAX has the number. */
	CODE	u_int80
	int	$0x80
	movq	%rax, %rdi
	movl	$SYS_DONE, %eax
	syscall
	ud2
	CODE	u_sysenter
	sysenter
	ud2
	CODE	u_lcall
	lcall	*(%rdi)
	ud2
	/* The host's vsyscall page, called as its programs once did. RDX: where. */
	CODE	u_call
	call	*%rdx
	movq	%rax, %rdi
	movl	$SYS_DONE, %eax
	syscall
	ud2

	/* Harmless instructions: only their not failing is looked at. */
	CODE	u_harmless
	xorl	%eax, %eax
	cpuid
	movl	$7, %eax
	xorl	%ecx, %ecx
	cpuid
	rdtsc
	rdtscp
	xorl	%ecx, %ecx
	xgetbv
	pause
	prefetcht0 (%rdi)
	clflush	(%rsp)
	movl	$SYS_DONE, %eax
	syscall
	ud2

	/*
	 * Touches RCX pages at random: RDI base, RSI number of pages less one (a power of two
	 * less one), R8 an odd factor, R9 physical pages less one, RBX the seed. A page's
	 * first word tells its number, its second counts the touches.
	 */
	CODE	u_touch
1:	movq	%rbx, %rax
	shlq	$13, %rax
	xorq	%rax, %rbx
	movq	%rbx, %rax
	shrq	$7, %rax
	xorq	%rax, %rbx
	movq	%rbx, %rax
	shlq	$17, %rax
	xorq	%rax, %rbx
	movq	%rbx, %rdx
	shrq	$8, %rdx
	andq	%rsi, %rdx
	movq	%rdx, %r10
	shlq	$12, %r10
	movq	%rdx, %r11
	imulq	%r8, %r11
	andq	%r9, %r11
	cmpq	%r11, (%rdi,%r10)
	jne	9f
	incq	8(%rdi,%r10)
	decq	%rcx
	jnz	1b
	movl	$SYS_DONE, %eax
	syscall
	ud2
9:	movq	(%rdi,%r10), %rsi
	movq	%rdx, %rdi
	movq	%r11, %rdx
	movl	$SYS_WRONG, %eax
	syscall
	ud2

	/* Touches RCX pages, RDI and each RSI bytes further; adds up their first words. */
	CODE	u_sum
	xorl	%ebx, %ebx
1:	addq	(%rdi), %rbx
	addq	%rsi, %rdi
	decq	%rcx
	jnz	1b
	movq	%rbx, %rdi
	movl	$SYS_DONE, %eax
	syscall
	ud2

	/*
	 * The user part of the work mode. RDI base, RSI pages; R15 a number of its own. In
	 * every pass it looks whether each page holds what the last pass wrote, and writes it
	 * anew: pass << 32 | page << 8 | number. R12 counts passes, XMM9 along with it. After
	 * each it makes a system call with the pass, whose result must be the pass again.
	 */
	CODE	u_work
	xorl	%r12d, %r12d
	pxor	%xmm9, %xmm9
	movl	$1, %eax
	movq	%rax, %xmm8
2:	xorl	%ecx, %ecx
	movq	%rdi, %r8
1:	movq	%r12, %rax
	shlq	$32, %rax
	movq	%rcx, %rdx
	shlq	$8, %rdx
	orq	%rdx, %rax
	orq	%r15, %rax
	testq	%r12, %r12
	jz	3f
	cmpq	%rax, (%r8)
	jne	9f
3:	movabsq	$0x100000000, %rdx
	addq	%rdx, %rax
	movq	%rax, (%r8)
	addq	$4096, %r8
	incq	%rcx
	cmpq	%rsi, %rcx
	jne	1b
	incq	%r12
	paddq	%xmm8, %xmm9
	movq	%rdi, %r13
	movq	%rsi, %r14
	movq	%r12, %rdi
	movl	$SYS_DONE, %eax
	syscall
	movq	%r13, %rdi
	movq	%r14, %rsi
	cmpq	%rax, %r12
	jne	8f
	movq	%xmm9, %rax
	cmpq	%rax, %r12
	je	2b
8:	movq	%rax, %rsi
	movq	%r12, %rdx
	xorl	%edi, %edi
	jmp	7f
9:	movq	%r8, %rdi
	movq	(%r8), %rsi
	movq	%rax, %rdx
7:	movl	$SYS_WRONG, %eax
	syscall
	jmp	7b
	.section .note.GNU-stack, "", @progbits
