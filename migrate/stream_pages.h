/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_STREAM_PAGES_H
#define MIGRATE_STREAM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migrate/stream.h"

/*
 * The body of a PAGES record (proto/stream.md, "PAGES"): a table and its payloads.
 * One thread a writer, one thread a table.
 */
#define PAGES_PAGE        4096u
#define PAGES_HEAD        8u
#define PAGES_ENTRY       16u
#define PAGES_ENTRIES     256u /* in a record, at most */
#define PAGES_RAW_MAX     256u /* raw pages in a record, at most */
#define PAGES_RUN_MAX     ((1u << 24) - 1)
#define PAGES_PAYLOAD_MAX (1u << 20) /* of a writer: that many raw pages */

enum pages_kind {
	PAGES_ZERO = 0,
	PAGES_RAW = 1,
	PAGES_LZ4 = 2,
	PAGES_DELTA = 3,
	PAGES_KINDS /* how many there are */
};

const char *pages_kind_name(unsigned kind);

struct pages_entry {
	uint64_t first; /* page of the region */
	uint32_t pages;
	uint32_t length; /* of the payload, bytes */
	uint32_t offset; /* of the payload in the body, bytes (only read, not written) */
	enum pages_kind kind;
};

/* ---- writing ---- */

/*
 * Collects one record in a staging area, in which header, table and payload end up next to
 * each other: the whole record is one send().
 *
 * The area has PAGES_HEADROOM bytes in front for header and table, then the payload, page-
 * aligned; pick a payload that fits the core's L2 cache (PAGES_STAGING), since each page is
 * written there, hashed and sent from there.
 */
#define PAGES_HEADROOM 8192u
#define PAGES_STAGING  (256u << 10) /* payload bytes; 64 KiB to 512 are all as quick */

struct pages_writer {
	uint8_t *area; /* the caller's, PAGES_HEADROOM + room bytes */
	uint32_t room; /* payload bytes, at least one page, at most PAGES_PAYLOAD_MAX */
	uint32_t used; /* payload bytes so far */
	uint32_t raw;  /* raw pages so far */
	uint16_t region;
	uint16_t n;
	struct pages_entry entries[PAGES_ENTRIES];
};

/*
 * AREA: pages_area(ROOM) bytes, page-aligned, kept by the caller until the writer is no
 * more used. ROOM is rounded down to pages and held within 1 page and PAGES_PAYLOAD_MAX.
 */
void pages_init(struct pages_writer *writer, uint8_t *area, size_t room);
static inline size_t pages_area(size_t room)
{
	return PAGES_HEADROOM + room;
}

/* Empties the writer for a record of pages of REGION. */
void pages_begin(struct pages_writer *writer, unsigned region);
static inline bool pages_empty(const struct pages_writer *writer)
{
	return writer->n == 0;
}

/*
 * Where the next page's payload goes, with room for a whole page; or NULL when the record
 * is full: seal and send it, begin the next and ask again. What is written there belongs to
 * the record only after one of the calls below, which take the bytes from this very place.
 */
uint8_t *pages_slot(struct pages_writer *writer);

/* These follow a pages_slot() that gave room; a page next to the last joins its run. */
void pages_put_raw(struct pages_writer *writer, uint64_t page);
/* KIND is LZ4 or DELTA; LENGTH is 1 to 4095. */
void pages_put_packed(struct pages_writer *writer, uint64_t page, enum pages_kind kind,
		      uint32_t length);

/* COUNT zero pages; false when the record is full. Needs no slot. COUNT: 1 to PAGES_RUN_MAX. */
bool pages_put_zero(struct pages_writer *writer, uint64_t first, uint32_t count);

/* Writes the table in front of the payload: *ret_body, the PAGES body. -ENODATA as below. */
int pages_body(struct pages_writer *writer, const uint8_t **ret_body, size_t *ret_len,
	       struct error *err);

/*
 * Writes table and header in front of the payload: *ret_record is the whole record,
 * *ret_len bytes of it, valid until pages_begin(). -ENODATA when no page was put.
 */
int pages_seal(struct pages_writer *writer, struct stream_writer *stream, uint32_t round,
	       const uint8_t **ret_record, size_t *ret_len, struct error *err);

/* ---- reading ---- */

struct pages_table {
	unsigned region;
	unsigned n;
	uint32_t size; /* bytes of the table: where the first payload begins */
	struct pages_entry entries[PAGES_ENTRIES];
};

/*
 * The table's size in bytes, from the body's first PAGES_HEAD bytes: for a reader that
 * wants the table before the payloads. -EBADMSG when it cannot be.
 */
int pages_table_size(const struct stream_reader *reader, const struct stream_header *header,
		     const uint8_t head[PAGES_HEAD], uint32_t *ret_size, struct error *err);

/*
 * Checks and unpacks the table of a PAGES body of header->length bytes, of which BODY holds
 * at least the table (HAVE bytes). Every entry that comes out lies within its region (whose
 * lengths in pages are REGION_PAGES), its payload within the body, and kind, run and
 * payload length fit together. 0 or -EBADMSG.
 */
int pages_parse_table(const struct stream_reader *reader, const struct stream_header *header,
		      const uint8_t *body, size_t have, const uint64_t *region_pages,
		      unsigned n_regions, struct pages_table *ret_table, struct error *err);

#endif
