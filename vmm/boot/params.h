/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_PARAMS_H
#define VMM_BOOT_PARAMS_H

#include "vmm/boot/bzimage.h"

/*
 * The "zero page" at LAYOUT_BOOT_PARAMS: the kernel's own header with what the loader did,
 * the map of memory, and where the ACPI tables are. INITRD_LEN 0: none.
 */
int params_write(struct ram *ram, const struct bzimage *image, uint64_t initrd,
		 uint64_t initrd_len);

#endif
