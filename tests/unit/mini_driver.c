/* SPDX-License-Identifier: Apache-2.0 */
#include "mini_driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "proto/le.h"

static const struct mini_layout pci_layout = {
    .device_select = VIRTIO_PCI_COMMON_DFSELECT,
    .device_features = VIRTIO_PCI_COMMON_DF,
    .driver_select = VIRTIO_PCI_COMMON_GFSELECT,
    .driver_features = VIRTIO_PCI_COMMON_GF,
    .status = VIRTIO_PCI_COMMON_STATUS,
    .queue_select = VIRTIO_PCI_COMMON_Q_SELECT,
    .queue_size = VIRTIO_PCI_COMMON_Q_SIZE,
    .queue_enable = VIRTIO_PCI_COMMON_Q_ENABLE,
    .desc = VIRTIO_PCI_COMMON_Q_DESCLO,
    .avail = VIRTIO_PCI_COMMON_Q_AVAILLO,
    .used = VIRTIO_PCI_COMMON_Q_USEDLO,
    .status_len = 1,
    .queue_len = 2,
};

static const struct mini_layout mmio_layout = {
    .device_select = VIRTIO_MMIO_DEVICE_FEATURES_SEL,
    .device_features = VIRTIO_MMIO_DEVICE_FEATURES,
    .driver_select = VIRTIO_MMIO_DRIVER_FEATURES_SEL,
    .driver_features = VIRTIO_MMIO_DRIVER_FEATURES,
    .status = VIRTIO_MMIO_STATUS,
    .queue_select = VIRTIO_MMIO_QUEUE_SEL,
    .queue_size = VIRTIO_MMIO_QUEUE_NUM,
    .queue_enable = VIRTIO_MMIO_QUEUE_READY,
    .desc = VIRTIO_MMIO_QUEUE_DESC_LOW,
    .avail = VIRTIO_MMIO_QUEUE_AVAIL_LOW,
    .used = VIRTIO_MMIO_QUEUE_USED_LOW,
    .status_len = 4,
    .queue_len = 4,
};

/* Vector I of slot S sends this data. */
static uint32_t msi_data(const struct mini *mini, unsigned vector)
{
	return mini->slot << 8 | vector;
}

static uint64_t reg(const struct mini *mini, unsigned offset)
{
	return LAYOUT_ECAM + (mini->slot << 15) + offset;
}

static uint64_t bar(const struct mini *mini, uint64_t index)
{
	return fake_read(mini->m, reg(mini, PCI_BASE_ADDRESS_0 + 4 * (unsigned)index), 4) &
	       ~0xfull;
}

static void take_cap(struct mini *mini, unsigned at)
{
	uint64_t where = bar(mini, fake_read(mini->m, reg(mini, at + VIRTIO_PCI_CAP_BAR), 1)) +
			 fake_read(mini->m, reg(mini, at + VIRTIO_PCI_CAP_OFFSET), 4);

	switch (fake_read(mini->m, reg(mini, at + VIRTIO_PCI_CAP_CFG_TYPE), 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		mini->common = where;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		mini->notify = where;
		mini->notify_step = (uint32_t)fake_read(mini->m, reg(mini, at + 16), 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		mini->isr = where;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		mini->config = where;
		break;
	}
}

static void enable_msix(struct mini *mini, unsigned at)
{
	unsigned n = ((unsigned)fake_read(mini->m, reg(mini, at + 2), 2) & 0x7ff) + 1;

	mini->msix = bar(mini, fake_read(mini->m, reg(mini, at + 4), 4) & 7);
	for (unsigned i = 0; i < n; i++) {
		fake_write(mini->m, mini->msix + 16 * i, 0xfee00000, 4);
		fake_write(mini->m, mini->msix + 16 * i + 8, msi_data(mini, i), 4);
		fake_write(mini->m, mini->msix + 16 * i + 12, 0, 4);
	}
	fake_write(mini->m, reg(mini, at + 2), PCI_MSIX_FLAGS_ENABLE, 2);
}

static void probe(struct mini *mini)
{
	unsigned at = (unsigned)fake_read(mini->m, reg(mini, PCI_CAPABILITY_LIST), 1);

	fake_write(mini->m, reg(mini, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	for (; at; at = (unsigned)fake_read(mini->m, reg(mini, at + 1), 1)) {
		uint64_t id = fake_read(mini->m, reg(mini, at), 1);

		if (id == PCI_CAP_ID_VNDR)
			take_cap(mini, at);
		else if (id == PCI_CAP_ID_MSIX)
			enable_msix(mini, at);
	}
}

static bool find_mmio(struct mini *mini, uint16_t id, unsigned n)
{
	for (unsigned i = 0; i < mini->m->n_places; i++) {
		uint64_t at = LAYOUT_PV_DEVICES + i * LAYOUT_PV_DEVICE_SIZE;

		if (fake_read(mini->m, at + VIRTIO_MMIO_MAGIC_VALUE, 4) != 0x74726976 ||
		    fake_read(mini->m, at + VIRTIO_MMIO_VERSION, 4) != 2 ||
		    fake_read(mini->m, at + VIRTIO_MMIO_DEVICE_ID, 4) != id || n--)
			continue;
		mini->layout = &mmio_layout;
		mini->common = at;
		mini->config = at + VIRTIO_MMIO_CONFIG;
		mini->line = LAYOUT_PV_FIRST_LINE + i;
		return true;
	}
	return false;
}

bool mini_find(struct mini *mini, struct machine *m, uint16_t id, unsigned n, uint64_t heap)
{
	*mini = (struct mini){.m = m, .heap = heap, .layout = &pci_layout};
	if (m->engine.ops->platform == ENGINE_PV)
		return find_mmio(mini, id, n);
	for (; mini->slot < 32; mini->slot++) {
		if (fake_read(m, reg(mini, 0), 4) != (0x1af4u | (0x1040u + id) << 16) || n--)
			continue;
		probe(mini);
		return mini->common && mini->notify && mini->isr;
	}
	return false;
}

uint8_t mini_status(struct mini *mini)
{
	return (uint8_t)fake_read(mini->m, mini->common + mini->layout->status,
				  mini->layout->status_len);
}

void mini_set_status(struct mini *mini, uint8_t status)
{
	fake_write(mini->m, mini->common + mini->layout->status, status,
		   mini->layout->status_len);
}

uint64_t mini_offered(struct mini *mini)
{
	const struct mini_layout *l = mini->layout;
	uint64_t low;

	fake_write(mini->m, mini->common + l->device_select, 0, 4);
	low = fake_read(mini->m, mini->common + l->device_features, 4);
	fake_write(mini->m, mini->common + l->device_select, 1, 4);
	return low | fake_read(mini->m, mini->common + l->device_features, 4) << 32;
}

static bool is_reset(void *context)
{
	return mini_status(context) == 0;
}

bool mini_negotiate(struct mini *mini, uint64_t wanted)
{
	const uint8_t before = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	mini_set_status(mini, 0);
	if (!fake_until(mini->m, is_reset, mini))
		return false;
	mini_set_status(mini, before);
	for (unsigned i = 0; i < 2; i++) {
		fake_write(mini->m, mini->common + mini->layout->driver_select, i, 4);
		fake_write(mini->m, mini->common + mini->layout->driver_features,
			   wanted >> 32 * i, 4);
	}
	mini_set_status(mini, before | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!mini->line)
		fake_write(mini->m, mini->common + VIRTIO_PCI_COMMON_MSIX, 0, 2);
	mini->indirect = wanted >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	return mini_status(mini) & VIRTIO_CONFIG_S_FEATURES_OK;
}

uint64_t mini_alloc(struct mini *mini, uint64_t len)
{
	uint64_t at = mini->heap;

	mini->heap += (len + 15) & ~15ull;
	memset(mini_at(mini, at), 0, len);
	return at;
}

void *mini_at(struct mini *mini, uint64_t gpa)
{
	return ram_at(mini->m->ram, gpa, 1);
}

static void put64(struct mini *mini, unsigned field, uint64_t value)
{
	fake_write(mini->m, mini->common + field, value & 0xffffffff, 4);
	fake_write(mini->m, mini->common + field + 4, value >> 32, 4);
}

void mini_queue(struct mini *mini, unsigned index)
{
	struct mini_queue *q = &mini->queues[index];
	const struct mini_layout *l = mini->layout;

	*q = (struct mini_queue){.size = MINI_SIZE};
	q->desc = mini_alloc(mini, 16 * q->size);
	q->avail = mini_alloc(mini, 6 + 2 * q->size);
	q->used = mini_alloc(mini, 6 + 8 * q->size);
	fake_write(mini->m, mini->common + l->queue_select, index, l->queue_len);
	fake_write(mini->m, mini->common + l->queue_size, q->size, l->queue_len);
	put64(mini, l->desc, q->desc);
	put64(mini, l->avail, q->avail);
	put64(mini, l->used, q->used);
	if (!mini->line)
		fake_write(mini->m, mini->common + VIRTIO_PCI_COMMON_Q_MSIX, index + 1, 2);
	fake_write(mini->m, mini->common + l->queue_enable, 1, l->queue_len);
}

void mini_ready(struct mini *mini)
{
	mini_set_status(mini, (uint8_t)(mini_status(mini) | VIRTIO_CONFIG_S_DRIVER_OK));
}

bool mini_start(struct mini *mini, uint64_t wanted, unsigned n)
{
	if (!mini_negotiate(mini, wanted | 1ull << VIRTIO_F_VERSION_1))
		return false;
	for (unsigned i = 0; i < n; i++)
		mini_queue(mini, i);
	mini_ready(mini);
	return mini_status(mini) == 0x0f;
}

static void put_desc(struct mini *mini, uint64_t at, const struct mini_seg *seg, uint16_t flags,
		     uint16_t next)
{
	uint8_t *desc = mini_at(mini, at);

	le64_put(desc, seg->gpa);
	le32_put(desc + 8, seg->len);
	le16_put(desc + 12, flags);
	le16_put(desc + 14, next);
}

static uint16_t flags_of(unsigned i, unsigned n_out, unsigned n_in)
{
	return (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
			  (i + 1 < n_out + n_in ? VRING_DESC_F_NEXT : 0));
}

static void add_indirect(struct mini *mini, struct mini_queue *q, const struct mini_seg *segs,
			 unsigned n_out, unsigned n_in)
{
	unsigned n = n_out + n_in;
	struct mini_seg table = {mini_alloc(mini, 16 * n), 16 * n};

	for (unsigned i = 0; i < n; i++)
		put_desc(mini, table.gpa + 16 * i, &segs[i], flags_of(i, n_out, n_in),
			 (uint16_t)(i + 1));
	put_desc(mini, q->desc + 16 * q->next_desc, &table, VRING_DESC_F_INDIRECT, 0);
	q->next_desc = (uint16_t)((q->next_desc + 1) % q->size);
}

uint16_t mini_add(struct mini *mini, unsigned index, const struct mini_seg *segs,
		  unsigned n_out, unsigned n_in)
{
	struct mini_queue *q = &mini->queues[index];
	uint16_t head = q->next_desc;

	if (mini->indirect) {
		add_indirect(mini, q, segs, n_out, n_in);
	} else {
		for (unsigned i = 0; i < n_out + n_in; i++) {
			uint16_t next = (uint16_t)((q->next_desc + 1) % q->size);

			put_desc(mini, q->desc + 16 * q->next_desc, &segs[i],
				 flags_of(i, n_out, n_in), next);
			q->next_desc = next;
		}
	}
	le16_put(mini_at(mini, q->avail + 4 + 2 * (q->next_avail % q->size)), head);
	q->next_avail++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	le16_put(mini_at(mini, q->avail + 2), q->next_avail);
	return head;
}

void mini_kick(struct mini *mini, unsigned index)
{
	uint64_t off;

	if (mini->line) {
		fake_write(mini->m, mini->common + VIRTIO_MMIO_QUEUE_NOTIFY, index, 4);
		return;
	}
	fake_write(mini->m, mini->common + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	off = fake_read(mini->m, mini->common + VIRTIO_PCI_COMMON_Q_NOFF, 2);
	fake_write(mini->m, mini->notify + off * mini->notify_step, index, 2);
}

/* What an interrupt handler does: note what for, and acknowledge. */
static void take_interrupts(struct mini *mini)
{
	while (mini->line && (mini->m->lines >> mini->line & 1)) {
		uint64_t at = mini->common + VIRTIO_MMIO_INTERRUPT_STATUS;
		uint64_t status = fake_read(mini->m, at, 4);

		mini->queue_interrupts += status & VIRTIO_MMIO_INT_VRING;
		mini->config_interrupts += (status & VIRTIO_MMIO_INT_CONFIG) != 0;
		fake_write(mini->m, mini->common + VIRTIO_MMIO_INTERRUPT_ACK, status, 4);
	}
}

struct waiting {
	struct mini *mini;
	unsigned index;
};

static bool used_moved(void *context)
{
	struct waiting *w = context;
	struct mini_queue *q = &w->mini->queues[w->index];

	return le16_get(mini_at(w->mini, q->used + 2)) != q->seen;
}

bool mini_used(struct mini *mini, unsigned index)
{
	struct waiting w = {mini, index};

	return used_moved(&w);
}

uint32_t mini_wait(struct mini *mini, unsigned index)
{
	struct waiting w = {mini, index};
	struct mini_queue *q = &mini->queues[index];
	uint64_t at;

	if (!fake_until(mini->m, used_moved, &w))
		return UINT32_MAX;
	take_interrupts(mini);
	at = q->used + 4 + 8 * (q->seen++ % q->size);
	/* Of what comes next we want to hear again. */
	le16_put(mini_at(mini, q->avail + 4 + 2 * q->size), q->seen);
	return le32_get(mini_at(mini, at + 4));
}

uint32_t mini_do(struct mini *mini, unsigned index, const struct mini_seg *segs, unsigned n_out,
		 unsigned n_in)
{
	mini_add(mini, index, segs, n_out, n_in);
	mini_kick(mini, index);
	return mini_wait(mini, index);
}

unsigned mini_interrupts(struct mini *mini, unsigned vector)
{
	unsigned n = 0;

	take_interrupts(mini);
	if (mini->line)
		return vector ? mini->queue_interrupts : mini->config_interrupts;
	for (unsigned i = 0; i < mini->m->n_msis && i < FAKE_MSIS; i++)
		n += mini->m->msis[i].data == msi_data(mini, vector);
	return n;
}
