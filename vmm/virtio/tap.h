/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_TAP_H
#define VMM_VIRTIO_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * A tap interface of the host. What is read and written is a frame behind a struct
 * virtio_net_hdr_mrg_rxbuf, in little-endian.
 */

/* The descriptor, not blocking; or negative errno. NAME must exist and be ours to use. */
int tap_open(const char *name, struct error *err);

/* Which unfinished work the guest takes over: checksums, and TCP segments too long. */
void tap_offload(int fd, bool checksum, bool tso4, bool tso6, bool ecn);

#endif
