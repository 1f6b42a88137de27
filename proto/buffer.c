/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void buffer_done(struct buffer *buf)
{
	free(buf->data);
	*buf = (struct buffer){0};
}

uint8_t *buffer_reserve(struct buffer *buf, size_t extra)
{
	size_t want, size = buf->size ? buf->size : 256;
	uint8_t *data;

	if (__builtin_add_overflow(buf->len, extra, &want))
		return NULL;
	if (buf->data && want <= buf->size)
		return buf->data + buf->len;
	while (size < want)
		if (__builtin_mul_overflow(size, (size_t)2, &size))
			return NULL;
	data = realloc(buf->data, size);
	if (!data)
		return NULL;
	buf->data = data;
	buf->size = size;
	return data + buf->len;
}

int buffer_append(struct buffer *buf, const void *data, size_t len)
{
	uint8_t *to = buffer_reserve(buf, len);

	if (!to)
		return -ENOMEM;
	if (len)
		memcpy(to, data, len);
	buf->len += len;
	return 0;
}

int buffer_pack(struct buffer *buf, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *to = buffer_reserve(buf, len);

	if (!to)
		return -ENOMEM;
	buf->len += protobuf_c_message_pack(message, to);
	return 0;
}
