/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_DEVICES_H
#define VMM_VIRTIO_DEVICES_H

#include "guest.pb-c.h"
#include "proto/error.h"
#include "vmm/console.h"
#include "vmm/machine.h"

/*
 * The virtio devices. Each is built, put on the machine's bus (where that is PCI,
 * pci_host_add() comes first) and added to the machine, which owns it from then on. Loop thread, before the sandbox closes:
 * they open what they need here.
 */

/* DISK's image or block device. INDEX numbers disks, from 0: "blk0". */
int virtio_blk_add(struct machine *machine, const Segue__Disk *disk, unsigned index,
		   struct error *err);

/* A card on NET's tap, which must exist and be usable by this user. "net0". */
int virtio_net_add(struct machine *machine, const Segue__Net *net, unsigned index,
		   struct error *err);

/* CONSOLE must live as long as the machine. */
int virtio_console_add(struct machine *machine, struct console *console, struct error *err);

int virtio_rng_add(struct machine *machine, struct error *err);

struct balloon;
/* *ret_balloon is valid as long as the machine. */
int virtio_balloon_add(struct machine *machine, struct balloon **ret_balloon,
		       struct error *err);
/* Asks the guest to get along with BYTES of its memory, for now. Loop thread, machine lock
 * held. */
void balloon_set_target(struct balloon *balloon, uint64_t bytes);
/* What the guest has by its own account; the same. */
uint64_t balloon_kept(const struct balloon *balloon);

#endif
