/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <errno.h>

#include "proto/le.h"

int frame_append(struct buffer *buf, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *to;

	if (len > FRAME_MAX)
		return -EMSGSIZE;
	to = buffer_reserve(buf, FRAME_HEADER + len);
	if (!to)
		return -ENOMEM;
	le32_put(to, (uint32_t)len);
	protobuf_c_message_pack(message, to + FRAME_HEADER);
	buf->len += FRAME_HEADER + len;
	return 0;
}

ssize_t frame_parse(const uint8_t *data, size_t len, const uint8_t **ret_body, size_t *ret_len)
{
	size_t body;

	if (len < FRAME_HEADER)
		return 0;
	body = le32_get(data);
	if (body > FRAME_MAX)
		return -EMSGSIZE;
	if (len < FRAME_HEADER + body)
		return 0;
	*ret_body = data + FRAME_HEADER;
	*ret_len = body;
	return (ssize_t)(FRAME_HEADER + body);
}
