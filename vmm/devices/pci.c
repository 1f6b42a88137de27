/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "proto/le.h"
#include "vmm/layout.h"

#define FIRST_CAPABILITY 0x40u

static void put_writable(struct pci_function *function, unsigned offset, unsigned len,
			 uint8_t mask)
{
	memset(&function->writable[offset], mask, len);
}

void pci_init(struct pci_function *function, struct machine *machine,
	      const struct pci_identity *identity, const struct pci_ops *ops)
{
	uint8_t *config = function->config;

	function->machine = machine;
	function->ops = ops;
	function->free = FIRST_CAPABILITY;
	function->last_cap = PCI_CAPABILITY_LIST;
	le16_put(config + PCI_VENDOR_ID, identity->vendor);
	le16_put(config + PCI_DEVICE_ID, identity->device);
	le32_put(config + PCI_CLASS_REVISION, identity->class_code << 8 | identity->revision);
	le16_put(config + PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
	le16_put(config + PCI_SUBSYSTEM_ID, identity->subsystem);
	config[PCI_INTERRUPT_LINE] = 0xff;
	le16_put(&function->writable[PCI_COMMAND],
		 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	put_writable(function, PCI_CACHE_LINE_SIZE, 1, 0xff);
	put_writable(function, PCI_LATENCY_TIMER, 1, 0xff);
	put_writable(function, PCI_INTERRUPT_LINE, 1, 0xff);
}

int pci_add_capability(struct pci_function *function, uint8_t id, const void *body,
		       unsigned len)
{
	unsigned offset = function->free;
	uint8_t *config = function->config;

	if (len < 2 || len > PCI_CONFIG_SIZE - offset)
		return -ENOSPC;
	config[function->last_cap] = (uint8_t)offset;
	config[offset + PCI_CAP_LIST_ID] = id;
	memcpy(config + offset + 2, body, len - 2);
	function->last_cap = (uint8_t)(offset + PCI_CAP_LIST_NEXT);
	/* The next is aligned to four bytes (PCI 3.0, 6.7); past the end there is none. */
	function->free = (uint8_t)((offset + len + 3) & ~3u);
	if (function->free == 0)
		function->free = PCI_CONFIG_SIZE - 1;
	config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	return (int)offset;
}

int pci_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
		const struct bus_ops *ops, void *device)
{
	if (bar >= PCI_BARS || size < RAM_PAGE || (size & (size - 1)) ||
	    function->bars[bar].size)
		return -EINVAL;
	function->bars[bar] = (struct pci_bar){.size = size, .ops = ops, .device = device};
	/* What a guest finds when it has written all ones tells it the size (PCI 3.0, 6.2.5.1).
	 */
	le32_put(&function->writable[PCI_BASE_ADDRESS_0 + 4 * bar], ~(size - 1));
	return 0;
}

int pci_plug(struct pci_function *function)
{
	int r = pci_host_attach(function);

	if (r < 0)
		return r;
	memcpy(function->initial, function->config, sizeof(function->initial));
	return 0;
}

/* Where BAR should answer now; 0 when it should not. */
static uint32_t bar_wanted(const struct pci_function *function, unsigned bar)
{
	uint32_t size = function->bars[bar].size;
	uint32_t at = le32_get(&function->config[PCI_BASE_ADDRESS_0 + 4 * bar]) &
		      (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;

	if (!size || !(le16_get(&function->config[PCI_COMMAND]) & PCI_COMMAND_MEMORY))
		return 0;
	/* Elsewhere there are RAM and fixed devices, which a BAR must not shadow. */
	if (at < LAYOUT_PCI_WINDOW || at - LAYOUT_PCI_WINDOW > LAYOUT_PCI_WINDOW_SIZE - size)
		return 0;
	return at;
}

static void tell_moved(struct pci_function *function, unsigned bar)
{
	if (function->ops && function->ops->bar_moved)
		function->ops->bar_moved(function, bar, function->bars[bar].mapped);
}

static void bar_unmap(struct pci_function *function, unsigned bar)
{
	struct pci_bar *b = &function->bars[bar];

	if (!b->mapped)
		return;
	bus_remove(machine_memory(function->machine), b->mapped);
	b->mapped = 0;
	tell_moved(function, bar);
}

static void bar_map(struct pci_function *function, unsigned bar, uint32_t at)
{
	struct pci_bar *b = &function->bars[bar];

	/* Two BARs a guest put on top of one another: the first keeps the place. */
	if (bus_add(machine_memory(function->machine), at, b->size, b->ops, b->device) < 0)
		return;
	b->mapped = at;
	tell_moved(function, bar);
}

static void bars_update(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (function->bars[i].mapped != bar_wanted(function, i))
			bar_unmap(function, i);
	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint32_t at = bar_wanted(function, i);

		if (at && !function->bars[i].mapped)
			bar_map(function, i, at);
	}
}

void pci_unplug(struct pci_function *function)
{
	if (!function->machine)
		return;
	for (unsigned i = 0; i < PCI_BARS; i++)
		bar_unmap(function, i);
	pci_host_detach(function);
}

void pci_reset(struct pci_function *function)
{
	memcpy(function->config, function->initial, sizeof(function->config));
	bars_update(function);
}

static bool overlaps(unsigned offset, unsigned len, unsigned at, unsigned size)
{
	return offset < at + size && at < offset + len;
}

void pci_config_read(struct pci_function *function, unsigned offset, uint8_t *data,
		     unsigned len)
{
	memset(data, 0xff, len);
	if (offset >= PCI_CONFIG_SIZE)
		return;
	if (len > PCI_CONFIG_SIZE - offset)
		len = PCI_CONFIG_SIZE - offset;
	if (function->ops && function->ops->config_read)
		function->ops->config_read(function, offset, len);
	memcpy(data, function->config + offset, len);
}

void pci_config_write(struct pci_function *function, unsigned offset, const uint8_t *data,
		      unsigned len)
{
	if (offset >= PCI_CONFIG_SIZE)
		return;
	if (len > PCI_CONFIG_SIZE - offset)
		len = PCI_CONFIG_SIZE - offset;
	for (unsigned i = 0; i < len; i++) {
		uint8_t mask = function->writable[offset + i];
		uint8_t *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (data[i] & mask));
	}
	if (overlaps(offset, len, PCI_COMMAND, 2) ||
	    overlaps(offset, len, PCI_BASE_ADDRESS_0, 4 * PCI_BARS))
		bars_update(function);
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function, offset, len);
}

void pci_save(struct pci_function *function, Segue__PciFunction *state)
{
	state->config.data = function->config;
	state->config.len = sizeof(function->config);
}

int pci_load(struct pci_function *function, const Segue__PciFunction *state, struct error *err)
{
	if (!state || state->config.len != PCI_CONFIG_SIZE)
		return error_set(err, -EINVAL, "PCI configuration space is not %u bytes long",
				 PCI_CONFIG_SIZE);
	if (memcmp(state->config.data, function->config, 4) != 0)
		return error_set(err, -EINVAL,
				 "PCI function %u is another device at the source",
				 function->slot);
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t mask = function->writable[i];

		function->config[i] =
		    (uint8_t)((function->initial[i] & ~mask) | (state->config.data[i] & mask));
	}
	bars_update(function);
	return 0;
}
