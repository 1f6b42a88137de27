/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buffer.h"
#include "proto/error.h"

/*
 * What the machine asks of every device. A device embeds struct device and is added to the
 * machine once, while the machine is built. All calls come on the loop thread with the
 * machine lock held; in save, load and reset every vCPU is parked.
 */
struct device;

#define DEVICE_LATE_MAX (60u << 10)

struct device_ops {
	/* Back to power-on state. */
	void (*reset)(struct device *device);

	/*
	 * Take in no more work from the guest; call machine_device_idle() once nothing is in
	 * flight that could write guest memory or raise an interrupt (at once, if so).
	 * NULL: the device never has anything in flight.
	 */
	void (*quiesce)(struct device *device);
	/* Go on, looking first for work that came while quiet. NULL: nothing to do. */
	void (*resume)(struct device *device);

	/* The packed protobuf of the device's own message; load is given the same back. */
	int (*save)(struct device *device, struct buffer *state);
	int (*load)(struct device *device, const uint8_t *state, size_t len, struct error *err);

	/*
	 * The guest has just begun to run here after a move: announce it to the network.
	 * ROUND counts from 0, with growing pauses in between. NULL: nothing to announce.
	 */
	void (*announce)(struct device *device, unsigned round);

	/*
	 * What came from outside and has not been given to the guest, which has gone: as a packed
	 * protobuf, DEVICE_LATE_MAX bytes at most; late_load is given the same, of a guest that
	 * runs, and may drop it. NULL: nothing comes from outside.
	 */
	int (*late_save)(struct device *device, struct buffer *late);
	void (*late_load)(struct device *device, const uint8_t *late, size_t len);
	void (*destroy)(struct device *device);
};

struct device {
	const struct device_ops *ops;
	char name[32]; /* unique in the machine, the same at both ends of a move: "blk0" */
	char contract[64]; /* what a destination's device must match: "virtio-blk 1048576 sectors" */
	struct device *next;
	bool busy; /* the machine's: asked to be quiet, and is not yet */
};

#endif
