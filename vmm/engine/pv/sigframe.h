/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_SIGFRAME_H
#define VMM_ENGINE_PV_SIGFRAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * Signal frames of x86-64, as the kernel writes and reads them: its
 * arch/x86/include/asm/sigframe.h and uapi/asm/sigcontext.h, whose names clash with libc's.
 */
struct pv_sigframe_registers {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate; /* va of floating-point state; 0: initial */
	uint64_t reserved[8];
};

struct pv_sigframe {
	uint64_t restorer;
	uint64_t flags, link;                      /* from here struct ucontext */
	uint64_t stack, stack_flags, stack_size;
	struct pv_sigframe_registers registers;
	uint64_t mask;
};
_Static_assert(sizeof(struct pv_sigframe_registers) == 256, "struct sigcontext");
_Static_assert(offsetof(struct pv_sigframe, mask) == 8 + 40 + 256, "struct ucontext");

#define PV_SIGFRAME_FLAGS   7u /* FP_XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS */
#define PV_SIGFRAME_USER_CS 0x33u
#define PV_SIGFRAME_USER_SS 0x2bu

/*
 * Floating-point state in a frame: an XSAVE image in standard form (Intel's SDM, volume 1,
 * 13.4) with these in the legacy part's last words, and MAGIC2 behind all of it.
 */
struct pv_sigframe_words {
	uint32_t magic1;
	uint32_t extended_size; /* with what follows the image */
	uint64_t features;
	uint32_t xstate_size;
	uint32_t zero[7];
};
#define PV_SIGFRAME_MAGIC1 0x46505853u
#define PV_SIGFRAME_MAGIC2 0x46505845u

#define PV_XSAVE_MXCSR      24u
#define PV_XSAVE_MXCSR_MASK 28u
#define PV_XSAVE_WORDS      464u
#define PV_XSAVE_HEADER     512u
#define PV_XSAVE_EXTENDED   576u
_Static_assert(PV_XSAVE_WORDS + sizeof(struct pv_sigframe_words) == PV_XSAVE_HEADER, "words");

#endif
