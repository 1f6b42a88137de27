/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/buffer.h"

/*
 * A control message on a Unix socket: four bytes of length, little-endian, then a packed
 * segue.Request or segue.Reply. Both ends hold the other to FRAME_MAX.
 */
#define FRAME_HEADER 4u
#define FRAME_MAX    (1u << 20)

/* Appends a whole frame holding MESSAGE. 0, -ENOMEM, or -EMSGSIZE above FRAME_MAX. */
int frame_append(struct buffer *buf, const ProtobufCMessage *message);

/*
 * Looks for a whole frame at the start of LEN bytes. Returns the frame's whole size and
 * sets *ret_body and *ret_len; 0 when more bytes are needed; -EMSGSIZE when the length
 * is over FRAME_MAX, after which the connection is of no more use.
 */
ssize_t frame_parse(const uint8_t *data, size_t len, const uint8_t **ret_body, size_t *ret_len);

#endif
