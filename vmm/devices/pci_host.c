/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/le.h"
#include "vmm/devices/pci.h"
#include "vmm/layout.h"

/*
 * The host bridge: two ways to the configuration space of bus 0. Ports 0xcf8 and 0xcfc are
 * configuration mechanism #1 (PCI 3.0, 3.2.2.3.2), ECAM is as in PCI Express 7.2.2.
 */
#define PORT_ADDRESS  0xcf8u
#define PORT_DATA     0xcfcu
#define ADDRESS_VALID 0x80fffffcu /* the bits of the address register that exist */
#define ADDRESS_ON    0x80000000u

struct pci_host {
	struct device device;
	struct machine *machine;
	struct pci_function bridge;
	struct pci_function *slots[PCI_SLOTS];
	uint64_t next_bar; /* gpa */
	uint32_t address;
	struct pci_host *next;
};

/* A machine's host, for functions added after it. Loop thread, while a machine is built. */
static struct pci_host *hosts;

static struct pci_host *host_of(const struct machine *machine)
{
	struct pci_host *host = hosts;

	while (host && host->machine != machine)
		host = host->next;
	return host;
}

static uint64_t assign(struct pci_host *host, uint32_t size)
{
	uint64_t at = (host->next_bar + size - 1) & ~(uint64_t)(size - 1);

	if (at + size > LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE)
		return 0;
	host->next_bar = at + size;
	return at;
}

int pci_host_attach(struct pci_function *function)
{
	struct pci_host *host = host_of(function->machine);
	unsigned slot = 0;

	if (!host)
		return -ENODEV;
	while (slot < PCI_SLOTS && host->slots[slot])
		slot++;
	if (slot == PCI_SLOTS)
		return -ENOSPC;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint64_t at;

		if (!function->bars[i].size)
			continue;
		at = assign(host, function->bars[i].size);
		if (!at)
			return -ENOSPC;
		le32_put(&function->config[PCI_BASE_ADDRESS_0 + 4 * i], (uint32_t)at);
	}
	host->slots[slot] = function;
	function->slot = (uint8_t)slot;
	return 0;
}

void pci_host_detach(struct pci_function *function)
{
	struct pci_host *host = host_of(function->machine);

	if (host && host->slots[function->slot] == function)
		host->slots[function->slot] = NULL;
}

/* SELECT is bus, device and function as in the address register's bits 8 to 23. */
static struct pci_function *select_function(struct pci_host *host, uint32_t select)
{
	return select & 0xff07 ? NULL : host->slots[select >> 3 & 0x1f];
}

static void address_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct pci_host *host = device;

	for (unsigned i = 0; i < len; i++)
		data[i] = (uint8_t)(offset + i < 4 ? host->address >> 8 * (offset + i) : 0xff);
}

static void address_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct pci_host *host = device;

	/* Only a whole double word is for the bridge. */
	if (offset == 0 && len == 4)
		host->address = le32_get(data) & ADDRESS_VALID;
}

static void data_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct pci_host *host = device;
	struct pci_function *function = select_function(host, host->address >> 8 & 0xffff);

	if (function && (host->address & ADDRESS_ON))
		pci_config_read(function, (host->address & 0xfc) + (unsigned)offset, data, len);
	else
		memset(data, 0xff, len);
}

static void data_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct pci_host *host = device;
	struct pci_function *function = select_function(host, host->address >> 8 & 0xffff);

	if (function && (host->address & ADDRESS_ON))
		pci_config_write(function, (host->address & 0xfc) + (unsigned)offset, data,
				 len);
}

static void ecam_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct pci_function *function = select_function(device, (uint32_t)(offset >> 12));

	if (function)
		pci_config_read(function, offset & 0xfff, data, len);
	else
		memset(data, 0xff, len);
}

static void ecam_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct pci_function *function = select_function(device, (uint32_t)(offset >> 12));

	if (function)
		pci_config_write(function, offset & 0xfff, data, len);
}

static const struct bus_ops address_ops = {.read = address_read, .write = address_write};
static const struct bus_ops data_ops = {.read = data_read, .write = data_write};
static const struct bus_ops ecam_ops = {.read = ecam_read, .write = ecam_write};

static struct pci_host *host_from(struct device *device)
{
	return (struct pci_host *)device; /* its first member */
}

static void host_reset(struct device *device)
{
	host_from(device)->address = 0;
	pci_reset(&host_from(device)->bridge);
}

static int host_save(struct device *device, struct buffer *state)
{
	struct pci_host *host = host_from(device);
	Segue__PciFunction bridge = SEGUE__PCI_FUNCTION__INIT;
	Segue__PciHost message = SEGUE__PCI_HOST__INIT;

	pci_save(&host->bridge, &bridge);
	message.address = host->address;
	message.bridge = &bridge;
	return buffer_pack(state, &message.base);
}

static int host_load(struct device *device, const uint8_t *state, size_t len, struct error *err)
{
	struct pci_host *host = host_from(device);
	Segue__PciHost *message = segue__pci_host__unpack(NULL, len, state);
	int r;

	if (!message)
		return error_set(err, -EINVAL, "state of the PCI host bridge does not parse");
	r = pci_load(&host->bridge, message->bridge, err);
	if (r == 0)
		host->address = message->address & ADDRESS_VALID;
	segue__pci_host__free_unpacked(message, NULL);
	return r;
}

static void host_destroy(struct device *device)
{
	struct pci_host *host = host_from(device), **link = &hosts;

	bus_remove(machine_ports(host->machine), PORT_ADDRESS);
	bus_remove(machine_ports(host->machine), PORT_DATA);
	bus_remove(machine_memory(host->machine), LAYOUT_ECAM);
	while (*link && *link != host)
		link = &(*link)->next;
	if (*link)
		*link = host->next;
	free(host);
}

static const struct device_ops host_ops = {
    .reset = host_reset,
    .save = host_save,
    .load = host_load,
    .destroy = host_destroy,
};

static int claim(struct pci_host *host)
{
	int r = bus_add(machine_ports(host->machine), PORT_ADDRESS, 4, &address_ops, host);

	if (r == 0)
		r = bus_add(machine_ports(host->machine), PORT_DATA, 4, &data_ops, host);
	if (r == 0)
		r = bus_add(machine_memory(host->machine), LAYOUT_ECAM, LAYOUT_ECAM_SIZE,
			    &ecam_ops, host);
	return r;
}

int pci_host_add(struct machine *machine)
{
	/* Known to every driver as a bridge that needs none: QEMU's generic PCIe host. */
	static const struct pci_identity identity = {
	    .vendor = 0x1b36,
	    .device = 0x0008,
	    .class_code = 0x060000,
	    .subsystem_vendor = 0x1af4,
	    .subsystem = 0x1100,
	};
	struct pci_host *host = calloc(1, sizeof(*host));
	int r;

	if (!host)
		return -ENOMEM;
	host->device.ops = &host_ops;
	snprintf(host->device.name, sizeof(host->device.name), "pci");
	snprintf(host->device.contract, sizeof(host->device.contract), "pci host 1");
	host->machine = machine;
	host->next_bar = LAYOUT_PCI_WINDOW;
	host->next = hosts;
	hosts = host;
	pci_init(&host->bridge, machine, &identity, NULL);
	r = claim(host);
	if (r == 0)
		r = pci_plug(&host->bridge);
	if (r < 0) {
		host_destroy(&host->device);
		return r;
	}
	machine_add(machine, &host->device);
	return 0;
}
