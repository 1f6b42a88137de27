/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PACK_H
#define MIGRATE_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "migrate/stream.h"
#include "proto/error.h"

/*
 * The body of a PACKED record (proto/stream.md, "PACKED"): a PAGES body as one zstd frame.
 * Neither side knows pages here, only bytes. One thread a packer, one an unpacker.
 */
#define PACK_HEAD 8u

/* ---- sending ---- */

struct packer;

/* For bodies of up to ROOM bytes. 0 or -ENOMEM. */
int packer_create(size_t room, struct packer **ret_packer, struct error *err);
void packer_destroy(struct packer *packer); /* NULL is fine */

/*
 * Packs a body. *ret_body has STREAM_HEADER bytes of room in front for the header and stays
 * valid until the next call. The packed body's length, or 0 when it would not be shorter by
 * a sixteenth (or there is no memory for it): send the body as it is.
 */
size_t packer_pack(struct packer *packer, const uint8_t *body, size_t len, uint8_t **ret_body);

/* ---- receiving ---- */

struct unpacker;

/* All the memory it will ever take is allocated here. 0 or -ENOMEM. */
int unpacker_create(struct unpacker **ret_unpacker, struct error *err);
void unpacker_destroy(struct unpacker *unpacker); /* NULL is fine */

/*
 * Takes a PACKED record's body apart, which has passed its check. *ret_body is the PAGES body,
 * valid until the next call, and *ret_header the header it would have had. 0 or -EBADMSG.
 */
int unpacker_unpack(struct unpacker *unpacker, const struct stream_reader *reader,
		    const struct stream_header *header, const uint8_t *packed,
		    struct stream_header *ret_header, const uint8_t **ret_body,
		    struct error *err);

#endif
