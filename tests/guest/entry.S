/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of the protected-mode part: the 64-bit entry has to be 0x200 into it (Linux
 * Documentation/x86/boot.rst, "64-bit Boot Protocol"). RSI holds the address of boot_params.
 */
	.section .head, "ax"
	.code32
	.globl	entry32
entry32:				/* nobody comes in this way: setup.S goes round it */
	cli
1:	hlt
	jmp	1b

	.org	0x200
	.code64
	.globl	entry64
entry64:
	cli
	cld
	leaq	stack_top(%rip), %rsp
	movq	%rsi, %rdi
	call	guest_main
2:	hlt
	jmp	2b

	.bss
	.balign	16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
