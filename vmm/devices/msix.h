/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_MSIX_H
#define VMM_DEVICES_MSIX_H

#include "vmm/devices/pci.h"

/*
 * MSI-X (PCI Local Bus Specification 3.0, 6.8.2): a capability, and one BAR that holds the
 * vector table and the pending bits. Machine lock held for every call.
 */
#define MSIX_VECTORS 64u /* at most */
#define MSIX_NONE    0xffffu

struct msix {
	struct pci_function *function;
	unsigned count;
	unsigned cap; /* offset of the capability */
	uint64_t pending;
	uint8_t table[MSIX_VECTORS * 16];
};

/* Adds the capability and the BAR to a function that is not yet plugged. */
int msix_init(struct msix *msix, struct pci_function *function, unsigned bar, unsigned count);
void msix_reset(struct msix *msix);

/* Interrupts the guest, now or once it unmasks VECTOR; lost when MSI-X is off. */
void msix_raise(struct msix *msix, unsigned vector);

/* To be called from the function's config_written. */
void msix_config_written(struct msix *msix, unsigned offset, unsigned len);

/* STATE points into MSIX afterwards. load comes after pci_load(). */
void msix_save(struct msix *msix, Segue__PciFunction *state);
int msix_load(struct msix *msix, const Segue__PciFunction *state, struct error *err);

#endif
