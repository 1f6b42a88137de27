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
struct virtio_mmio {
	struct virtio *v;
	struct segue_pv_device place;
	struct virtio_registers registers;
	bool line;      /* the interrupt, as last told */
	bool listening; /* the engine turns notifications into events */
	Segue__VirtioMmio saved; /* what a message under construction points to */
};

#endif
