/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/channel.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* A recording that cannot be written is given up; the move is worth more than it. */
static void channel_record(struct channel *channel, const struct iovec *iov, unsigned count)
{
	if (channel->record_fd < 0)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (write(channel->record_fd, iov[i].iov_base, iov[i].iov_len) ==
		    (ssize_t)iov[i].iov_len)
			continue;
		close(channel->record_fd);
		channel->record_fd = -1;
		return;
	}
}

static uint64_t iov_bytes(const struct iovec *iov, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

int channel_send(struct channel *channel, struct iovec *iov, unsigned count)
{
	uint64_t bytes = iov_bytes(iov, count);
	int r;

	channel_record(channel, iov, count);
	r = channel->ops->send(channel, iov, count);
	if (!r)
		atomic_fetch_add_explicit(&channel->sent, bytes, memory_order_relaxed);
	return r;
}

int channel_receive(struct channel *channel, struct iovec *iov, unsigned count)
{
	return channel->ops->receive(channel, iov, count);
}

void channel_label(struct channel *channel, enum stream_connection connection,
		   enum stream_way incoming, unsigned index)
{
	if (connection == STREAM_DATA)
		snprintf(channel->name, sizeof(channel->name), "data %u", index);
	else
		snprintf(channel->name, sizeof(channel->name), "%s",
			 connection == STREAM_CONTROL ? "control" : "new connection");
	channel->reader.name = channel->name;
	channel->reader.connection = connection;
	channel->reader.way = incoming;
}

void channel_shut(struct channel *channel)
{
	if (channel->fd >= 0)
		channel->ops->shut(channel);
}

void channel_close(struct channel *channel)
{
	if (channel->fd < 0)
		return;
	channel->ops->close(channel);
	channel->fd = -1;
	if (channel->record_fd >= 0)
		close(channel->record_fd);
	channel->record_fd = -1;
}
