/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_GED_H
#define VMM_DEVICES_GED_H

#include "proto/error.h"
#include "vmm/machine.h"

/*
 * ACPI generic event device (ACPI 6.4, 5.6.9): one register of event bits at LAYOUT_GED.
 * While a bit is set its level-triggered interrupt is raised; a read gives and clears them.
 */
#define GED_POWER_BUTTON 0x1u

struct ged;

int ged_add(struct machine *machine, struct ged **ret_ged, struct error *err);
/* Tells the guest that EVENT has happened. Machine lock held. */
void ged_raise(struct ged *ged, uint32_t event);

#endif
