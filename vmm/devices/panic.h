/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_PANIC_H
#define VMM_DEVICES_PANIC_H

#include "proto/error.h"
#include "vmm/machine.h"

/*
 * pvpanic in its memory-mapped form (QEMU's docs/specs/pvpanic.rst): one byte at
 * LAYOUT_PANIC. Reading tells which events are understood; a guest's kernel writes them.
 */
int panic_add(struct machine *machine, struct error *err);

#endif
