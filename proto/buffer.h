/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BUFFER_H
#define PROTO_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/*
 * A growable run of bytes. Zero-initialised is empty and valid. Not for sharing
 * between threads.
 */
struct buffer {
	uint8_t *data;
	size_t len;
	size_t size;
};

/* Frees the bytes and leaves the buffer empty; idempotent. */
void buffer_done(struct buffer *buf);

/*
 * Makes room for EXTRA bytes behind the present end and returns where they go, or NULL
 * when memory is short. The length does not change: add to buf->len what was filled.
 */
uint8_t *buffer_reserve(struct buffer *buf, size_t extra);

/* Appends a copy of LEN bytes. 0 or -ENOMEM. */
int buffer_append(struct buffer *buf, const void *data, size_t len);

/* Appends a message in its packed form. 0 or -ENOMEM. */
int buffer_pack(struct buffer *buf, const ProtobufCMessage *message);

#endif
