/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/virtio/net.h"

/*
 * Frames that reach the tap from the guest's last look at it until bridges know where it has
 * gone. Whoever sent them waits for an answer, and sends again only after a while.
 */
#define FRAMES 64u
#define ROOM   (DEVICE_LATE_MAX - FRAMES * 4) /* a frame is packed with its length before it */

/* The next frame's length; 0: none, or no room for it. */
static size_t frame_read(struct net *net, uint8_t *to, size_t room)
{
	ssize_t len;

	do
		len = read(net->fd, net->overflow, sizeof(net->overflow));
	while (len < 0 && errno == EINTR);
	if (len < (ssize_t)NET_HEADER || (size_t)len > room)
		return 0;
	memcpy(to, net->overflow, (size_t)len);
	return (size_t)len;
}

int net_late_save(struct virtio *v, struct buffer *late)
{
	Segue__VirtioNetLate message = SEGUE__VIRTIO_NET_LATE__INIT;
	ProtobufCBinaryData frames[FRAMES];
	uint8_t *bytes = malloc(ROOM);
	size_t used = 0, len;
	int r;

	if (!bytes)
		return -ENOMEM;
	message.frames = frames;
	while (message.n_frames < FRAMES &&
	       (len = frame_read((struct net *)v, bytes + used, ROOM - used))) {
		frames[message.n_frames++] = (ProtobufCBinaryData){len, bytes + used};
		used += len;
	}
	r = buffer_pack(late, &message.base);
	free(bytes);
	return r;
}

void net_late_load(struct virtio *v, const uint8_t *late, size_t len)
{
	Segue__VirtioNetLate *message = segue__virtio_net_late__unpack(NULL, len, late);

	if (!message)
		return;
	for (size_t i = 0; i < message->n_frames; i++) {
		const ProtobufCBinaryData *frame = &message->frames[i];

		if (frame->len >= NET_HEADER && frame->len <= NET_FRAME_MAX)
			net_hand_over((struct net *)v, frame->data, frame->len);
	}
	segue__virtio_net_late__free_unpacked(message, NULL);
	virtio_signal(v, NET_RX);
}
