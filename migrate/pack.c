/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/pack.h"

#include <errno.h>
#include <stdlib.h>

#include <zstd.h>

#include "migrate/stream_pages.h"
#include "proto/le.h"

/*
 * Of mixed content in records of 256 KiB, level 2 leaves 0.62 for 10.7 us a page, level 1 0.63
 * for 10, level 3 0.61 for 12.5 and half as much memory again (632 KiB against 1016).
 */
#define LEVEL 2

struct pack_wire { /* stream.md, "PACKED" */
	uint8_t length[4];
	uint8_t zero[4];
};
_Static_assert(sizeof(struct pack_wire) == PACK_HEAD, "stream.md: 8 bytes");

#define BODY_LEAST (PAGES_HEAD + PAGES_ENTRY)

/* ---- sending ---- */

struct packer {
	ZSTD_CCtx *zstd;
	size_t room;
	uint8_t *area; /* a record: header, head, frame */
};

int packer_create(size_t room, struct packer **ret_packer, struct error *err)
{
	struct packer *packer = calloc(1, sizeof(*packer));

	if (packer) {
		packer->zstd = ZSTD_createCCtx();
		packer->room = room;
		packer->area = malloc(STREAM_HEADER + PACK_HEAD + room);
	}
	if (!packer || !packer->zstd || !packer->area) {
		packer_destroy(packer);
		return error_set(err, -ENOMEM, "no memory to pack records with");
	}
	ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_compressionLevel, LEVEL);
	*ret_packer = packer;
	return 0;
}

void packer_destroy(struct packer *packer)
{
	if (!packer)
		return;
	ZSTD_freeCCtx(packer->zstd);
	free(packer->area);
	free(packer);
}

size_t packer_pack(struct packer *packer, const uint8_t *body, size_t len, uint8_t **ret_body)
{
	struct pack_wire *wire = (struct pack_wire *)(packer->area + STREAM_HEADER);
	uint8_t *frame = packer->area + STREAM_HEADER + PACK_HEAD;
	size_t most = len - len / 16, n;

	if (len > packer->room || most <= PACK_HEAD)
		return 0;
	n = ZSTD_compress2(packer->zstd, frame, most - PACK_HEAD, body, len);
	if (ZSTD_isError(n))
		return 0;
	le32_put(wire->length, (uint32_t)len);
	le32_put(wire->zero, 0);
	*ret_body = packer->area + STREAM_HEADER;
	return PACK_HEAD + n;
}

/* ---- receiving ---- */

struct unpacker {
	ZSTD_DCtx *zstd;
	uint8_t body[STREAM_MAX_PAGES];
};

int unpacker_create(struct unpacker **ret_unpacker, struct error *err)
{
	struct unpacker *unpacker = malloc(sizeof(*unpacker));

	if (unpacker)
		unpacker->zstd = ZSTD_createDCtx();
	if (!unpacker || !unpacker->zstd) {
		free(unpacker);
		return error_set(err, -ENOMEM, "no memory to unpack records in");
	}
	*ret_unpacker = unpacker;
	return 0;
}

void unpacker_destroy(struct unpacker *unpacker)
{
	if (!unpacker)
		return;
	ZSTD_freeDCtx(unpacker->zstd);
	free(unpacker);
}

/*
 * One frame, of zstd's present format, that says how long its content is: what libzstd would
 * take besides (skippable frames, several, its old formats, for which it allocates) is not
 * even shown to it.
 */
static const char *frame_fault(const uint8_t *frame, size_t len, uint32_t content)
{
	if (len < 4 || le32_get(frame) != ZSTD_MAGICNUMBER)
		return "its content is no zstd frame";
	if (ZSTD_getFrameContentSize(frame, len) != content)
		return "its zstd frame is of another length than it says";
	if (ZSTD_findFrameCompressedSize(frame, len) != len)
		return "its zstd frame does not end where it does";
	return NULL;
}

int unpacker_unpack(struct unpacker *unpacker, const struct stream_reader *reader,
		    const struct stream_header *header, const uint8_t *packed,
		    struct stream_header *ret_header, const uint8_t **ret_body,
		    struct error *err)
{
	const struct pack_wire *wire = (const struct pack_wire *)packed;
	const uint8_t *frame = packed + PACK_HEAD;
	const char *fault;
	uint32_t content;

	if (header->length < PACK_HEAD)
		return stream_error(err, reader, header, 0, "PACKED of %u bytes", header->length);
	content = le32_get(wire->length);
	if (content < BODY_LEAST || content > STREAM_MAX_PAGES)
		return stream_error(err, reader, header, 0,
				    "PACKED of %u bytes unpacked, %u to %u may be", content,
				    BODY_LEAST, STREAM_MAX_PAGES);
	if (le32_get(wire->zero) != 0)
		return stream_error(err, reader, header, 4, "PACKED with unknown bits in it");
	fault = frame_fault(frame, header->length - PACK_HEAD, content);
	if (!fault && ZSTD_decompressDCtx(unpacker->zstd, unpacker->body, content, frame,
					  header->length - PACK_HEAD) != content)
		fault = "its zstd frame does not unpack";
	if (fault)
		return stream_error(err, reader, header, PACK_HEAD, "PACKED: %s", fault);
	*ret_header = *header;
	ret_header->length = content;
	ret_header->unpacked = true;
	*ret_body = unpacker->body;
	return 0;
}
