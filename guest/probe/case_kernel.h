/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PROBE_CASE_KERNEL_H
#define GUEST_PROBE_CASE_KERNEL_H

#include "probe.h"

/* What the cases on kernel mode's own mappings share. */
#define KVA   0x4000000000ull /* somewhere above the direct map */
#define TABLE SEGUE_PV_PTE_P

extern uint64_t kernel_root;
void kernel_root_new(void); /* and sets it */

/* Either may fault, and so run a hook. */
uint64_t kernel_get(uint64_t va);
void kernel_put(uint64_t va, uint64_t value);
/* Kernel mode must fault at VA, with ERROR. */
void kernel_expect_fault(int (*access)(uint64_t, struct segue_pv_frame *), uint64_t va,
			 uint32_t error);

#endif
