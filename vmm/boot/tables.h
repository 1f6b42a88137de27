/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_TABLES_H
#define VMM_BOOT_TABLES_H

#include "vmm/ram.h"

/* What a processor needs to run 64-bit code; 0, or -EFAULT when there is no RAM for it. */

/* At LAYOUT_GDT, with code 0x10 and data 0x18, as the 64-bit boot protocol asks for. */
int tables_gdt(struct ram *ram);
/* At LAYOUT_PAGE_TABLE, mapping the first 4 GiB onto themselves in pages of 2 MiB. */
int tables_pages(struct ram *ram);
/*
 * At LAYOUT_FIRMWARE, all the firmware there is: it resets the machine. On hardware-reduced
 * ACPI without EFI, Linux reboots by a jump to f000:fff0 in real mode and uses no reset
 * register (reboot_init() in its arch/x86/kernel/reboot.c).
 */
int tables_firmware(struct ram *ram);

#endif
