/* SPDX-License-Identifier: Apache-2.0 */
/* Whole records: begun for packing or not, sealed packed or as they are. */
#include <errno.h>

#include "migrate/codec.h"
#include "migrate/pack.h"

#define BODY_LEAST 512u /* packing a shorter one saves no packet */

int codec_allow_packing(struct codec *codec, size_t body, struct error *err)
{
	if (codec->policy.mode != CODEC_AUTO && codec->policy.mode != CODEC_ZSTD)
		return 0;
	return packer_create(body, &codec->packer, err);
}

void codec_begin(struct codec *codec, struct pages_writer *writer, unsigned region)
{
	pages_begin(writer, region);
	codec->packing = codec->packer &&
			 codec_policy_pack(&codec->policy, CODEC_PLAIN, codec->records++);
}

/* What is in a record: bytes of payload by kind, and pages that are not zero. */
struct load {
	uint32_t bytes[PAGES_KINDS];
	uint32_t pages;
};

static void weigh(const struct pages_writer *writer, struct load *load)
{
	for (unsigned i = 0; i < writer->n; i++) {
		const struct pages_entry *entry = &writer->entries[i];

		load->bytes[entry->kind] += entry->length;
		load->pages += entry->kind == PAGES_ZERO ? 0 : entry->pages;
	}
}

/* LZ4 leaves zstd nothing to find; small entries, deltas mostly, are packed table and all. */
static bool to_be_packed(struct codec *codec, const struct load *load, size_t len,
			 enum codec_load *ret_class)
{
	if (!codec->packer || len < BODY_LEAST || load->bytes[PAGES_LZ4])
		return false;
	*ret_class = load->bytes[PAGES_RAW] > len / 2 ? CODEC_PLAIN : CODEC_CHANGES;
	if (*ret_class == CODEC_PLAIN)
		return codec->packing;
	return codec_policy_pack(&codec->policy, CODEC_CHANGES, codec->records);
}

static size_t pack(struct codec *codec, enum codec_load load, const uint8_t *body, size_t len,
		   uint8_t **ret_body)
{
	uint64_t began = codec_clock();
	size_t packed = packer_pack(codec->packer, body, len, ret_body);

	codec_policy_packed(&codec->policy, load, codec_clock() - began, len,
			    packed ? packed : len);
	return packed;
}

int codec_seal(struct codec *codec, struct pages_writer *writer, struct stream_writer *stream,
	       uint32_t round, const uint8_t **ret_record, size_t *ret_len, struct error *err)
{
	struct load load = { 0 };
	enum codec_load class;
	struct iovec piece;
	const uint8_t *body;
	uint8_t *packed;
	size_t len;
	int r = pages_body(writer, &body, &len, err);

	if (r)
		return r;
	weigh(writer, &load);
	if (!to_be_packed(codec, &load, len, &class) ||
	    (len = pack(codec, class, body, len, &packed)) == 0)
		return pages_seal(writer, stream, round, ret_record, ret_len, err);
	piece = (struct iovec){ .iov_base = packed, .iov_len = len };
	r = stream_seal(stream, STREAM_PACKED, round, &piece, 1, packed - STREAM_HEADER, err);
	if (r)
		return r;
	codec->stats.packed += load.pages;
	*ret_record = packed - STREAM_HEADER;
	*ret_len = STREAM_HEADER + len;
	return 0;
}
