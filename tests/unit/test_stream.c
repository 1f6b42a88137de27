/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/stream.h"
#include "migrate/stream_pages.h"
#include "proto/le.h"

static struct stream_reader reader_of(enum stream_connection connection, enum stream_way way)
{
	return (struct stream_reader){ .name = "data 3", .connection = connection, .way = way };
}

static void seal(struct stream_writer *writer, enum stream_type type, uint32_t round,
		 const void *body, size_t len, uint8_t *head)
{
	struct iovec piece = { .iov_base = (void *)(uintptr_t)body, .iov_len = len };
	struct error err = { 0 };

	CU_ASSERT_EQUAL_FATAL(stream_seal(writer, type, round, &piece, 1, head, &err), 0);
}

/* The table of proto/stream.md, typed in once more: way, connection, longest body, round. */
static const struct row {
	enum stream_type type;
	const char *ways, *connection;
	uint32_t longest;
	bool round;
} table[] = {
	{ STREAM_HELLO, ">", "new", 65536, false },
	{ STREAM_WELCOME, "<", "control", 65536, false },
	{ STREAM_REFUSE, "<", "control", 65536, false },
	{ STREAM_PAGES, ">", "data", 1114112, true },
	{ STREAM_ROUND_END, ">", "data", 0, true },
	{ STREAM_ROUND_ACK, "<", "control", 65536, false },
	{ STREAM_STATE, ">", "control", 16777216, false },
	{ STREAM_FINISH, ">", "control", 65536, false },
	{ STREAM_READY, "<", "control", 65536, false },
	{ STREAM_GRANT, ">", "control", 65536, false },
	{ STREAM_RESUMED, "<", "control", 65536, false },
	{ STREAM_ABORT, "<>", "control", 65536, false },
	{ STREAM_QUERY, ">", "new", 65536, false },
	{ STREAM_ANSWER, "<", "doubt", 65536, false },
	{ STREAM_ALIVE, "<>", "control", 0, false },
	{ STREAM_DONE, ">", "control", 256 << 10, false },
	{ STREAM_PACKED, ">", "data", 1114112, true },
	{ STREAM_PROBE, ">", "control", 65536, false },
	{ STREAM_PROBED, "<", "control", 0, false },
};
#define ROWS (sizeof(table) / sizeof(table[0]))
static const char *const names[] = { "new", "control", "data", "doubt" };

static void test_places(void)
{
	for (unsigned i = 0; i < ROWS; i++) {
		for (unsigned place = 0; place < 8; place++) {
			struct stream_writer writer = { 0 };
			struct stream_reader reader = reader_of(place / 2, place % 2);
			struct stream_header header;
			uint8_t head[STREAM_HEADER];
			bool allowed = strchr(table[i].ways, place % 2 ? '<' : '>') &&
				       strcmp(table[i].connection, names[place / 2]) == 0;

			CU_ASSERT_EQUAL(table[i].type, i + 1);
			seal(&writer, table[i].type, table[i].round, "", 0, head);
			CU_ASSERT_EQUAL(stream_parse_header(&reader, head, &header, NULL),
					allowed ? 0 : -EBADMSG);
			CU_ASSERT_EQUAL(reader.sequence, allowed);
		}
	}
}

static struct stream_reader place_for(const struct row *row)
{
	enum stream_connection connection = 0;

	while (strcmp(names[connection], row->connection) != 0)
		connection++;
	return reader_of(connection, row->ways[0] == '<' ? STREAM_BACK : STREAM_FORTH);
}

static void test_lengths(void)
{
	static uint8_t body[(16 << 20) + 1];

	for (unsigned i = 0; i < ROWS; i++) {
		struct stream_writer writer = { 0 };
		struct stream_reader reader = place_for(&table[i]);
		struct iovec piece = { body, table[i].longest + 1 };
		struct stream_header header;
		uint8_t head[STREAM_HEADER];
		struct error err = { 0 };

		CU_ASSERT_EQUAL(stream_seal(&writer, table[i].type, table[i].round, &piece, 1,
					    head, &err),
				-EMSGSIZE);
		seal(&writer, table[i].type, table[i].round, body, table[i].longest, head);
		le32_put(head + 8, table[i].longest + 1);
		CU_ASSERT_EQUAL(stream_parse_header(&reader, head, &header, NULL), -EBADMSG);
		le32_put(head + 8, table[i].longest);
		CU_ASSERT_EQUAL(stream_parse_header(&reader, head, &header, NULL), 0);
		CU_ASSERT_EQUAL(stream_check_bytes(&reader, &header, body, NULL), 0);
		CU_ASSERT_EQUAL(reader.offset, 32u + table[i].longest);
		CU_ASSERT_EQUAL(writer.offset, reader.offset);
	}
}

/* Not one bit of a record may change unnoticed. */
static void test_every_bit(void)
{
	struct stream_writer writer = { 0 };
	uint8_t record[STREAM_HEADER + 100];
	struct stream_header header;
	struct stream_reader reader;

	for (unsigned i = 0; i < 100; i++)
		record[STREAM_HEADER + i] = (uint8_t)(i * 7);
	seal(&writer, STREAM_ABORT, 0, record + STREAM_HEADER, 100, record);
	for (unsigned bit = 0; bit < sizeof(record) * 8; bit++) {
		int r;

		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
		reader = reader_of(STREAM_CONTROL, STREAM_FORTH);
		r = stream_parse_header(&reader, record, &header, NULL);
		/* a shorter length is for the check to find; a longer one is not here to read
		 */
		if (r == 0 && header.length > 100)
			r = -EBADMSG;
		if (r == 0)
			r = stream_check_bytes(&reader, &header, record + STREAM_HEADER, NULL);
		CU_ASSERT_EQUAL(r, -EBADMSG);
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	reader = reader_of(STREAM_CONTROL, STREAM_FORTH);
	CU_ASSERT_EQUAL(stream_parse_header(&reader, record, &header, NULL), 0);
	CU_ASSERT_EQUAL(stream_check_bytes(&reader, &header, record + STREAM_HEADER, NULL), 0);
}

/* The same check however the body is cut up, at the lengths where the hash changes its way. */
static void test_pieces(void)
{
	static const size_t lengths[] = { 1, 3, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 70000 };
	static uint8_t body[70000];

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)rand();
	for (unsigned l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
		struct stream_writer one = { 0 }, many = { 0 };
		size_t len = lengths[l], cut = len / 3;
		struct iovec pieces[3] = { { body, cut },
					   { body + cut, 0 },
					   { body + cut, len - cut } };
		uint8_t a[STREAM_HEADER], b[STREAM_HEADER];
		struct stream_header header;
		struct stream_reader reader = reader_of(STREAM_CONTROL, STREAM_FORTH);

		seal(&one, STREAM_STATE, 0, body, len, a);
		CU_ASSERT_EQUAL(stream_seal(&many, STREAM_STATE, 0, pieces, 3, b, NULL), 0);
		CU_ASSERT_EQUAL(memcmp(a, b, sizeof(a)), 0);
		CU_ASSERT_EQUAL(stream_parse_header(&reader, a, &header, NULL), 0);
		CU_ASSERT_EQUAL(stream_check_body(&reader, &header, pieces, 3, NULL), 0);
		CU_ASSERT_EQUAL(stream_check_body(&reader, &header, pieces, 2, NULL), -EBADMSG);
	}
}

static void test_order(void)
{
	struct stream_writer writer = { 0 };
	struct stream_reader reader = reader_of(STREAM_DATA, STREAM_FORTH);
	uint8_t heads[6][STREAM_HEADER];
	static const struct {
		enum stream_type type;
		uint32_t round;
	} records[6] = {
		{ STREAM_PAGES, 1 }, { STREAM_ROUND_END, 1 }, { STREAM_PAGES, 1 },
		{ STREAM_PAGES, 2 }, { STREAM_ROUND_END, 3 }, { STREAM_ROUND_END, 2 },
	};
	static const int expected[6] = { 0, 0, -EBADMSG, 0, -EBADMSG, 0 };
	struct stream_header header;

	for (unsigned i = 0; i < 6; i++) {
		if (expected[i])
			writer.sequence--;
		seal(&writer, records[i].type, records[i].round, "", 0, heads[i]);
		if (expected[i])
			writer.sequence++;
	}
	for (unsigned i = 0; i < 6; i++) {
		le64_put(heads[i] + 16, reader.sequence);
		CU_ASSERT_EQUAL(stream_parse_header(&reader, heads[i], &header, NULL),
				expected[i]);
	}
	CU_ASSERT_EQUAL(reader.round, 3);
	/* a record left out, and one that comes twice */
	seal(&writer, STREAM_PAGES, 3, "", 0, heads[0]);
	le64_put(heads[0] + 16, reader.sequence + 1);
	CU_ASSERT_EQUAL(stream_parse_header(&reader, heads[0], &header, NULL), -EBADMSG);
	le64_put(heads[0] + 16, reader.sequence - 1);
	CU_ASSERT_EQUAL(stream_parse_header(&reader, heads[0], &header, NULL), -EBADMSG);
}

static void test_errors_say_where(void)
{
	struct stream_writer writer = { 0 };
	struct stream_reader reader = reader_of(STREAM_DATA, STREAM_FORTH);
	uint8_t head[STREAM_HEADER];
	struct stream_header header;
	struct error err = { 0 };

	seal(&writer, STREAM_PAGES, 1, "12345678", 8, head);
	CU_ASSERT_EQUAL(stream_parse_header(&reader, head, &header, &err), 0);
	CU_ASSERT_EQUAL(stream_check_bytes(&reader, &header, "12345679", &err), -EBADMSG);
	CU_ASSERT_STRING_EQUAL(err.text, "data 3: byte 32: PAGES fails its check");
	err = (struct error){ 0 };
	seal(&writer, STREAM_PAGES, 1, "12345678", 8, head);
	head[6] = 1;
	CU_ASSERT_EQUAL(stream_parse_header(&reader, head, &header, &err), -EBADMSG);
	CU_ASSERT_STRING_EQUAL(err.text, "data 3: byte 46: unknown flags 0x1 in PAGES");
}

/*
 * A record as tools/stream-check, which has a hash of its own, makes it: whatever changes
 * these bytes changes the protocol.
 */
static void test_golden(void)
{
	static const uint8_t golden[STREAM_HEADER] = {
		0x53, 0x47, 0x52, 0x31, 0x04, 0x00, 0x00, 0x00, 0x2c, 0x01, 0x00,
		0x00, 0x44, 0x33, 0x22, 0x11, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
		0x02, 0x01, 0xa0, 0x04, 0xfd, 0x3e, 0xc3, 0xee, 0x54, 0x16,
	};
	struct stream_writer writer = { .sequence = 0x0102030405060708 };
	uint8_t head[STREAM_HEADER], body[300];

	for (unsigned i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 31 + 7);
	seal(&writer, STREAM_PAGES, 0x11223344, body, sizeof(body), head);
	CU_ASSERT_EQUAL(memcmp(head, golden, sizeof(head)), 0);
}

/* ---- PAGES ---- */

static const uint64_t regions[] = { 1000, UINT64_C(1) << 40 };

static _Alignas(4096) uint8_t area[PAGES_HEADROOM + PAGES_PAYLOAD_MAX];

/* Parses what the writer holds; 0 or the error. */
static int parse(struct pages_writer *writer, struct pages_table *t, const uint8_t **ret_body)
{
	struct stream_writer stream = { 0 };
	struct stream_reader reader = reader_of(STREAM_DATA, STREAM_FORTH);
	struct stream_header header;
	const uint8_t *record;
	struct error err = { 0 };
	size_t len;

	CU_ASSERT_EQUAL_FATAL(pages_seal(writer, &stream, 1, &record, &len, &err), 0);
	CU_ASSERT_EQUAL_FATAL(stream_parse_header(&reader, record, &header, &err), 0);
	CU_ASSERT_EQUAL(header.length + STREAM_HEADER, len);
	*ret_body = record + STREAM_HEADER;
	CU_ASSERT_EQUAL(stream_check_bytes(&reader, &header, *ret_body, &err), 0);
	return pages_parse_table(&reader, &header, *ret_body, header.length, regions, 2, t,
				 &err);
}

static void test_pages(void)
{
	struct pages_writer writer;
	struct pages_table t;
	const uint8_t *body;

	pages_init(&writer, area, PAGES_PAYLOAD_MAX);
	pages_begin(&writer, 1);
	CU_ASSERT_TRUE(pages_empty(&writer));
	memset(pages_slot(&writer), 1, 4096);
	pages_put_raw(&writer, 5);
	memset(pages_slot(&writer), 2, 4096);
	pages_put_raw(&writer, 6);
	memset(pages_slot(&writer), 3, 17);
	pages_put_packed(&writer, 7, PAGES_DELTA, 17);
	CU_ASSERT_TRUE(pages_put_zero(&writer, 8, PAGES_RUN_MAX - 1));
	CU_ASSERT_TRUE(pages_put_zero(&writer, 8 + PAGES_RUN_MAX - 1, 1));
	CU_ASSERT_TRUE(pages_put_zero(&writer, 8 + PAGES_RUN_MAX, 1));
	memset(pages_slot(&writer), 4, 4096);
	pages_put_raw(&writer, (UINT64_C(1) << 40) - 1);
	CU_ASSERT_EQUAL(parse(&writer, &t, &body), 0);
	CU_ASSERT_EQUAL(t.region, 1);
	CU_ASSERT_EQUAL_FATAL(t.n, 5);
	CU_ASSERT_EQUAL(t.entries[0].kind, PAGES_RAW);
	CU_ASSERT_EQUAL(t.entries[0].first, 5);
	CU_ASSERT_EQUAL(t.entries[0].pages, 2);
	CU_ASSERT_EQUAL(body[t.entries[0].offset], 1);
	CU_ASSERT_EQUAL(body[t.entries[0].offset + 8191], 2);
	CU_ASSERT_EQUAL(t.entries[1].kind, PAGES_DELTA);
	CU_ASSERT_EQUAL(t.entries[1].length, 17);
	CU_ASSERT_EQUAL(body[t.entries[1].offset + 16], 3);
	CU_ASSERT_EQUAL(t.entries[2].pages, PAGES_RUN_MAX);
	CU_ASSERT_EQUAL(t.entries[3].pages, 1);
	CU_ASSERT_EQUAL(body[t.entries[4].offset + 4095], 4);
}

static void test_pages_full(void)
{
	struct pages_writer writer;
	struct pages_table t;
	const uint8_t *body;
	unsigned n = 0;

	pages_init(&writer, area, PAGES_PAYLOAD_MAX * 2);
	for (; pages_slot(&writer); n++)
		pages_put_raw(&writer, n);
	CU_ASSERT_EQUAL(n, 256);
	CU_ASSERT_EQUAL(parse(&writer, &t, &body), 0);
	CU_ASSERT_EQUAL(t.n, 1);
	pages_begin(&writer, 0);
	for (n = 0; pages_slot(&writer); n++)
		pages_put_raw(&writer, 2 * n);
	CU_ASSERT_EQUAL(n, 256);
	CU_ASSERT_FALSE(pages_put_zero(&writer, 999, 1));
	CU_ASSERT_EQUAL(parse(&writer, &t, &body), 0);
	pages_begin(&writer, 0);
	for (n = 0; pages_slot(&writer); n++)
		pages_put_packed(&writer, n, PAGES_LZ4, 4095);
	CU_ASSERT_EQUAL(n, 256);
	CU_ASSERT_EQUAL(parse(&writer, &t, &body), 0);
	pages_begin(&writer, 0);
	for (n = 0; pages_put_zero(&writer, 2 * n, 1); n++)
		;
	CU_ASSERT_EQUAL(n, 256);
	CU_ASSERT_EQUAL(parse(&writer, &t, &body), 0);
	pages_init(&writer, area, 3 * 4096 + 5);
	for (n = 0; pages_slot(&writer); n++)
		pages_put_raw(&writer, n);
	CU_ASSERT_EQUAL(n, 3);
}

/* A body made by hand: a head, then entries of {first, run, kind, length}, then PAYLOAD. */
struct raw_entry {
	uint64_t first;
	uint32_t run, kind, length;
};

static int parse_raw(unsigned region, unsigned n, uint32_t reserved,
		     const struct raw_entry *entries, unsigned have, uint32_t payload)
{
	struct stream_reader reader = reader_of(STREAM_DATA, STREAM_FORTH);
	struct stream_header header = { .type = STREAM_PAGES };
	struct pages_table t;
	struct error err = { 0 };
	uint32_t table_len = 8 + have * 16;
	uint8_t *body = calloc(1, table_len + payload); /* exact: ASan sees any overrun */
	int r;

	le16_put(body, (uint16_t)region);
	le16_put(body + 2, (uint16_t)n);
	le32_put(body + 4, reserved);
	for (unsigned i = 0; i < have; i++) {
		le64_put(body + 8 + i * 16, entries[i].first);
		le32_put(body + 16 + i * 16, entries[i].run | entries[i].kind << 24);
		le32_put(body + 20 + i * 16, entries[i].length);
	}
	header.length = table_len + payload;
	r = pages_parse_table(&reader, &header, body, header.length, regions, 2, &t, &err);
	CU_ASSERT_EQUAL(err.code, r);
	CU_ASSERT_TRUE(r == 0 || strncmp(err.text, "data 3: byte ", 13) == 0);
	free(body);
	return r;
}

static int parse_one(uint64_t first, uint32_t run, uint32_t kind, uint32_t length,
		     uint32_t payload)
{
	return parse_raw(0, 1, 0, &(struct raw_entry){ first, run, kind, length }, 1, payload);
}

static void test_pages_hostile(void)
{
	struct raw_entry two[2] = { { 0, 200, PAGES_RAW, 200 * 4096 },
				    { 300, 57, PAGES_RAW, 57 * 4096 } };

	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_RAW, 4096, 4096), 0);
	CU_ASSERT_EQUAL(parse_one(999, 1, PAGES_LZ4, 1, 1), 0);
	CU_ASSERT_EQUAL(parse_one(0, 1000, PAGES_ZERO, 0, 0), 0);

	CU_ASSERT_EQUAL(parse_one(0, 0, PAGES_ZERO, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1001, PAGES_ZERO, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(1000, 1, PAGES_ZERO, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(UINT64_MAX, 1, PAGES_ZERO, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(UINT64_MAX, PAGES_RUN_MAX, PAGES_ZERO, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(UINT64_MAX / 4096 + 1, 1, PAGES_RAW, 4096, 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_ZERO, 1, 1), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_RAW, 4095, 4095), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_RAW, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 257, PAGES_RAW, 257 * 4096, 257 * 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_LZ4, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_LZ4, 4096, 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 2, PAGES_LZ4, 100, 100), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 2, PAGES_DELTA, 100, 100), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, 4, 100, 100), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, 255, 0, 0), -EBADMSG);
	/* payloads: too few bytes, too many, and a length that would wrap */
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_LZ4, 100, 99), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_LZ4, 100, 101), -EBADMSG);
	CU_ASSERT_EQUAL(parse_one(0, 1, PAGES_LZ4, UINT32_MAX, 100), -EBADMSG);
	/* the head: region, entry count against what is there, reserved bits */
	CU_ASSERT_EQUAL(parse_raw(2, 1, 0, two, 1, 200 * 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(65535, 1, 0, two, 1, 200 * 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 0, 0, two, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 2, 0, two, 1, 0), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 257, 0, two, 1, 65536), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 65535, 0, two, 1, 1048576), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 1, 1, two, 1, 200 * 4096), -EBADMSG);
	CU_ASSERT_EQUAL(parse_raw(0, 1, 0, two, 1, 200 * 4096), 0);
	/* each is fine, together they are 257 raw pages */
	CU_ASSERT_EQUAL(parse_raw(0, 2, 0, two, 2, 257 * 4096), -EBADMSG);
	two[1] = (struct raw_entry){ 300, 56, PAGES_RAW, 56 * 4096 };
	CU_ASSERT_EQUAL(parse_raw(0, 2, 0, two, 2, 256 * 4096), 0);
}

static void test_pages_short(void)
{
	struct stream_reader reader = reader_of(STREAM_DATA, STREAM_FORTH);
	struct stream_header header = { .type = STREAM_PAGES, .length = 24 };
	uint8_t body[24] = { 0, 0, 1 };
	struct pages_table t;
	uint32_t size = 77;

	for (size_t have = 0; have < 24; have++)
		CU_ASSERT_EQUAL(
			pages_parse_table(&reader, &header, body, have, regions, 2, &t, NULL),
			-EBADMSG);
	for (header.length = 0; header.length < 24; header.length++)
		CU_ASSERT_EQUAL(pages_table_size(&reader, &header, body, &size, NULL),
				-EBADMSG);
	CU_ASSERT_EQUAL(size, 77);
	CU_ASSERT_EQUAL(pages_table_size(&reader, &header, body, &size, NULL), 0);
	CU_ASSERT_EQUAL(size, 24);
}

int main(void)
{
	CU_pSuite suite;

	srand(1);
	CU_initialize_registry();
	suite = CU_add_suite("stream", NULL, NULL);
	CU_add_test(suite, "each record in its place only", test_places);
	CU_add_test(suite, "each body within its length", test_lengths);
	CU_add_test(suite, "no bit changes unnoticed", test_every_bit);
	CU_add_test(suite, "a body in pieces has the same check", test_pieces);
	CU_add_test(suite, "sequence and rounds", test_order);
	CU_add_test(suite, "errors say where", test_errors_say_where);
	CU_add_test(suite, "golden header", test_golden);
	CU_add_test(suite, "pages there and back", test_pages);
	CU_add_test(suite, "full records are legal", test_pages_full);
	CU_add_test(suite, "hostile tables", test_pages_hostile);
	CU_add_test(suite, "short tables", test_pages_short);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
