/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_POWER_H
#define VMM_DEVICES_POWER_H

#include "proto/error.h"
#include "vmm/machine.h"

/*
 * The ways a guest ends its own run: sleep control and status registers of hardware-reduced
 * ACPI (ACPI 6.4, 4.8.3.7) at LAYOUT_SLEEP, the reset register at LAYOUT_RESET, and the
 * keyboard controller's reset line, which kernels fall back to.
 */
#define POWER_SOFT_OFF 5u /* SLP_TYP of \_S5 */

int power_add(struct machine *machine, struct error *err);

#endif
