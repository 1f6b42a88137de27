/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <unistd.h>

#include "proto/le.h"
#include "vmm/virtio/net.h"

/* Frames, between the tap and the guest's buffers (virtio 1.2, 5.1.6). */
#define TURN        64u /* frames before others get their turn on the loop */
#define NUM_BUFFERS offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers)

_Static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == NET_HEADER, "layout of 5.1.6");

/*
 * One frame into the buffer in net->chain, what does not fit into net->overflow. Returns
 * its length with the header, or negative errno.
 */
static ssize_t read_frame(struct net *net)
{
	struct iovec iov[VIRTQ_SEGS + 1];
	unsigned n = chain_slice(&net->chain, true, 0, NET_FRAME_MAX, iov);
	ssize_t len;

	iov[n].iov_base = net->overflow;
	iov[n].iov_len = sizeof(net->overflow);
	do
		len = readv(net->fd, iov, (int)n + 1);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	return len < (ssize_t)NET_HEADER ? -EIO : len;
}

/*
 * Puts the LEFT bytes of a frame that did not fit the first buffer into further ones.
 * Returns how many; 0, with all of them given back, when they are too few.
 */
static unsigned spill(struct net *net, uint64_t left)
{
	struct virtq *q = &net->v.queues[NET_RX];
	const uint8_t *from = net->overflow;
	unsigned n = 0;

	while (left && n < VIRTQ_SIZE && virtio_pop(&net->v, NET_RX, &net->more)) {
		uint64_t part = net->more.in_len < left ? net->more.in_len : left;

		chain_write(&net->more, 0, from, part);
		chain_mark(q->ram, &net->more, 0, part);
		virtq_fill(q, ++n, net->more.head, (uint32_t)part);
		from += part;
		left -= part;
	}
	if (!left)
		return n;
	virtq_unpop(q, n);
	return 0;
}

/* LEN bytes have come in. Hands them over, all buffers at once, or drops them. */
static bool deliver(struct net *net, uint64_t len)
{
	struct virtq *q = &net->v.queues[NET_RX];
	uint64_t first = len < net->chain.in_len ? len : net->chain.in_len;
	uint8_t buffers[2];
	unsigned more = 0;

	if (len > first && virtio_has(&net->v, VIRTIO_NET_F_MRG_RXBUF))
		more = spill(net, len - first);
	/* Written to, whether handed over or not. */
	chain_mark(q->ram, &net->chain, 0, first);
	if (len > first && !more)
		return false;
	le16_put(buffers, (uint16_t)(1 + more));
	chain_write(&net->chain, NUM_BUFFERS, buffers, sizeof(buffers));
	virtq_fill(q, 0, net->chain.head, (uint32_t)first);
	virtq_publish(q, 1 + more);
	return true;
}

/* False: no more now. */
static bool receive_one(struct net *net)
{
	struct virtq *q = &net->v.queues[NET_RX];
	ssize_t len;

	/* None there, or none wanted any more: a kick or a resume begins again. */
	if (!virtio_pop(&net->v, NET_RX, &net->chain)) {
		watch_stop(net->watch);
		return false;
	}
	if (net->chain.in_len < NET_HEADER) {
		virtio_broken(&net->v);
		return false;
	}
	len = read_frame(net);
	if (len >= 0 && deliver(net, (uint64_t)len))
		return true;
	virtq_unpop(q, 1);
	/* An interface that is gone would be readable for ever. */
	if (len < 0 && len != -EAGAIN)
		watch_stop(net->watch);
	return len >= 0;
}

void net_hand_over(struct net *net, const uint8_t *frame, size_t len)
{
	uint64_t first;

	if (!virtio_pop(&net->v, NET_RX, &net->chain))
		return;
	if (net->chain.in_len < NET_HEADER) {
		virtio_broken(&net->v);
		return;
	}
	first = chain_write(&net->chain, 0, frame, len);
	memcpy(net->overflow, frame + first, len - first);
	if (!deliver(net, len))
		virtq_unpop(&net->v.queues[NET_RX], 1);
}

void net_receive(void *context)
{
	struct net *net = context;

	for (unsigned i = 0; i < TURN && receive_one(net); i++)
		;
	virtio_signal(&net->v, NET_RX);
}

/* A frame the host does not take (interface down, header it refuses) is lost, as on a wire. */
static void send_frame(struct net *net)
{
	struct iovec iov[VIRTQ_SEGS];
	unsigned n;

	if (net->chain.out_len <= NET_HEADER || net->chain.out_len > NET_FRAME_MAX)
		return;
	n = chain_slice(&net->chain, false, 0, net->chain.out_len, iov);
	while (writev(net->fd, iov, (int)n) < 0 && errno == EINTR)
		;
}

void net_transmit(struct net *net)
{
	unsigned n = 0;

	for (; n < TURN && virtio_pop(&net->v, NET_TX, &net->chain); n++) {
		send_frame(net);
		virtio_push(&net->v, NET_TX, &net->chain, 0);
	}
	virtio_signal(&net->v, NET_TX);
	if (n == TURN)
		virtio_poke(&net->v, NET_TX);
}

/* A reverse ARP request (RFC 903) that asks for its own address: bridges learn from it. */
void net_send_rarp(struct net *net)
{
	uint8_t frame[NET_HEADER + ETH_ZLEN] = {0};
	uint8_t *ether = frame + NET_HEADER, *arp = ether + ETH_HLEN;
	const uint8_t fixed[] = {0, ARPHRD_ETHER,  ETH_P_IP >> 8, ETH_P_IP & 0xff, ETH_ALEN, 4,
				 0, ARPOP_RREQUEST};

	memset(ether, 0xff, ETH_ALEN);
	memcpy(ether + ETH_ALEN, net->mac, ETH_ALEN);
	ether[12] = ETH_P_RARP >> 8;
	ether[13] = ETH_P_RARP & 0xff;
	memcpy(arp, fixed, sizeof(fixed));
	memcpy(arp + 8, net->mac, ETH_ALEN);  /* sender, its protocol address 0 */
	memcpy(arp + 18, net->mac, ETH_ALEN); /* target */
	while (write(net->fd, frame, sizeof(frame)) < 0 && errno == EINTR)
		;
}
