/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include "guest/abi.h"
#include "vmm/boot/files.h"
#include "vmm/engine/engine.h"

/*
 * Puts into RAM all that a guest's first instruction relies on: kernel, initrd, command
 * line, boot parameters, ACPI tables, descriptor and page tables. Everything is written
 * through ram.h, so a boot in the middle of a move is seen by it.
 */
int boot_load(struct ram *ram, const struct boot_files *files, unsigned cpus,
	      struct boot_state *ret_boot, struct error *err);

/*
 * The same for a paravirtual machine with N DEVICES: what guest/abi.h says under "start".
 * The engine has yet to fill in what the boot structure says about processors.
 */
int boot_load_pv(struct ram *ram, const struct boot_files *files,
		 const struct segue_pv_device *devices, unsigned n, struct boot_state *ret_boot,
		 struct error *err);

/* What kernel FD is, by its first bytes; its loader looks closer. */
enum boot_kind { BOOT_UNKNOWN, BOOT_BZIMAGE, BOOT_ELF };
enum boot_kind boot_kind(int fd);

#endif
