/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_REGISTERS_H
#define VMM_VIRTIO_REGISTERS_H

#include "vmm/virtio/virtio.h"

/*
 * What the registers of every transport come to (virtio 1.2, 4.1.4.3 and 4.2.2): windows on
 * features and queues that a selector moves, and which interrupts are due. Machine lock held.
 */
#define VIRTIO_ISR_QUEUE  1u
#define VIRTIO_ISR_CONFIG 2u
#define VIRTIO_ISR_ALL    3u

struct virtio_registers {
	uint32_t device_feature_select, driver_feature_select;
	uint32_t queue_select;
	uint8_t isr; /* raised, and the driver has not yet taken note */
};

void registers_reset(struct virtio_registers *registers);

/* The selected half of the features the device offers, and of those the driver took. */
uint32_t registers_offered(const struct virtio_registers *registers, const struct virtio *v);
uint32_t registers_taken(const struct virtio_registers *registers, const struct virtio *v);

/* The selected queue; NULL: there is none. */
struct virtq *registers_queue(const struct virtio_registers *registers, struct virtio *v);

enum queue_field { QUEUE_SIZE, QUEUE_DESC, QUEUE_AVAIL, QUEUE_USED };

/*
 * Sets a field of the selected queue, which stands still while the queue is enabled: with LEN
 * 8 an address as a whole, with LEN 4 its half, the upper one if HIGH.
 */
void registers_queue_set(const struct virtio_registers *registers, struct virtio *v,
			 enum queue_field field, bool high, uint64_t value, unsigned len);

#endif
