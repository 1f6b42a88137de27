/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/stream_pages.h"

#include <errno.h>
#include <string.h>

#include "proto/le.h"

/* Layouts of stream.md, "PAGES". */
struct pages_wire_head {
	uint8_t region[2];
	uint8_t entries[2];
	uint8_t zero[4];
};
_Static_assert(sizeof(struct pages_wire_head) == PAGES_HEAD, "stream.md: 8 bytes");

struct pages_wire_entry {
	uint8_t first[8];
	uint8_t run[4]; /* three bytes of pages, then the kind */
	uint8_t length[4];
};
_Static_assert(sizeof(struct pages_wire_entry) == PAGES_ENTRY, "stream.md: 16 bytes each");
_Static_assert(offsetof(struct pages_wire_entry, run) == 8, "stream.md");
_Static_assert(offsetof(struct pages_wire_entry, length) == 12, "stream.md");

#define TABLE_MAX ((size_t)PAGES_HEAD + PAGES_ENTRIES * PAGES_ENTRY)
_Static_assert(STREAM_HEADER + TABLE_MAX <= PAGES_HEADROOM, "header and table fit in front");
_Static_assert(PAGES_HEADROOM % PAGES_PAGE == 0, "payloads are page-aligned");
_Static_assert(PAGES_PAYLOAD_MAX == (size_t)PAGES_RAW_MAX * PAGES_PAGE,
	       "as many as it may hold");
_Static_assert(TABLE_MAX + PAGES_PAYLOAD_MAX <= STREAM_MAX_PAGES, "a full record is legal");

const char *pages_kind_name(unsigned kind)
{
	static const char *const names[] = { "ZERO", "RAW", "LZ4", "DELTA" };

	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

/* ---- writing ---- */

void pages_init(struct pages_writer *writer, uint8_t *area, size_t room)
{
	room -= room % PAGES_PAGE;
	if (room < PAGES_PAGE)
		room = PAGES_PAGE;
	if (room > PAGES_PAYLOAD_MAX)
		room = PAGES_PAYLOAD_MAX;
	writer->area = area;
	writer->room = (uint32_t)room;
	pages_begin(writer, 0);
}

void pages_begin(struct pages_writer *writer, unsigned region)
{
	writer->used = 0;
	writer->raw = 0;
	writer->n = 0;
	writer->region = (uint16_t)region;
}

uint8_t *pages_slot(struct pages_writer *writer)
{
	if (writer->n == PAGES_ENTRIES || writer->room - writer->used < PAGES_PAGE ||
	    writer->raw == PAGES_RAW_MAX)
		return NULL;
	return writer->area + PAGES_HEADROOM + writer->used;
}

/* Lengthens the last entry, if the pages follow it and are of its kind. */
static bool join_run(struct pages_writer *writer, enum pages_kind kind, uint64_t first,
		     uint32_t pages, uint32_t length)
{
	struct pages_entry *last;

	if (writer->n == 0)
		return false;
	last = &writer->entries[writer->n - 1];
	if (last->kind != kind || last->first + last->pages != first ||
	    last->pages > PAGES_RUN_MAX - pages)
		return false;
	last->pages += pages;
	last->length += length;
	return true;
}

static void add_entry(struct pages_writer *writer, enum pages_kind kind, uint64_t first,
		      uint32_t pages, uint32_t length)
{
	writer->entries[writer->n++] = (struct pages_entry){
		.first = first,
		.pages = pages,
		.length = length,
		.kind = kind,
	};
}

void pages_put_raw(struct pages_writer *writer, uint64_t page)
{
	if (!join_run(writer, PAGES_RAW, page, 1, PAGES_PAGE))
		add_entry(writer, PAGES_RAW, page, 1, PAGES_PAGE);
	writer->raw++;
	writer->used += PAGES_PAGE;
}

void pages_put_packed(struct pages_writer *writer, uint64_t page, enum pages_kind kind,
		      uint32_t length)
{
	add_entry(writer, kind, page, 1, length);
	writer->used += length;
}

bool pages_put_zero(struct pages_writer *writer, uint64_t first, uint32_t count)
{
	if (join_run(writer, PAGES_ZERO, first, count, 0))
		return true;
	if (writer->n == PAGES_ENTRIES)
		return false;
	add_entry(writer, PAGES_ZERO, first, count, 0);
	return true;
}

static void write_table(const struct pages_writer *writer, uint8_t *to)
{
	struct pages_wire_head *head = (struct pages_wire_head *)to;
	struct pages_wire_entry *wire = (struct pages_wire_entry *)(to + PAGES_HEAD);

	le16_put(head->region, writer->region);
	le16_put(head->entries, writer->n);
	le32_put(head->zero, 0);
	for (unsigned i = 0; i < writer->n; i++, wire++) {
		const struct pages_entry *entry = &writer->entries[i];

		le64_put(wire->first, entry->first);
		le32_put(wire->run, entry->pages | (uint32_t)entry->kind << 24);
		le32_put(wire->length, entry->length);
	}
}

static size_t table_size(const struct pages_writer *writer)
{
	return PAGES_HEAD + (size_t)writer->n * PAGES_ENTRY;
}

int pages_body(struct pages_writer *writer, const uint8_t **ret_body, size_t *ret_len,
	       struct error *err)
{
	uint8_t *body = writer->area + PAGES_HEADROOM - table_size(writer);

	if (writer->n == 0)
		return error_set(err, -ENODATA, "a PAGES record has at least one entry");
	write_table(writer, body);
	*ret_body = body;
	*ret_len = table_size(writer) + writer->used;
	return 0;
}

int pages_seal(struct pages_writer *writer, struct stream_writer *stream, uint32_t round,
	       const uint8_t **ret_record, size_t *ret_len, struct error *err)
{
	uint8_t *head = writer->area + PAGES_HEADROOM - table_size(writer) - STREAM_HEADER;
	struct iovec piece = { .iov_base = head + STREAM_HEADER };
	const uint8_t *body;
	int r = pages_body(writer, &body, &piece.iov_len, err);

	if (r == 0)
		r = stream_seal(stream, STREAM_PAGES, round, &piece, 1, head, err);
	if (r < 0)
		return r;
	*ret_record = head;
	*ret_len = STREAM_HEADER + piece.iov_len;
	return 0;
}

/* ---- reading ---- */

int pages_table_size(const struct stream_reader *reader, const struct stream_header *header,
		     const uint8_t head[PAGES_HEAD], uint32_t *ret_size, struct error *err)
{
	const struct pages_wire_head *wire = (const struct pages_wire_head *)head;
	uint32_t n, size;

	if (header->length < PAGES_HEAD)
		return stream_error(err, reader, header, 0, "PAGES of %u bytes has no table",
				    header->length);
	n = le16_get(wire->entries);
	if (n < 1 || n > PAGES_ENTRIES)
		return stream_error(err, reader, header, 2,
				    "PAGES of %u entries, 1 to %u may be", n, PAGES_ENTRIES);
	if (le32_get(wire->zero) != 0)
		return stream_error(err, reader, header, 4, "PAGES with unknown bits in it");
	size = PAGES_HEAD + n * PAGES_ENTRY;
	if (size > header->length)
		return stream_error(err, reader, header, 2,
				    "PAGES of %u bytes is shorter than its table of %u",
				    header->length, size);
	*ret_size = size;
	return 0;
}

/* Where one entry is, for the errors about it. */
struct entry_at {
	const struct stream_reader *reader;
	const struct stream_header *header;
	unsigned index;
};

#define entry_error(err, at, ...)                                                              \
	stream_error(err, (at)->reader, (at)->header,                                          \
		     PAGES_HEAD + (uint64_t)(at)->index * PAGES_ENTRY, __VA_ARGS__)

/* The kind's own rules: the second table of stream.md, "PAGES". */
static int check_kind(const struct entry_at *at, const struct pages_entry *entry,
		      struct error *err)
{
	const char *name = pages_kind_name(entry->kind);
	bool fits = false;

	switch (entry->kind) {
	case PAGES_ZERO:
		fits = entry->length == 0;
		break;
	case PAGES_RAW:
		fits = entry->pages <= PAGES_RAW_MAX &&
		       entry->length == entry->pages * PAGES_PAGE;
		break;
	case PAGES_LZ4:
	case PAGES_DELTA:
		fits = entry->pages == 1 && entry->length >= 1 && entry->length < PAGES_PAGE;
		break;
	default:
		return entry_error(err, at, "entry %u is of unknown kind %u", at->index,
				   (unsigned)entry->kind);
	}
	if (!fits)
		return entry_error(err, at, "entry %u: %s of %u pages has %u bytes", at->index,
				   name, entry->pages, entry->length);
	return 0;
}

static int check_entry(const struct entry_at *at, const struct pages_entry *entry,
		       uint64_t region_pages, struct error *err)
{
	if (entry->pages < 1 || entry->first >= region_pages ||
	    entry->pages > region_pages - entry->first)
		return entry_error(err, at,
				   "entry %u: %u pages at %llu are not in a region of %llu",
				   at->index, entry->pages, (unsigned long long)entry->first,
				   (unsigned long long)region_pages);
	return check_kind(at, entry, err);
}

static void unpack_entry(const uint8_t *from, struct pages_entry *entry)
{
	const struct pages_wire_entry *wire = (const struct pages_wire_entry *)from;
	uint32_t word = le32_get(wire->run);

	entry->first = le64_get(wire->first);
	entry->pages = word & PAGES_RUN_MAX;
	entry->kind = word >> 24;
	entry->length = le32_get(wire->length);
}

static int parse_entries(const struct stream_reader *reader, const struct stream_header *header,
			 const uint8_t *body, uint64_t region_pages, struct pages_table *table,
			 struct error *err)
{
	struct entry_at at = { .reader = reader, .header = header };
	uint64_t offset = table->size;
	uint32_t raw = 0;
	int r;

	for (; at.index < table->n; at.index++) {
		struct pages_entry *entry = &table->entries[at.index];

		unpack_entry(body + PAGES_HEAD + (size_t)at.index * PAGES_ENTRY, entry);
		r = check_entry(&at, entry, region_pages, err);
		if (r < 0)
			return r;
		if (entry->length > header->length - offset)
			return entry_error(err, &at, "entry %u: payload is beyond the body",
					   at.index);
		entry->offset = (uint32_t)offset;
		offset += entry->length;
		raw += entry->kind == PAGES_RAW ? entry->pages : 0;
	}
	if (raw > PAGES_RAW_MAX)
		return stream_error(err, reader, header, 0, "PAGES of %u raw pages, at most %u",
				    raw, PAGES_RAW_MAX);
	if (offset != header->length)
		return stream_error(err, reader, header, offset,
				    "PAGES has %llu bytes behind its last payload",
				    (unsigned long long)(header->length - offset));
	return 0;
}

int pages_parse_table(const struct stream_reader *reader, const struct stream_header *header,
		      const uint8_t *body, size_t have, const uint64_t *region_pages,
		      unsigned n_regions, struct pages_table *ret_table, struct error *err)
{
	const struct pages_wire_head *wire = (const struct pages_wire_head *)body;
	int r;

	if (have < PAGES_HEAD)
		return stream_error(err, reader, header, have, "PAGES ends before its table");
	r = pages_table_size(reader, header, body, &ret_table->size, err);
	if (r < 0)
		return r;
	if (have < ret_table->size)
		return stream_error(err, reader, header, have, "PAGES ends within its table");
	ret_table->region = le16_get(wire->region);
	ret_table->n = le16_get(wire->entries);
	if (ret_table->region >= n_regions)
		return stream_error(err, reader, header, 0, "PAGES of region %u, there are %u",
				    ret_table->region, n_regions);
	return parse_entries(reader, header, body, region_pages[ret_table->region], ret_table,
			     err);
}
