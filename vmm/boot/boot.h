/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include "vmm/boot/files.h"
#include "vmm/engine/engine.h"

/*
 * Puts into RAM all that a guest's first instruction relies on: kernel, initrd, command
 * line, boot parameters, ACPI tables, descriptor and page tables. Everything is written
 * through ram.h, so a boot in the middle of a move is seen by it.
 */
int boot_load(struct ram *ram, const struct boot_files *files, unsigned cpus,
	      struct boot_state *ret_boot, struct error *err);

#endif
