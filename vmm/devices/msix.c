/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "proto/le.h"

#define BAR_SIZE   4096u
#define PBA_OFFSET 2048u /* in the BAR; the table is at 0 */
#define ENTRY      ((size_t)PCI_MSIX_ENTRY_SIZE)
#define CAP_SIZE   12u

_Static_assert(MSIX_VECTORS *PCI_MSIX_ENTRY_SIZE <= PBA_OFFSET, "table and PBA overlap");

static uint16_t control(const struct msix *msix)
{
	return le16_get(&msix->function->config[msix->cap + PCI_MSIX_FLAGS]);
}

static bool masked(const struct msix *msix, unsigned vector)
{
	const uint8_t *entry = &msix->table[vector * ENTRY];

	return (control(msix) & PCI_MSIX_FLAGS_MASKALL) ||
	       (le32_get(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void deliver(struct msix *msix, unsigned vector)
{
	struct engine *engine = machine_engine(msix->function->machine);
	const uint8_t *entry = &msix->table[vector * ENTRY];

	msix->pending &= ~(1ull << vector);
	/* A guest may program an address nobody listens at; that is its own loss. */
	(void)engine->ops->signal_msi(engine,
				      le32_get(entry + PCI_MSIX_ENTRY_LOWER_ADDR) |
					  (uint64_t)le32_get(entry + PCI_MSIX_ENTRY_UPPER_ADDR)
					      << 32,
				      le32_get(entry + PCI_MSIX_ENTRY_DATA));
}

void msix_raise(struct msix *msix, unsigned vector)
{
	if (vector >= msix->count || !(control(msix) & PCI_MSIX_FLAGS_ENABLE))
		return;
	if (masked(msix, vector))
		msix->pending |= 1ull << vector;
	else
		deliver(msix, vector);
}

/* After a mask may have been lifted. */
static void deliver_pending(struct msix *msix)
{
	if (!(control(msix) & PCI_MSIX_FLAGS_ENABLE))
		return;
	for (unsigned i = 0; i < msix->count; i++)
		if ((msix->pending >> i & 1) && !masked(msix, i))
			deliver(msix, i);
}

void msix_config_written(struct msix *msix, unsigned offset, unsigned len)
{
	if (offset < msix->cap + CAP_SIZE && msix->cap < offset + len)
		deliver_pending(msix);
}

static void bar_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct msix *msix = device;

	for (unsigned i = 0; i < len; i++) {
		uint64_t at = offset + i;

		if (at < msix->count * ENTRY)
			data[i] = msix->table[at];
		else if (at >= PBA_OFFSET && at < PBA_OFFSET + sizeof(msix->pending))
			data[i] = (uint8_t)(msix->pending >> 8 * (at - PBA_OFFSET));
		else
			data[i] = 0;
	}
}

static void bar_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct msix *msix = device;

	for (unsigned i = 0; i < len; i++)
		if (offset + i < msix->count * ENTRY)
			msix->table[offset + i] = data[i];
	deliver_pending(msix);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

int msix_init(struct msix *msix, struct pci_function *function, unsigned bar, unsigned count)
{
	uint8_t body[CAP_SIZE - 2] = {0};
	int at;

	if (count == 0 || count > MSIX_VECTORS)
		return -EINVAL;
	msix->function = function;
	msix->count = count;
	le16_put(body + PCI_MSIX_FLAGS - 2, (uint16_t)(count - 1));
	le32_put(body + PCI_MSIX_TABLE - 2, bar);
	le32_put(body + PCI_MSIX_PBA - 2, PBA_OFFSET | bar);
	at = pci_add_capability(function, PCI_CAP_ID_MSIX, body, CAP_SIZE);
	if (at < 0)
		return at;
	msix->cap = (unsigned)at;
	le16_put(&function->writable[msix->cap + PCI_MSIX_FLAGS],
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	msix_reset(msix);
	return pci_add_bar(function, bar, BAR_SIZE, &bar_ops, msix);
}

void msix_reset(struct msix *msix)
{
	msix->pending = 0;
	memset(msix->table, 0, sizeof(msix->table));
	for (unsigned i = 0; i < msix->count; i++)
		le32_put(&msix->table[i * ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL],
			 PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

void msix_save(struct msix *msix, Segue__PciFunction *state)
{
	state->msix_table.data = msix->table;
	state->msix_table.len = msix->count * ENTRY;
	state->msix_pending = msix->pending;
}

int msix_load(struct msix *msix, const Segue__PciFunction *state, struct error *err)
{
	if (!state || state->msix_table.len != msix->count * ENTRY)
		return error_set(err, -EINVAL, "MSI-X table is not of %u vectors", msix->count);
	memcpy(msix->table, state->msix_table.data, state->msix_table.len);
	/* count is at most 64, so the shift is below the width. */
	msix->pending = state->msix_pending & (~0ull >> (64 - msix->count));
	return 0;
}
