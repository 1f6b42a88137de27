/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#include "proto/le.h"
#include "vmm/virtio/pci.h"

/* The PCI transport (virtio 1.2, 4.1), modern only. */
#define PCI_VENDOR_VIRTIO   0x1af4
#define PCI_DEVICE_VIRTIO   0x1040 /* plus the device type (4.1.2) */
#define PCI_REVISION_MODERN 1

_Static_assert(sizeof(struct virtio_pci_cap) == 16, "layout of 4.1.4");

static struct virtio_pci *pci_from(struct virtio *v)
{
	return v->transport_data;
}

static void signal_queue(struct virtio *v, unsigned index)
{
	struct virtio_pci *pci = pci_from(v);

	pci->registers.isr |= VIRTIO_ISR_QUEUE;
	msix_raise(&pci->msix, pci->queue_vectors[index]);
}

static void signal_config(struct virtio *v)
{
	struct virtio_pci *pci = pci_from(v);

	pci->registers.isr |= VIRTIO_ISR_CONFIG;
	msix_raise(&pci->msix, pci->config_vector);
}

static void transport_reset(struct virtio *v)
{
	struct virtio_pci *pci = pci_from(v);

	registers_reset(&pci->registers);
	pci->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		pci->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
}

static void transport_power_on(struct virtio *v)
{
	transport_reset(v);
	msix_reset(&pci_from(v)->msix);
	pci_reset(&pci_from(v)->function);
}

/* Kicks that the engine turns into events, at the place where the BAR is now. */
static void notify_move(struct virtio_pci *pci, uint64_t gpa)
{
	struct engine *engine = machine_engine(pci->v->machine);

	for (unsigned i = 0; i < pci->v->n_queues; i++) {
		int fd = pci->v->kicks[i].fd;

		if (pci->notify_at[i])
			engine->ops->notify_remove(engine, pci->notify_at[i], 0, NOTIFY_ANY,
						   fd);
		pci->notify_at[i] = 0;
		if (!gpa)
			continue;
		gpa += i ? BAR_NOTIFY_STEP : BAR_NOTIFY;
		/* An engine that cannot: then the write comes to notify_write(). */
		if (engine->ops->notify_add(engine, gpa, 0, NOTIFY_ANY, fd) == 0)
			pci->notify_at[i] = gpa;
	}
}

static void bar_moved(struct pci_function *function, unsigned bar, uint64_t gpa)
{
	struct virtio_pci *pci = (struct virtio_pci *)function; /* its first member */

	if (bar == VIRTIO_PCI_BAR)
		notify_move(pci, gpa);
}

static unsigned window_field(const struct virtio_pci *pci, unsigned field)
{
	return le32_get(&pci->function.config[pci->window + field]);
}

/*
 * The PCI configuration access capability (4.1.4.9): reading or writing its data does the
 * same to the BAR, LENGTH bytes (1, 2 or 4) at OFFSET.
 */
static bool window_valid(const struct virtio_pci *pci)
{
	unsigned len = window_field(pci, VIRTIO_PCI_CAP_LENGTH);
	unsigned offset = window_field(pci, VIRTIO_PCI_CAP_OFFSET);

	return pci->function.config[pci->window + VIRTIO_PCI_CAP_BAR] == VIRTIO_PCI_BAR &&
	       (len == 1 || len == 2 || len == 4) && offset % len == 0 &&
	       offset <= VIRTIO_PCI_BAR_SIZE - len;
}

static bool window_touched(const struct virtio_pci *pci, unsigned offset, unsigned len)
{
	unsigned data = pci->window + sizeof(struct virtio_pci_cap);

	return offset < data + 4 && data < offset + len && window_valid(pci);
}

static void config_read(struct pci_function *function, unsigned offset, unsigned len)
{
	struct virtio_pci *pci = (struct virtio_pci *)function;

	if (window_touched(pci, offset, len))
		virtio_pci_bar_ops.read(
		    pci, window_field(pci, VIRTIO_PCI_CAP_OFFSET),
		    &function->config[pci->window + sizeof(struct virtio_pci_cap)],
		    window_field(pci, VIRTIO_PCI_CAP_LENGTH));
}

static void config_written(struct pci_function *function, unsigned offset, unsigned len)
{
	struct virtio_pci *pci = (struct virtio_pci *)function;

	msix_config_written(&pci->msix, offset, len);
	if (window_touched(pci, offset, len))
		virtio_pci_bar_ops.write(
		    pci, window_field(pci, VIRTIO_PCI_CAP_OFFSET),
		    &function->config[pci->window + sizeof(struct virtio_pci_cap)],
		    window_field(pci, VIRTIO_PCI_CAP_LENGTH));
}

static const struct pci_ops function_ops = {
    .bar_moved = bar_moved,
    .config_read = config_read,
    .config_written = config_written,
};

static void transport_save(struct virtio *v, Segue__Virtio *message)
{
	struct virtio_pci *pci = pci_from(v);
	Segue__VirtioPci *state = &pci->saved;

	segue__virtio_pci__init(state);
	segue__pci_function__init(&pci->saved_function);
	pci_save(&pci->function, &pci->saved_function);
	msix_save(&pci->msix, &pci->saved_function);
	for (unsigned i = 0; i < v->n_queues; i++)
		pci->saved_vectors[i] = pci->queue_vectors[i];
	state->function = &pci->saved_function;
	state->device_feature_select = pci->registers.device_feature_select;
	state->driver_feature_select = pci->registers.driver_feature_select;
	state->queue_select = pci->registers.queue_select;
	state->config_vector = pci->config_vector;
	state->n_queue_vectors = v->n_queues;
	state->queue_vectors = pci->saved_vectors;
	state->isr = pci->registers.isr;
	message->pci = state;
}

static int transport_load(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	struct virtio_pci *pci = pci_from(v);
	const Segue__VirtioPci *state = message->pci;
	int r;

	if (!state || !state->function || state->n_queue_vectors != v->n_queues)
		return error_set(err, -EINVAL, "%s: state of its PCI side is not whole",
				 v->device.name);
	r = pci_load(&pci->function, state->function, err);
	if (r == 0)
		r = msix_load(&pci->msix, state->function, err);
	if (r < 0)
		return r;
	pci->registers.device_feature_select = state->device_feature_select;
	pci->registers.driver_feature_select = state->driver_feature_select;
	pci->registers.queue_select = (uint16_t)state->queue_select;
	pci->registers.isr = (uint8_t)(state->isr & VIRTIO_ISR_ALL);
	pci->config_vector = virtio_pci_vector(pci, state->config_vector);
	for (unsigned i = 0; i < v->n_queues; i++)
		pci->queue_vectors[i] = virtio_pci_vector(pci, state->queue_vectors[i]);
	return 0;
}

static void transport_destroy(struct virtio *v)
{
	struct virtio_pci *pci = pci_from(v);

	pci_unplug(&pci->function);
	free(pci);
}

static const struct virtio_transport_ops transport_ops = {
    .signal_queue = signal_queue,
    .signal_config = signal_config,
    .reset = transport_reset,
    .power_on = transport_power_on,
    .save = transport_save,
    .load = transport_load,
    .destroy = transport_destroy,
};

/* Adds a virtio structure's capability (4.1.4); EXTRA goes behind it when there is any. */
static int add_cap(struct virtio_pci *pci, uint8_t type, uint32_t offset, uint32_t len,
		   const uint32_t *extra)
{
	struct virtio_pci_cap cap = {
	    .cap_len = (uint8_t)(sizeof(cap) + (extra ? 4 : 0)),
	    .cfg_type = type,
	    .bar = VIRTIO_PCI_BAR,
	    .offset = htole32(offset),
	    .length = htole32(len),
	};
	uint8_t body[sizeof(cap) + 4];

	memcpy(body, &cap, sizeof(cap));
	le32_put(body + sizeof(cap), extra ? *extra : 0);
	return pci_add_capability(&pci->function, PCI_CAP_ID_VNDR, body + 2, cap.cap_len);
}

static int add_window(struct virtio_pci *pci)
{
	const uint32_t none = 0;
	int at = add_cap(pci, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, &none);

	if (at < 0)
		return at;
	pci->window = (unsigned)at;
	pci->function.writable[pci->window + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(&pci->function.writable[pci->window + VIRTIO_PCI_CAP_OFFSET], 0xff, 12);
	return 0;
}

static int add_caps(struct virtio_pci *pci)
{
	const uint32_t step = BAR_NOTIFY_STEP;
	int r = add_cap(pci, VIRTIO_PCI_CAP_COMMON_CFG, BAR_COMMON, 64, NULL);

	if (r >= 0)
		r = add_cap(pci, VIRTIO_PCI_CAP_ISR_CFG, BAR_ISR, 4, NULL);
	if (r >= 0 && pci->v->config_len)
		r = add_cap(pci, VIRTIO_PCI_CAP_DEVICE_CFG, BAR_DEVICE, pci->v->config_len,
			    NULL);
	if (r >= 0)
		r = add_cap(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, BAR_NOTIFY, step * VIRTIO_QUEUES,
			    &step);
	return r < 0 ? r : add_window(pci);
}

/* Base class and sub-class that a guest's tools will show. */
static uint32_t class_of(uint32_t id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000; /* Ethernet controller */
	case VIRTIO_ID_BLOCK:
		return 0x010000; /* SCSI storage controller, as everybody's virtio disk */
	case VIRTIO_ID_CONSOLE:
		return 0x078000; /* other communication controller */
	default:
		return 0x00ff00; /* none of the defined classes */
	}
}

static int build(struct virtio_pci *pci)
{
	const struct pci_identity identity = {
	    .vendor = PCI_VENDOR_VIRTIO,
	    .device = (uint16_t)(PCI_DEVICE_VIRTIO + pci->v->ops->id),
	    .class_code = class_of(pci->v->ops->id),
	    .revision = PCI_REVISION_MODERN,
	    .subsystem_vendor = PCI_VENDOR_VIRTIO,
	    .subsystem = 0x1100,
	};
	int r;

	pci_init(&pci->function, pci->v->machine, &identity, &function_ops);
	r = pci_add_bar(&pci->function, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_SIZE,
			&virtio_pci_bar_ops, pci);
	if (r == 0)
		r = add_caps(pci);
	/* A vector for each queue and one for the configuration. */
	if (r == 0)
		r = msix_init(&pci->msix, &pci->function, VIRTIO_PCI_MSIX_BAR,
			      pci->v->n_queues + 1);
	return r < 0 ? r : pci_plug(&pci->function);
}

int virtio_pci_add(struct virtio *v)
{
	struct virtio_pci *pci = calloc(1, sizeof(*pci));
	int r;

	if (!pci)
		return -ENOMEM;
	pci->v = v;
	v->transport_data = pci;
	r = build(pci);
	if (r < 0) {
		pci_unplug(&pci->function);
		free(pci);
		return r;
	}
	v->transport = &transport_ops;
	transport_reset(v);
	return 0;
}
