// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floating-point state of programs, in the format of XSAVE (Intel SDM 1, 13.4): the
 * legacy area of 512 bytes, a header of 64, the rest.
 */
#include <linux/minmax.h>
#include <linux/string.h>
#include <uapi/asm/sigcontext.h>
#include "../../../um/os-segue/segue.h"

#define FX_BYTES       512u
#define HEADER_BYTES   64u
#define FCW_INITIAL    0x37f
#define MXCSR_INITIAL  0x1f80
#define MXCSR_ALL      0xffbf /* of a processor that does not tell its mask */
#define OFFSET_MXCSR   24
#define OFFSET_MASK    28
#define XSTATE_FP_SSE  3u
#define CPUID_OSXSAVE  (1u << 27)

unsigned int segue_xstate_size(void)
{
	return clamp_t(unsigned int, segue_boot->xsave_size, FX_BYTES + HEADER_BYTES,
		       SEGUE_PV_XSAVE_MAX);
}

static u64 read_features(void)
{
	u32 a = 1, b, c = 0, d;

	asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (!(c & CPUID_OSXSAVE))
		return XSTATE_FP_SSE;
	asm("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (u64)d << 32 | a;
}

/* What of the processor's state is in use, XCR0: the same wherever this guest may move. */
u64 segue_xstate_features(void)
{
	static u64 features;

	if (!features)
		features = read_features();
	return features;
}

void segue_xstate_reset(void *xstate)
{
	memset(xstate, 0, SEGUE_PV_XSAVE_MAX);
	*(u16 *)xstate = FCW_INITIAL;
	*(u32 *)(xstate + OFFSET_MXCSR) = MXCSR_INITIAL;
}

void segue_xstate_clean(void *xstate)
{
	u32 mask = *(u32 *)(xstate + OFFSET_MASK);
	u64 *header = xstate + FX_BYTES;

	*(u32 *)(xstate + OFFSET_MXCSR) &= mask ? mask & MXCSR_ALL : MXCSR_ALL;
	*header &= segue_xstate_features();
	memset(header + 1, 0, HEADER_BYTES - sizeof(*header));
}
