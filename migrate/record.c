/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/record.h"

#include <errno.h>
#include <string.h>

#include "migrate/fault.h"

static int channel_error(const struct channel *channel, int code, struct error *err)
{
	if (code == -ENODATA)
		return error_set(err, code, "%s: the peer closed the connection", channel->name);
	if (code == -ETIMEDOUT)
		return error_set(err, code, "%s: the peer let nothing through for %u s",
				 channel->name, channel->stall_ms / 1000);
	return error_system(err, code, "%s", channel->name);
}

int record_send(struct channel *channel, enum stream_type type, uint32_t round, const void *body,
		size_t len, struct error *err)
{
	uint8_t head[STREAM_HEADER];
	struct iovec iov[2] = {
		{.iov_base = head, .iov_len = sizeof(head)},
		{.iov_base = (void *)(uintptr_t)body, .iov_len = len},
	};
	unsigned pieces = len ? 1 : 0;
	int r = stream_seal(&channel->writer, type, round, iov + 1, pieces, head, err);

	if (r)
		return r;
	r = channel_send(channel, iov, 1 + pieces);
	return r ? channel_error(channel, r, err) : 0;
}

int record_send_message(struct channel *channel, enum stream_type type,
			const ProtobufCMessage *message, struct error *err)
{
	struct buffer body = {0};
	int r = fault_alloc() ? -ENOMEM : buffer_pack(&body, message);

	if (r)
		error_set(err, r, "no memory for a %s record", stream_type_name(type));
	else
		r = record_send(channel, type, 0, body.data, body.len, err);
	buffer_done(&body);
	return r;
}

int record_receive_header(struct channel *channel, struct stream_header *ret_header,
			  struct error *err)
{
	uint8_t head[STREAM_HEADER];
	struct iovec iov = {.iov_base = head, .iov_len = sizeof(head)};
	int r = channel_receive(channel, &iov, 1);

	if (r)
		return channel_error(channel, r, err);
	return stream_parse_header(&channel->reader, head, ret_header, err);
}

int record_receive_body(struct channel *channel, const struct stream_header *header,
			struct buffer *body, struct error *err)
{
	struct iovec iov = {.iov_len = header->length};
	int r = 0;

	body->len = 0;
	iov.iov_base = fault_alloc() ? NULL : buffer_reserve(body, header->length);
	if (!iov.iov_base)
		return error_set(err, -ENOMEM, "%s: no memory for a record of %u bytes",
				 channel->name, header->length);
	if (header->length)
		r = channel_receive(channel, &iov, 1);
	if (r)
		return channel_error(channel, r == -ENODATA ? -ECONNRESET : r, err);
	body->len = header->length;
	return stream_check_bytes(&channel->reader, header, body->data, err);
}

int record_receive(struct channel *channel, struct stream_header *ret_header,
		   struct buffer *body, struct error *err)
{
	int r = record_receive_header(channel, ret_header, err);

	return r ? r : record_receive_body(channel, ret_header, body, err);
}

void *record_unpack(const struct channel *channel, const struct stream_header *header,
		    const struct buffer *body, const ProtobufCMessageDescriptor *kind,
		    struct error *err)
{
	void *message = protobuf_c_message_unpack(kind, &fault_allocator, body->len, body->data);

	if (!message)
		stream_error(err, &channel->reader, header, 0, "this is not a %s message",
			     kind->short_name);
	return message;
}

void record_free(void *message)
{
	protobuf_c_message_free_unpacked(message, &fault_allocator);
}
