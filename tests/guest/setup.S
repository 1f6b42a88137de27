/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-mode part of a test guest's bzImage: the header a loader reads
 * (Linux Documentation/x86/boot.rst, "The Real-Mode Kernel Header"), and, for loaders that
 * start a kernel through its 16-bit entry as QEMU's -kernel does, the way from there to the
 * 64-bit entry. A loader that uses the 64-bit entry itself never runs any of this code.
 *
 * Linked at 0; it runs wherever the loader put it, DS:0 being the first byte.
 */
#include "layout.h"

	.code16
	.section .setup, "ax"
	.globl	setup_begin
setup_begin:
	.org	0x1f1
	.byte	SETUP_SECTORS		/* setup_sects */
	.word	1			/* root_flags */
	.long	0			/* syssize: the image builder fills it in */
	.word	0			/* ram_size */
	.word	0xffff			/* vid_mode: normal */
	.word	0			/* root_dev */
	.word	0xaa55			/* boot_flag */
	.byte	0xeb, start16 - 0x202	/* 0x200: jump */
	.ascii	"HdrS"
	.word	0x020f			/* protocol 2.15 */
	.long	0			/* realmode_swtch */
	.word	0			/* start_sys_seg */
	.word	name - setup_begin - 0x200 /* kernel_version */
	.byte	0			/* type_of_loader */
	.byte	1			/* loadflags: LOADED_HIGH */
	.word	0			/* setup_move_size */
	.long	GUEST_LOAD		/* code32_start */
	.long	0, 0			/* ramdisk_image, ramdisk_size */
	.long	0			/* bootsect_kludge */
	.word	0			/* heap_end_ptr */
	.byte	0, 0			/* ext_loader_ver, ext_loader_type */
	.long	0			/* cmd_line_ptr */
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x200000		/* kernel_alignment */
	.byte	1			/* relocatable_kernel */
	.byte	21			/* min_alignment */
	.word	1			/* xloadflags: XLF_KERNEL_64 */
	.long	0x7ff			/* cmdline_size */
	.long	0			/* hardware_subarch */
	.quad	0			/* hardware_subarch_data */
	.long	0, 0			/* payload_offset, payload_length */
	.quad	0			/* setup_data */
	.quad	GUEST_LOAD		/* pref_address */
	.long	GUEST_INIT_SIZE		/* init_size */
	.long	0			/* handover_offset */
	.long	0			/* kernel_info_offset */

start16:
	cli
	cld
	xorl	%ebx, %ebx
	movw	%ds, %bx
	shll	$4, %ebx		/* where we are, linear */
	addl	%ebx, gdtr + 2
	addl	%ebx, to32
	lgdtl	gdtr
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	.byte	0x66, 0xea		/* ljmpl $0x08, $start32 */
to32:	.long	start32
	.word	0x08

	.code32
start32:
	movw	$0x18, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss

	/* 4 GiB mapped one to one with pages of 2 MiB, as the 64-bit boot protocol asks. */
	movl	$SETUP_TABLES, %edi
	xorl	%eax, %eax
	movl	$(2 * 4096 / 4), %ecx
	rep stosl
	movl	$(SETUP_TABLES + 0x1003), SETUP_TABLES
	movl	$(SETUP_TABLES + 0x1000), %edi
	movl	$(SETUP_TABLES + 0x2003), %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	1b
	movl	$(SETUP_TABLES + 0x2000), %edi
	movl	$0x83, %eax
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	movl	$0, 4(%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	2b

	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$SETUP_TABLES, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER */
	rdmsr
	orl	$0x100, %eax		/* LME */
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax	/* PG */
	movl	%eax, %cr0
	addl	%ebx, to64(%ebx)
	ljmpl	*to64(%ebx)

	.code64
start64:
	movl	%ebx, %esi		/* boot_params begin where the header's sector does */
	movl	0x214(%rsi), %eax	/* code32_start: where the loader put the rest */
	addq	$0x200, %rax
	jmp	*%rax

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x08: 32-bit code */
	.quad	0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x18: data */
gdtr:	.word	gdtr - gdt - 1
	.long	gdt
to64:	.long	start64
	.word	0x10
name:	.asciz	"Segue test guest"

	.org	(SETUP_SECTORS + 1) * 512
