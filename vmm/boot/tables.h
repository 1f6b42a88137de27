/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_TABLES_H
#define VMM_BOOT_TABLES_H

#include "vmm/ram.h"

/* What a processor needs to run 64-bit code; 0, or -EFAULT when there is no RAM for it. */

/* At LAYOUT_GDT, with code 0x10 and data 0x18, as the 64-bit boot protocol asks for. */
int tables_gdt(struct ram *ram);
/* At LAYOUT_PAGE_TABLE, mapping the first 4 GiB onto themselves in pages of 2 MiB. */
int tables_pages(struct ram *ram);

#endif
