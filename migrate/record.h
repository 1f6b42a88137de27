/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_RECORD_H
#define MIGRATE_RECORD_H

#include "migrate/channel.h"
#include "migrate/stream.h"
#include "proto/buffer.h"

/* Whole records on a channel: the stream's format joined to its input and output. */

int record_send(struct channel *channel, enum stream_type type, uint32_t round, const void *body,
		size_t len, struct error *err);
int record_send_message(struct channel *channel, enum stream_type type,
			const ProtobufCMessage *message, struct error *err);

/* Reads and checks a header. -ENODATA when the peer has closed in order. */
int record_receive_header(struct channel *channel, struct stream_header *ret_header,
			  struct error *err);
/* Reads and checks the body into BODY, which is emptied first. */
int record_receive_body(struct channel *channel, const struct stream_header *header,
			struct buffer *body, struct error *err);
int record_receive(struct channel *channel, struct stream_header *ret_header,
		   struct buffer *body, struct error *err);

/*
 * Unpacks BODY as a message of KIND, whose pointer type the caller knows; to be freed with
 * record_free(). NULL, with an error that names the record, when it is not one.
 */
void *record_unpack(const struct channel *channel, const struct stream_header *header,
		    const struct buffer *body, const ProtobufCMessageDescriptor *kind,
		    struct error *err);
void record_free(void *message); /* NULL is fine */

#endif
