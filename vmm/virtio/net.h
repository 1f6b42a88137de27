/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include "vmm/virtio/virtio.h"

/* What net.c (the device) and net_data.c (frames) share. */
enum { NET_RX, NET_TX, NET_CTRL, NET_QUEUES };

#define NET_MAC    6u
#define NET_HEADER 12u /* struct virtio_net_hdr_mrg_rxbuf */
#define NET_FRAME_MAX                                                                          \
	(65550u + NET_HEADER) /* a segment of 64 KiB with its headers (5.1.6.3)                \
			       */

struct net {
	struct virtio v;
	int fd; /* tap: frames behind a header of NET_HEADER bytes */
	struct watch *watch;
	uint8_t mac[NET_MAC];
	Segue__VirtioNet saved; /* what a message under construction points to */
	struct virtq_chain chain;
	struct virtq_chain more; /* second and further buffers of a merged frame */
	uint8_t overflow[NET_FRAME_MAX];
};

/* The tap is readable. */
void net_receive(void *context);
/* The driver has put frames into the transmit queue. */
void net_transmit(struct net *net);
/* Tells the bridges where MAC now is, by a frame from it. */
void net_send_rarp(struct net *net);

/* Frames that came for a guest that had gone, and the same after it (net_late.c). */
int net_late_save(struct virtio *v, struct buffer *late);
void net_late_load(struct virtio *v, const uint8_t *late, size_t len);
/* Hands over a frame that did not come from the tap. Without a buffer for it, it is lost. */
void net_hand_over(struct net *net, const uint8_t *frame, size_t len);

/* For tests: a card on any descriptor that keeps frames apart. FD becomes the card's. */
int virtio_net_add_fd(struct machine *machine, int fd, const uint8_t mac[NET_MAC],
		      unsigned index, struct error *err);

#endif
