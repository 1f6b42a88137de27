/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_pci.h>

#include "proto/le.h"
#include "vmm/virtio/pci.h"

/* The registers of the PCI transport's BAR: common configuration (4.1.4.3) and the rest. */
#define COMMON_SIZE 64u

_Static_assert(VIRTIO_PCI_COMMON_Q_USEDHI + 4 <= COMMON_SIZE, "the common configuration fits");

uint16_t virtio_pci_vector(const struct virtio_pci *pci, uint32_t vector)
{
	return vector < pci->msix.count ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

static void image_queue(struct virtio_pci *pci, uint8_t *image)
{
	const struct virtq *q = registers_queue(&pci->registers, pci->v);
	unsigned select = pci->registers.queue_select;

	/* Size 0 says that there is no such queue. */
	le16_put(image + VIRTIO_PCI_COMMON_Q_MSIX, VIRTIO_MSI_NO_VECTOR);
	if (!q)
		return;
	le16_put(image + VIRTIO_PCI_COMMON_Q_SIZE, q->size);
	le16_put(image + VIRTIO_PCI_COMMON_Q_MSIX, pci->queue_vectors[select]);
	le16_put(image + VIRTIO_PCI_COMMON_Q_ENABLE, q->enabled);
	le16_put(image + VIRTIO_PCI_COMMON_Q_NOFF, (uint16_t)select);
	le64_put(image + VIRTIO_PCI_COMMON_Q_DESCLO, q->desc);
	le64_put(image + VIRTIO_PCI_COMMON_Q_AVAILLO, q->avail);
	le64_put(image + VIRTIO_PCI_COMMON_Q_USEDLO, q->used);
}

/* The whole structure as it reads now: a guest may then read any part of it. */
static void common_image(struct virtio_pci *pci, uint8_t image[COMMON_SIZE])
{
	const struct virtio_registers *registers = &pci->registers;
	const struct virtio *v = pci->v;

	memset(image, 0, COMMON_SIZE);
	le32_put(image + VIRTIO_PCI_COMMON_DFSELECT, registers->device_feature_select);
	le32_put(image + VIRTIO_PCI_COMMON_DF, registers_offered(registers, v));
	le32_put(image + VIRTIO_PCI_COMMON_GFSELECT, registers->driver_feature_select);
	le32_put(image + VIRTIO_PCI_COMMON_GF, registers_taken(registers, v));
	le16_put(image + VIRTIO_PCI_COMMON_MSIX, pci->config_vector);
	le16_put(image + VIRTIO_PCI_COMMON_NUMQ, (uint16_t)v->n_queues);
	image[VIRTIO_PCI_COMMON_STATUS] = v->status;
	image[VIRTIO_PCI_COMMON_CFGGENERATION] = v->generation;
	le16_put(image + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)registers->queue_select);
	image_queue(pci, image);
}

static void common_read(struct virtio_pci *pci, uint64_t offset, uint8_t *data, unsigned len)
{
	uint8_t image[COMMON_SIZE];

	if (offset > COMMON_SIZE || len > COMMON_SIZE - offset)
		return;
	common_image(pci, image);
	memcpy(data, image + offset, len);
}

static void queue_write(struct virtio_pci *pci, unsigned offset, uint64_t value, unsigned len)
{
	const struct virtio_registers *registers = &pci->registers;

	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		registers_queue_set(registers, pci->v, QUEUE_SIZE, false, value, len);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1 && registers_queue(registers, pci->v))
			virtio_enable_queue(pci->v, registers->queue_select);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		registers_queue_set(registers, pci->v, QUEUE_DESC,
				    offset == VIRTIO_PCI_COMMON_Q_DESCHI, value, len);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		registers_queue_set(registers, pci->v, QUEUE_AVAIL,
				    offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value, len);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		registers_queue_set(registers, pci->v, QUEUE_USED,
				    offset == VIRTIO_PCI_COMMON_Q_USEDHI, value, len);
		break;
	}
}

/* A driver writes a field whole (4.1.3.1); writes of another kind go nowhere in particular. */
static void common_write(struct virtio_pci *pci, uint64_t offset, uint64_t value, unsigned len)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		pci->registers.device_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		pci->registers.driver_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_set_features(pci->v, pci->registers.driver_feature_select,
				    (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		pci->config_vector = virtio_pci_vector(pci, (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_set_status(pci->v, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		pci->registers.queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		if (registers_queue(&pci->registers, pci->v))
			pci->queue_vectors[pci->registers.queue_select] =
			    virtio_pci_vector(pci, (uint32_t)value);
		break;
	default:
		if (offset < COMMON_SIZE)
			queue_write(pci, (unsigned)offset, value, len);
	}
}

static void isr_read(struct virtio_pci *pci, uint64_t offset, uint8_t *data)
{
	if (offset != 0)
		return;
	data[0] = pci->registers.isr;
	pci->registers.isr = 0; /* reading clears (4.1.4.5) */
}

static void bar_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct virtio_pci *pci = device;

	memset(data, 0, len);
	if (offset < BAR_ISR)
		common_read(pci, offset, data, len);
	else if (offset < BAR_DEVICE)
		isr_read(pci, offset - BAR_ISR, data);
	else if (offset < BAR_NOTIFY)
		virtio_config_read(pci->v, offset - BAR_DEVICE, data, len);
}

static void bar_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct virtio_pci *pci = device;
	uint64_t value = 0;

	for (unsigned i = 0; i < len && i < 8; i++)
		value |= (uint64_t)data[i] << 8 * i;
	if (offset < BAR_ISR)
		common_write(pci, offset, value, len);
	else if (offset >= BAR_NOTIFY)
		/* The engine did not turn it into an event: the loop must do the work all the
		 * same. */
		virtio_poke(pci->v, (unsigned)((offset - BAR_NOTIFY) / BAR_NOTIFY_STEP));
	else if (offset >= BAR_DEVICE)
		virtio_config_write(pci->v, offset - BAR_DEVICE, data, len);
}

const struct bus_ops virtio_pci_bar_ops = {.read = bar_read, .write = bar_write};
