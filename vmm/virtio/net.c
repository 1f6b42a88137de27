/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/net.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/le.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/tap.h"

/* A network card (virtio 1.2, 5.1) with a pair of queues and a control queue, on a tap. */
#define STATUS_OFFSET offsetof(struct virtio_net_config, status)
#define CONFIG_LEN    offsetof(struct virtio_net_config, max_virtqueue_pairs)

static uint16_t net_status(const struct net *net)
{
	return le16_get(net->v.config + STATUS_OFFSET);
}

static void net_set_status(struct net *net, uint16_t status)
{
	le16_put(net->v.config + STATUS_OFFSET, status);
}

/* A command on the control queue (5.1.6.5): only announcements are acknowledged (5.1.6.5.4). */
static uint8_t control_command(struct net *net)
{
	struct virtio_net_ctrl_hdr header;

	if (chain_read(&net->chain, 0, &header, sizeof(header)) < sizeof(header))
		return VIRTIO_NET_ERR;
	if (header.class != VIRTIO_NET_CTRL_ANNOUNCE ||
	    header.cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return VIRTIO_NET_ERR;
	net_set_status(net, (uint16_t)(net_status(net) & ~VIRTIO_NET_S_ANNOUNCE));
	return VIRTIO_NET_OK;
}

static void net_control(struct net *net)
{
	unsigned n = 0;

	for (; n < VIRTQ_SIZE && virtio_pop(&net->v, NET_CTRL, &net->chain); n++) {
		uint8_t answer = control_command(net);

		virtio_push(&net->v, NET_CTRL, &net->chain,
			    chain_write(&net->chain, 0, &answer, 1));
	}
	virtio_signal(&net->v, NET_CTRL);
	if (n == VIRTQ_SIZE)
		virtio_poke(&net->v, NET_CTRL);
}

static void net_kick(struct virtio *v, unsigned index)
{
	struct net *net = (struct net *)v;

	switch (index) {
	case NET_RX:
		watch_start(net->watch); /* there are buffers again */
		break;
	case NET_TX:
		net_transmit(net);
		break;
	default:
		net_control(net);
	}
}

/* Also on a vCPU's thread: touches the descriptor only. */
static void net_started(struct virtio *v)
{
	tap_offload(((struct net *)v)->fd, virtio_has(v, VIRTIO_NET_F_GUEST_CSUM),
		    virtio_has(v, VIRTIO_NET_F_GUEST_TSO4),
		    virtio_has(v, VIRTIO_NET_F_GUEST_TSO6),
		    virtio_has(v, VIRTIO_NET_F_GUEST_ECN));
}

/* The watch ends itself when the tap next becomes readable: there is no buffer then. */
static void net_reset(struct virtio *v)
{
	net_set_status((struct net *)v, VIRTIO_NET_S_LINK_UP);
}

static void net_quiesce(struct virtio *v)
{
	watch_stop(((struct net *)v)->watch);
}

static void net_save(struct virtio *v, Segue__Virtio *message)
{
	struct net *net = (struct net *)v;

	segue__virtio_net__init(&net->saved);
	net->saved.announce = net_status(net) & VIRTIO_NET_S_ANNOUNCE;
	message->device_case = SEGUE__VIRTIO__DEVICE_NET;
	message->net = &net->saved;
}

static int net_load(struct virtio *v, const Segue__Virtio *message, struct error *err)
{
	if (message->device_case != SEGUE__VIRTIO__DEVICE_NET)
		return error_set(err, -EINVAL, "%s: its own state is missing", v->device.name);
	net_set_status((struct net *)v,
		       (uint16_t)(VIRTIO_NET_S_LINK_UP |
				  (message->net->announce ? VIRTIO_NET_S_ANNOUNCE : 0)));
	return 0;
}

/*
 * At once by ourselves, so that frames find the way before the guest has done anything; and
 * by the guest, which knows its VLANs and neighbours (5.1.6.5.4). Rounds repeat the first.
 */
static void net_announce(struct virtio *v, unsigned round)
{
	struct net *net = (struct net *)v;

	net_send_rarp(net);
	if (round || !virtio_has(v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	net_set_status(net, (uint16_t)(net_status(net) | VIRTIO_NET_S_ANNOUNCE));
	virtio_config_changed(v);
}

static void net_destroy(struct virtio *v)
{
	struct net *net = (struct net *)v;

	watch_free(net->watch);
	close(net->fd);
	free(net);
}

static const struct virtio_ops net_ops = {
    .id = VIRTIO_ID_NET,
    .kick = net_kick,
    .started = net_started,
    .reset = net_reset,
    .quiesce = net_quiesce,
    .save = net_save,
    .load = net_load,
    .announce = net_announce,
    .late_save = net_late_save,
    .late_load = net_late_load,
    .destroy = net_destroy,
};

#define BIT(feature) (1ull << VIRTIO_NET_F_##feature)

/* All a tap has been able to do since long before Segue, so the same on every host. */
static const uint64_t net_features = BIT(CSUM) | BIT(GUEST_CSUM) | BIT(MAC) | BIT(GUEST_TSO4) |
				     BIT(GUEST_TSO6) | BIT(GUEST_ECN) | BIT(HOST_TSO4) |
				     BIT(HOST_TSO6) | BIT(HOST_ECN) | BIT(MRG_RXBUF) |
				     BIT(STATUS) | BIT(CTRL_VQ) | BIT(GUEST_ANNOUNCE);

static void describe(struct net *net, const uint8_t mac[NET_MAC], unsigned index)
{
	struct device *device = &net->v.device;

	memcpy(net->mac, mac, NET_MAC);
	memcpy(net->v.config, mac, NET_MAC);
	net_set_status(net, VIRTIO_NET_S_LINK_UP);
	net->v.config_len = CONFIG_LEN;
	snprintf(device->name, sizeof(device->name), "net%u", index);
	snprintf(device->contract, sizeof(device->contract),
		 "virtio-net %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
}

int virtio_net_add_fd(struct machine *machine, int fd, const uint8_t mac[NET_MAC],
		      unsigned index, struct error *err)
{
	struct net *net = calloc(1, sizeof(*net));
	int r;

	if (!net) {
		close(fd);
		return error_set(err, -ENOMEM, "no memory for network card %u", index);
	}
	net->fd = fd;
	describe(net, mac, index);
	net->v.offered = net_features;
	net->v.n_queues = NET_QUEUES;
	net->watch = watch_new(machine, fd, net_receive, net);
	r = net->watch ? virtio_init(&net->v, machine, &net_ops) : -ENOMEM;
	if (r < 0) {
		net->v.ops = &net_ops;
		virtio_destroy(&net->v);
		return error_system(err, r, "cannot make network card %u", index);
	}
	return virtio_add(&net->v, err);
}

int virtio_net_add(struct machine *machine, const Segue__Net *config, unsigned index,
		   struct error *err)
{
	int fd;

	if (config->mac.len != NET_MAC)
		return error_set(err, -EINVAL, "network card %u has no MAC address", index);
	fd = tap_open(config->tap, err);
	if (fd < 0)
		return fd;
	return virtio_net_add_fd(machine, fd, config->mac.data, index, err);
}
