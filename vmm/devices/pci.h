/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_PCI_H
#define VMM_DEVICES_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"
#include "virtio.pb-c.h"
#include "vmm/bus.h"
#include "vmm/machine.h"

/*
 * Conventional PCI, one bus, one function a slot, memory BARs only, no INTx (PCI Local Bus
 * Specification 3.0). Configuration space is reached through ports 0xcf8/0xcfc and through
 * ECAM. There is no firmware: functions come up with their BARs assigned.
 *
 * Everything is called with the machine lock held or while the machine is built.
 */
#define PCI_CONFIG_SIZE 256u
#define PCI_BARS        6u
#define PCI_SLOTS       32u

struct pci_function;

struct pci_ops {
	/* BAR is now at GPA, or, with GPA 0, no longer mapped. NULL: no interest. */
	void (*bar_moved)(struct pci_function *function, unsigned bar, uint64_t gpa);
	/* Before LEN bytes at OFFSET are read, after they were written. NULL: no interest. */
	void (*config_read)(struct pci_function *function, unsigned offset, unsigned len);
	void (*config_written)(struct pci_function *function, unsigned offset, unsigned len);
};

struct pci_bar {
	uint32_t size; /* a power of two from 4096; 0: no such BAR */
	const struct bus_ops *ops;
	void *device;
	uint32_t mapped; /* where it is on the memory bus, 0: nowhere */
};

struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code; /* 24 bits: base class, sub-class, interface */
	uint8_t revision;
	uint16_t subsystem_vendor, subsystem;
};

/* Embedded in whatever the function is; zeroed before pci_init(). */
struct pci_function {
	struct machine *machine;
	const struct pci_ops *ops;
	struct pci_bar bars[PCI_BARS];
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits a guest may change */
	uint8_t initial[PCI_CONFIG_SIZE];  /* at power-on; taken by pci_plug() */
	uint8_t slot;
	uint8_t last_cap; /* where its link to the next one is */
	uint8_t free;     /* where the next capability goes */
};

/* Puts the host bridge at 00:00.0 and both ways to configuration space into the machine. */
int pci_host_add(struct machine *machine);

/* Building a function: init, then capabilities and BARs, then plug. OPS may be NULL. */
void pci_init(struct pci_function *function, struct machine *machine,
	      const struct pci_identity *identity, const struct pci_ops *ops);
/*
 * Adds a capability of LEN bytes, of which BODY gives those after the two of its header.
 * Returns its offset, or -ENOSPC.
 */
int pci_add_capability(struct pci_function *function, uint8_t id, const void *body,
		       unsigned len);
int pci_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
		const struct bus_ops *ops, void *device);
/* Takes the next free slot of MACHINE's bus and assigns the BARs; -ENODEV without a host. */
int pci_plug(struct pci_function *function);
/* Undoes pci_plug(); nothing happens to a function that is not plugged. */
void pci_unplug(struct pci_function *function);

/* As at power-on. */
void pci_reset(struct pci_function *function);

/* Config accesses at any offset and length; what lies outside reads as all ones. */
void pci_config_read(struct pci_function *function, unsigned offset, uint8_t *data,
		     unsigned len);
void pci_config_write(struct pci_function *function, unsigned offset, const uint8_t *data,
		      unsigned len);

/* STATE->config points into FUNCTION afterwards. */
void pci_save(struct pci_function *function, Segue__PciFunction *state);
int pci_load(struct pci_function *function, const Segue__PciFunction *state, struct error *err);

/* Where the host keeps FUNCTION (pci_host.c): its slot, and where its BARs go. */
int pci_host_attach(struct pci_function *function);
void pci_host_detach(struct pci_function *function);

#endif
