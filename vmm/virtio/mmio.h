/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_MMIO_H
#define VMM_VIRTIO_MMIO_H

#include "guest/abi.h"
#include "vmm/virtio/registers.h"

/*
 * The memory-mapped transport (virtio 1.2, 4.2), version 2 and thus modern only: a page of
 * registers on the memory bus and one level-triggered line a device, where machine_place()
 * puts them. Registers are 32 bits wide and accessed whole; the device's configuration
 * behind them as the driver likes.
 */
#define VIRTIO_MMIO_WIDTH 4u /* bytes of a register */

struct virtio_mmio {
	struct virtio *v;
	struct segue_pv_device place;
	struct virtio_registers registers;
	uint64_t status_at;      /* gpa of InterruptStatus; 0: it is registers.isr */
	uint32_t status_low;     /* of one whose other half is yet to come */
	bool listening;          /* the engine turns notifications into events */
	Segue__VirtioMmio saved; /* what a message under construction points to */
};

/* mmio_registers.c; DEVICE is a struct virtio_mmio. */
extern const struct bus_ops virtio_mmio_ops;

/* mmio.c: InterruptStatus, wherever it is kept, and with it the line. */
uint32_t virtio_mmio_status_get(const struct virtio_mmio *mmio);
void virtio_mmio_status_clear(struct virtio_mmio *mmio, uint32_t bits);
/* To GPA, 0: into the device. An address that cannot be is ignored. */
void virtio_mmio_status_move(struct virtio_mmio *mmio, uint64_t gpa);

#endif
