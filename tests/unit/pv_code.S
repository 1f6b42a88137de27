/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest code for tests of domains: pieces that run wherever they are mapped, in a page of
 * guest RAM of their own. RDI is each piece's argument; most take it for writable memory.
 */
#define PIECE(name) .globl name; name
#define MAGIC       0x1122334455667788

	.section .rodata
	.balign 4096
PIECE(pv_code_begin):

/*
 * System calls 1, 2, 3, ..., 255, 0, 1, ...; the last one's result is the first argument, how
 * many there were the second. (335 and 336 never come to a monitor: probes of the host's.)
 */
PIECE(code_calls):
	xor	%ebx, %ebx
	mov	$MAGIC, %rbp
	xor	%edi, %edi
	mov	$103, %edx
	mov	$104, %r10d
	mov	$105, %r8d
	mov	$106, %r9d
1:	inc	%ebx
	movzbl	%bl, %eax
	mov	%ebx, %esi
	syscall
	mov	%rax, %rdi
	jmp	1b

/* One byte into every page from RDI on. */
PIECE(code_touch):
	movb	$1, (%rdi)
	add	$4096, %rdi
	jmp	code_touch

/* RSI pages of RDI, and a system call. */
PIECE(code_touch_some):
	movb	$1, (%rdi)
	add	$4096, %rdi
	dec	%rsi
	jnz	code_touch_some
	syscall
	jmp	code_touch_some

PIECE(code_read):
	mov	(%rdi), %rax
	syscall
PIECE(code_write):
	mov	%rax, (%rdi)
	syscall
PIECE(code_fetch):
	jmp	*%rdi
PIECE(code_return): /* what is fetched */
	syscall
PIECE(code_spin):
	inc	%rbx
	jmp	code_spin
PIECE(code_count): /* visibly */
	incq	(%rdi)
	jmp	code_count

/* Exceptions. */
PIECE(code_divide):
	xor	%ecx, %ecx
	mov	$1, %eax
	cltd
PIECE(code_divide_at):
	idiv	%ecx
PIECE(code_bp):
	int3
PIECE(code_bp_behind):
	nop
PIECE(code_ud):
	ud2
PIECE(code_gp):
	hlt
PIECE(code_noncanonical):
	mov	$0x8000000000000000, %rax
	mov	(%rax), %rax
PIECE(code_step): /* trap flag */
	pushf
	orq	$0x100, (%rsp)
	popf
	nop
PIECE(code_step_behind):
	nop
PIECE(code_align): /* alignment check */
	pushf
	orq	$0x40000, (%rsp)
	popf
	mov	1(%rdi), %rax
PIECE(code_x87):
	fninit
	movw	$0x0360, (%rdi) /* zero divide unmasked, among others */
	fldcw	(%rdi)
	fld1
	fldz
	fdivrp
	fwait
PIECE(code_sse):
	movl	$0x0000, (%rdi)
	ldmxcsr	(%rdi)
	pxor	%xmm0, %xmm0
	mov	$1, %eax
	cvtsi2sd %eax, %xmm1
	divsd	%xmm0, %xmm1

/* Registers: loads what lies at RDI into xmm0 and xmm15, stops, stores both behind. */
PIECE(code_xmm):
	movdqu	(%rdi), %xmm0
	movdqu	16(%rdi), %xmm15
	mov	$77, %eax
	syscall
	movdqu	%xmm0, 32(%rdi)
	movdqu	%xmm15, 48(%rdi)
	mov	$78, %eax
	syscall
	ud2
PIECE(code_xmm_trap):
	movdqu	(%rdi), %xmm0
	movdqu	16(%rdi), %xmm15
PIECE(code_xmm_trap_at):
	ud2
	movdqu	%xmm0, 32(%rdi)
	movdqu	%xmm15, 48(%rdi)
	mov	$78, %eax
	syscall

/* Every register into the 20 words at R15, but R15. */
PIECE(code_registers):
	mov	%rax, 0(%r15)
	mov	%rbx, 8(%r15)
	mov	%rcx, 16(%r15)
	mov	%rdx, 24(%r15)
	mov	%rsi, 32(%r15)
	mov	%rdi, 40(%r15)
	mov	%rbp, 48(%r15)
	mov	%rsp, 56(%r15)
	mov	%r8, 64(%r15)
	mov	%r9, 72(%r15)
	mov	%r10, 80(%r15)
	mov	%r11, 88(%r15)
	mov	%r12, 96(%r15)
	mov	%r13, 104(%r15)
	mov	%r14, 112(%r15)
	rdfsbase %rax
	mov	%rax, 120(%r15)
	rdgsbase %rax
	mov	%rax, 128(%r15)
	pushf
	pop	%rax
	mov	%rax, 136(%r15)
	mov	0(%r15), %rax
	syscall
	jmp	code_registers

/* Ways out. */
PIECE(code_int80):
	mov	$1, %eax /* exit */
	xor	%ebx, %ebx
PIECE(code_int80_at):
	int	$0x80
	ud2
PIECE(code_x32):
	mov	$0x400000e7, %eax /* exit_group */
	xor	%edi, %edi
	syscall
PIECE(code_sysenter):
	mov	$252, %eax /* exit_group of the 32-bit ABI */
	xor	%ebx, %ebx
	mov	%rsp, %rbp
	sysenter
	ud2
PIECE(code_vsyscall):
	mov	$0xffffffffff600400, %rax /* time() */
	xor	%edi, %edi
	call	*%rax
	mov	$79, %eax
	syscall
/* 32-bit code, and exit_group of its ABI. */
PIECE(code_compat):
	lea	-8(%rsp), %rsp
	movl	$0x23, 4(%rsp)
	lea	1f(%rip), %rax
	mov	%eax, (%rsp)
	lretl
	.code32
1:	mov	$252, %eax
	xor	%ebx, %ebx
	int	$0x80
	ud2
	.code64
PIECE(code_end):
	nop
	.balign 4096
PIECE(pv_code_end):
	.section .note.GNU-stack, "", @progbits
