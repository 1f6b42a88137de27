/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_XSAVE_H
#define VMM_ENGINE_PV_XSAVE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Floating-point state as the guest and a move see it: the standard format of XSAVE (SDM
 * volume 1, 13.4) with the components that programs have without asking an operating
 * system: x87, SSE, AVX and AVX-512. Pure, but for what CPUID and XGETBV say.
 */
#define PV_XSAVE_LEGACY 576u /* x87 and SSE, and the header */

/* The components this host has, as bits of XCR0. */
uint64_t pv_xsave_components(void);
/* The bytes that COMPONENTS take on this host. */
size_t pv_xsave_size(uint64_t components);

/* The state a program begins with. SIZE at least PV_XSAVE_LEGACY. */
void pv_xsave_initial(uint8_t *area, size_t size);

/*
 * Makes an area of SIZE bytes that came from elsewhere one the processor takes: nothing but
 * COMPONENTS, no reserved bits.
 */
void pv_xsave_clean(uint8_t *area, size_t size, uint64_t components);

#endif
