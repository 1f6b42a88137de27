/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole move as a destination takes it in: headers, tables, page payloads, onto small
 * regions. The input is a byte of flags, then records, each after a byte that names its
 * connection (0 is control). With FIX set, checks and sequence numbers are put right first,
 * so that a mutated body gets past them.
 *
 * Beyond not crashing: a page the tables never named must still be zero.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "hello.pb-c.h"
#include "migrate/bitmap.h"
#include "migrate/codec.h"
#include "migrate/pack.h"
#include "proto/le.h"

#define FIX          1u
#define CONNECTIONS  5u
#define REGIONS      4u
#define REGION_PAGES 512u

struct move {
	struct stream_reader reader[CONNECTIONS];
	struct codec_target region[REGIONS];
	uint64_t pages[REGIONS];
	unsigned n_regions;
	bool fix;
};

static const char *const names[CONNECTIONS] = { "control", "data 1", "data 2", "data 3",
						"data 4" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_region(struct move *move, uint64_t pages)
{
	struct codec_target *target = &move->region[move->n_regions];

	target->base = calloc(pages, PAGES_PAGE);
	target->present = bitmap_create(pages);
	target->pages = pages;
	if (!target->base || !target->present)
		abort();
	move->pages[move->n_regions++] = pages;
}

static bool take_hello(struct move *move, unsigned connection, const uint8_t *body, size_t len)
{
	Segue__Hello *hello = segue__hello__unpack(NULL, len, body);
	bool good = hello && (hello->channel == 0) == (connection == 0);

	for (size_t i = 0; good && connection == 0 && i < hello->n_regions; i++) {
		uint64_t pages = hello->regions[i]->pages;

		good = pages >= 1 && pages <= REGION_PAGES && move->n_regions < REGIONS;
		if (good)
			add_region(move, pages);
	}
	if (hello)
		segue__hello__free_unpacked(hello, NULL);
	move->reader[connection].connection = connection ? STREAM_DATA : STREAM_CONTROL;
	return good;
}

static bool take_pages(struct move *move, const struct stream_reader *reader,
		       const struct stream_header *header, const uint8_t *body)
{
	struct pages_table table;
	struct error err = { 0 };

	if (pages_parse_table(reader, header, body, header->length, move->pages,
			      move->n_regions, &table, &err) < 0)
		return false;
	for (unsigned i = 0; i < table.n; i++)
		if (codec_apply(&move->region[table.region], &table.entries[i],
				body + table.entries[i].offset, &err) < 0)
			return false;
	return true;
}

static bool take_packed(struct move *move, const struct stream_reader *reader,
			const struct stream_header *header, const uint8_t *packed)
{
	struct unpacker *unpacker = NULL;
	struct stream_header inner;
	const uint8_t *body;
	bool good;

	if (unpacker_create(&unpacker, NULL) < 0)
		abort();
	good = unpacker_unpack(unpacker, reader, header, packed, &inner, &body, NULL) == 0 &&
	       take_pages(move, reader, &inner, body);
	unpacker_destroy(unpacker);
	return good;
}

static bool take_body(struct move *move, unsigned connection,
		      const struct stream_header *header, const uint8_t *body)
{
	const struct stream_reader *reader = &move->reader[connection];
	Segue__Finish *finish;

	if (stream_check_bytes(reader, header, body, NULL) < 0)
		return false;
	switch (header->type) {
	case STREAM_HELLO:
		return take_hello(move, connection, body, header->length);
	case STREAM_PAGES:
		return take_pages(move, reader, header, body);
	case STREAM_PACKED:
		return take_packed(move, reader, header, body);
	case STREAM_FINISH:
		finish = segue__finish__unpack(NULL, header->length, body);
		if (finish)
			segue__finish__free_unpacked(finish, NULL);
		return finish != NULL;
	default:
		return true;
	}
}

static void put_right(const struct stream_reader *reader, uint8_t *head, const uint8_t *body,
		      size_t len)
{
	le64_put(head + 16, reader->sequence);
	le64_put(head + 24, XXH3_64bits_withSeed(body, len, XXH3_64bits(head, 24)));
}

/* One record off the input; how much it was, 0 when that is the end of the move. */
static size_t take_record(struct move *move, const uint8_t *data, size_t size)
{
	unsigned connection = data[0] % CONNECTIONS;
	struct stream_reader *reader = &move->reader[connection];
	struct stream_header header;
	uint8_t head[STREAM_HEADER];
	uint8_t *body;
	size_t len;
	bool good;

	if (size < 1 + STREAM_HEADER)
		return 0;
	memcpy(head, data + 1, sizeof(head));
	data += 1 + STREAM_HEADER;
	size -= 1 + STREAM_HEADER;
	len = le32_get(head + 8);
	if (move->fix && len <= size)
		put_right(reader, head, data, len);
	if (stream_parse_header(reader, head, &header, NULL) < 0 || header.length > size)
		return 0;
	body = malloc(header.length + 1); /* of its own, so that ASan sees any overrun */
	if (!body)
		abort();
	memcpy(body, data, header.length);
	good = take_body(move, connection, &header, body);
	free(body);
	return good ? 1 + STREAM_HEADER + header.length : 0;
}

static void check_untouched(const struct move *move)
{
	for (unsigned i = 0; i < move->n_regions; i++)
		for (uint64_t page = 0; page < move->pages[i]; page++)
			if (!bitmap_test(move->region[i].present, page) &&
			    !codec_is_zero(move->region[i].base + page * PAGES_PAGE))
				abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct move move = { 0 };
	size_t used;

	if (size < 1)
		return 0;
	move.fix = data[0] & FIX;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		move.reader[i].name = names[i];
	for (size_t at = 1; at < size; at += used) {
		used = take_record(&move, data + at, size - at);
		if (used == 0)
			break;
	}
	check_untouched(&move);
	for (unsigned i = 0; i < move.n_regions; i++) {
		free(move.region[i].base);
		free(move.region[i].present);
	}
	return 0;
}
