/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_PCI_H
#define VMM_VIRTIO_PCI_H

#include "vmm/devices/msix.h"
#include "vmm/devices/pci.h"
#include "vmm/virtio/registers.h"

/* What the two files of the PCI transport share: pci.c, and pci_bar.c with the registers. */
#define VIRTIO_PCI_BAR      0u
#define VIRTIO_PCI_BAR_SIZE 0x4000u
#define VIRTIO_PCI_MSIX_BAR 1u

/* In the BAR, a page each. */
#define BAR_COMMON      0x0000u
#define BAR_ISR         0x1000u
#define BAR_DEVICE      0x2000u
#define BAR_NOTIFY      0x3000u
#define BAR_NOTIFY_STEP 4u /* from one queue's to the next */

struct virtio_pci {
	struct pci_function function;
	struct msix msix;
	struct virtio *v;
	unsigned window; /* offset of the PCI configuration access capability */
	struct virtio_registers registers;
	uint16_t config_vector;
	uint16_t queue_vectors[VIRTIO_QUEUES];
	uint64_t notify_at[VIRTIO_QUEUES]; /* gpa the engine listens at; 0: it does not */
	/* What a message under construction points to. */
	Segue__VirtioPci saved;
	Segue__PciFunction saved_function;
	uint32_t saved_vectors[VIRTIO_QUEUES];
};

/* The BAR's registers; DEVICE is a struct virtio_pci. */
extern const struct bus_ops virtio_pci_bar_ops;

/* VECTOR if there is such a one, else "no vector" (4.1.5.1.2). */
uint16_t virtio_pci_vector(const struct virtio_pci *pci, uint32_t vector);

#endif
