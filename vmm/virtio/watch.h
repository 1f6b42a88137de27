/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_WATCH_H
#define VMM_VIRTIO_WATCH_H

#include "vmm/machine.h"

/*
 * Waits on the loop for a descriptor to become readable. Loop thread for every call; READY
 * comes with the machine lock held. Lives on its own, so that its owner may be freed while
 * libuv still closes the handle.
 */
struct watch;

/* Not yet started. NULL when memory is short or the descriptor cannot be polled. */
struct watch *watch_new(struct machine *machine, int fd, void (*ready)(void *context),
			void *context);
void watch_start(struct watch *watch); /* nothing happens when it is running */
void watch_stop(struct watch *watch);
void watch_free(
    struct watch *watch); /* the descriptor may be closed right after; NULL is fine */

#endif
