/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/xsave.h"

#include <cpuid.h>
#include <string.h>

#include "guest/abi.h"

#define CPUID_OSXSAVE   (1u << 27)
#define LEAF_XSAVE      0xdu
#define X87_SSE         0x3ull
#define OURS            0xe7ull /* also AVX, opmask, the upper halves of ZMM, ZMM 16 to 31 */
#define LAST_OF_OURS    7u
#define AT_FCW          0u
#define AT_MXCSR        24u
#define AT_MXCSR_MASK   28u
#define AT_XSTATE_BV    512u
#define AT_XCOMP_BV     520u
#define HEADER_END      576u
#define FCW_INITIAL     0x37fu
#define MXCSR_INITIAL   0x1f80u
#define MXCSR_USUAL     0xffbfu /* SDM volume 1, 11.6.6: where a processor tells no mask */

static uint64_t xcr0(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & CPUID_OSXSAVE))
		return X87_SSE;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static size_t component_end(unsigned component)
{
	uint32_t size, offset, c, d;

	if (!__get_cpuid_count(LEAF_XSAVE, component, &size, &offset, &c, &d))
		return 0;
	return (size_t)size + offset;
}

/* A processor that lays them out beyond the guest's area keeps those that fit. */
uint64_t pv_xsave_components(void)
{
	uint64_t all = xcr0() & OURS, fit = all & X87_SSE;

	for (unsigned i = 2; i <= LAST_OF_OURS; i++) {
		if (all >> i & 1 && component_end(i) <= SEGUE_PV_XSAVE_MAX)
			fit |= 1ull << i;
	}
	return fit;
}

size_t pv_xsave_size(uint64_t components)
{
	size_t size = PV_XSAVE_LEGACY;

	for (unsigned i = 2; i <= LAST_OF_OURS; i++) {
		if (components >> i & 1 && component_end(i) > size)
			size = component_end(i);
	}
	return size;
}

static void put32(uint8_t *area, unsigned at, uint32_t value)
{
	memcpy(area + at, &value, sizeof(value));
}

void pv_xsave_initial(uint8_t *area, size_t size)
{
	memset(area, 0, size);
	put32(area, AT_FCW, FCW_INITIAL);
	put32(area, AT_MXCSR, MXCSR_INITIAL);
}

static uint32_t mxcsr_mask(void)
{
	static uint8_t area[512] __attribute__((aligned(16)));
	uint32_t mask;

	__asm__ volatile("fxsave %0" : "=m"(area));
	memcpy(&mask, area + AT_MXCSR_MASK, sizeof(mask));
	return mask ? mask : MXCSR_USUAL;
}

void pv_xsave_clean(uint8_t *area, size_t size, uint64_t components)
{
	uint64_t present;
	uint32_t mxcsr;

	if (size < PV_XSAVE_LEGACY)
		return;
	memcpy(&present, area + AT_XSTATE_BV, sizeof(present));
	present &= components;
	memcpy(area + AT_XSTATE_BV, &present, sizeof(present));
	memset(area + AT_XCOMP_BV, 0, HEADER_END - AT_XCOMP_BV);
	memcpy(&mxcsr, area + AT_MXCSR, sizeof(mxcsr));
	put32(area, AT_MXCSR, mxcsr & mxcsr_mask());
}
