/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/bitmap.h"
#include "migrate/codec.h"
#include "migrate/codec_sparse.h"
#include "migrate/pack.h"

#define PAGE 4096u

static void test_zero(void)
{
	static _Alignas(64) uint8_t page[PAGE];

	CU_ASSERT_TRUE(codec_is_zero(page));
	for (unsigned i = 0; i < PAGE; i++) {
		page[i] = (uint8_t)(1u << i % 8);
		CU_ASSERT_FALSE(codec_is_zero(page));
		page[i] = 0;
	}
}

static void test_xor(void)
{
	static uint8_t a[PAGE], b[PAGE], to[PAGE];

	for (unsigned i = 0; i < PAGE; i++)
		a[i] = b[i] = (uint8_t)rand();
	CU_ASSERT_TRUE(codec_xor(to, a, b));
	CU_ASSERT_TRUE(codec_is_zero(to));
	for (unsigned i = 0; i < PAGE; i += 13) {
		b[i] ^= 0x40;
		CU_ASSERT_FALSE(codec_xor(to, a, b));
		CU_ASSERT_EQUAL(to[i], 0x40);
		b[i] ^= 0x40;
	}
	for (unsigned i = 0; i < PAGE; i++)
		b[i] = (uint8_t)rand();
	memcpy(to, a, PAGE);
	codec_xor(to, to, b);
	codec_xor(to, to, a);
	CU_ASSERT_EQUAL(memcmp(to, b, PAGE), 0);
}

/* Packs PAGE into as little room as it needs, no byte more, and unpacks it again. */
static uint32_t sparse_there_and_back(const uint8_t *page)
{
	static uint8_t packed[2 * PAGE], back[PAGE];
	uint32_t length = codec_sparse(page, packed, sizeof(packed));
	uint8_t *exact = malloc(length);

	CU_ASSERT_TRUE_FATAL(length > 0);
	memset(back, 0xee, PAGE);
	CU_ASSERT_EQUAL_FATAL(
		LZ4_decompress_safe((char *)packed, (char *)back, (int)length, PAGE), PAGE);
	CU_ASSERT_EQUAL_FATAL(memcmp(back, page, PAGE), 0);
	for (uint32_t room = 0; room < length; room++) /* ASan sees any overrun */
		CU_ASSERT_EQUAL(codec_sparse(page, exact, room), 0);
	free(exact);
	return length;
}

static void test_sparse(void)
{
	static uint8_t page[PAGE];

	CU_ASSERT_TRUE(sparse_there_and_back(page) < 40);
	for (unsigned i = 0; i < PAGE; i += i < 32 || i > PAGE - 40 ? 1 : 61) {
		page[i] = 1;
		CU_ASSERT_TRUE(sparse_there_and_back(page) < 60);
		page[i] = 0;
	}
	for (unsigned i = 0; i < 300; i++) {
		unsigned changes = 1u << (unsigned)rand() % 11;

		memset(page, 0, PAGE);
		for (unsigned c = 0; c < changes; c++)
			page[(unsigned)rand() % PAGE] = (uint8_t)rand();
		sparse_there_and_back(page);
	}
	memset(page, 1, PAGE);
	CU_ASSERT_TRUE(sparse_there_and_back(page) > PAGE);
	memset(page + 17, 0, PAGE - 17 - 13);
	CU_ASSERT_TRUE(sparse_there_and_back(page) < 70);
}

/* ---- a source and a destination, record by record ---- */

#define PAGES 600u

struct pair {
	uint8_t *from, *to;
	int from_fd, to_fd;
	uint64_t *sent, *present;
	struct codec codec;
	struct pagecache *cache;
	struct pages_writer writer;
	struct stream_writer stream;
	struct stream_reader reader;
	struct codec_target target;
	uint32_t round;
	struct unpacker *unpacker;
	uint64_t zeroed; /* pages for which target.zero() was asked */
	uint64_t bytes;  /* of records */
};

static int count_zeroed(void *context, uint64_t first, uint64_t count, struct error *err)
{
	struct pair *pair = context;

	(void)err;
	memset(pair->to + first * PAGE, 0, count * PAGE);
	pair->zeroed += count;
	return 0;
}

static uint8_t *map_pages(int *ret_fd)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, PAGES * PAGE), 0);
	*ret_fd = fd;
	return mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void pair_init(struct pair *pair, enum codec_mode mode, size_t room)
{
	void *area = NULL;

	*pair = (struct pair){ .round = 1 };
	pair->from = map_pages(&pair->from_fd);
	pair->to = map_pages(&pair->to_fd);
	pair->sent = bitmap_create(PAGES);
	pair->present = bitmap_create(PAGES);
	CU_ASSERT_EQUAL_FATAL(pagecache_create(1 << 20, &pair->cache, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(codec_init(&pair->codec, mode, pair->cache, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(codec_allow_packing(&pair->codec, pages_area(room), NULL), 0);
	CU_ASSERT_EQUAL_FATAL(unpacker_create(&pair->unpacker, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(posix_memalign(&area, PAGE, pages_area(room)), 0);
	pages_init(&pair->writer, area, room);
	codec_begin(&pair->codec, &pair->writer, 0);
	pair->reader = (struct stream_reader){ .name = "data", .connection = STREAM_DATA };
	pair->target = (struct codec_target){
		.base = pair->to,
		.pages = PAGES,
		.present = pair->present,
		.zero = count_zeroed,
		.context = pair,
	};
}

static void pair_done(struct pair *pair)
{
	munmap(pair->from, PAGES * PAGE);
	munmap(pair->to, PAGES * PAGE);
	close(pair->from_fd);
	close(pair->to_fd);
	free(pair->sent);
	free(pair->present);
	free(pair->writer.area);
	codec_done(&pair->codec);
	codec_done(&pair->codec);
	unpacker_destroy(pair->unpacker);
	pagecache_destroy(pair->cache);
}

static void pair_flush(struct pair *pair)
{
	static const uint64_t region_pages[] = { PAGES };
	struct stream_header header;
	struct pages_table table;
	struct error err = { 0 };
	const uint8_t *record, *body;
	size_t len;

	if (pages_empty(&pair->writer))
		return;
	CU_ASSERT_EQUAL_FATAL(codec_seal(&pair->codec, &pair->writer, &pair->stream,
					 pair->round, &record, &len, &err),
			      0);
	pair->bytes += len;
	pair->reader.round = pair->round;
	CU_ASSERT_EQUAL_FATAL(stream_parse_header(&pair->reader, record, &header, &err), 0);
	body = record + STREAM_HEADER;
	CU_ASSERT_EQUAL_FATAL(stream_check_bytes(&pair->reader, &header, body, &err), 0);
	if (header.type == STREAM_PACKED)
		CU_ASSERT_EQUAL_FATAL(unpacker_unpack(pair->unpacker, &pair->reader, &header,
						      body, &header, &body, &err),
				      0);
	CU_ASSERT_EQUAL_FATAL(pages_parse_table(&pair->reader, &header, body, header.length,
						region_pages, 1, &table, &err),
			      0);
	for (unsigned i = 0; i < table.n; i++)
		CU_ASSERT_EQUAL_FATAL(codec_apply(&pair->target, &table.entries[i],
						  body + table.entries[i].offset, &err),
				      0);
	codec_begin(&pair->codec, &pair->writer, 0);
}

static void pair_send(struct pair *pair, uint64_t page)
{
	int r;

	while ((r = codec_put(&pair->codec, &pair->writer, pair->round, page,
			      pair->from + page * PAGE, pair->sent)) == -ENOBUFS)
		pair_flush(pair);
	CU_ASSERT_EQUAL_FATAL(r, 0);
}

/* What guests do to a page: nothing, clear it, fill it, touch a word of it, rewrite it. */
static void scribble(uint8_t *page)
{
	switch (rand() % 6) {
	case 0:
		break;
	case 1:
		memset(page, 0, PAGE);
		break;
	case 2:
		for (unsigned i = 0; i < PAGE; i++)
			page[i] = (uint8_t)("the quick brown fox "[(i + (i >> 7)) % 20]);
		break;
	case 3:
	case 4:
		page[(unsigned)rand() % PAGE] ^= (uint8_t)rand();
		break;
	case 5:
		for (unsigned i = 0; i < PAGE; i++)
			page[i] = (uint8_t)rand();
		break;
	}
}

static void run_rounds(enum codec_mode mode, size_t room, double link_ns,
		       struct codec_stats *ret_stats)
{
	static unsigned runs;
	struct pair pair;

	pair_init(&pair, mode, room);
	if (runs++ % 2 == 0) /* in turn through the memfd and the mapping */
		pair.target.fd = pair.to_fd;
	for (; pair.round <= 12; pair.round++) {
		pair.codec.last_round = pair.round == 12;
		for (uint64_t page = 0; page < PAGES; page++) {
			if (pair.round > 1 && rand() % 2)
				continue;
			scribble(pair.from + page * PAGE);
			pair_send(&pair, page);
			pair.codec.policy.link_ns = link_ns;
		}
		pair_flush(&pair);
		CU_ASSERT_EQUAL_FATAL(memcmp(pair.from, pair.to, PAGES * PAGE), 0);
		CU_ASSERT_EQUAL(memcmp(pair.sent, pair.present, bitmap_words(PAGES) * 8), 0);
	}
	*ret_stats = pair.codec.stats;
	pair_done(&pair);
}

/* Whatever the codec, the memory that comes out is the memory that went in. */
static void test_rounds(void)
{
	struct codec_stats stats;

	run_rounds(CODEC_NONE, PAGES_STAGING, 100, &stats);
	CU_ASSERT_TRUE(stats.raw && stats.zero && stats.skipped);
	CU_ASSERT_EQUAL(stats.lz4 + stats.delta + stats.unchanged, 0);
	run_rounds(CODEC_LZ4, PAGES_STAGING, 0, &stats);
	CU_ASSERT_TRUE(stats.raw && stats.lz4);
	CU_ASSERT_EQUAL(stats.delta, 0);
	run_rounds(CODEC_DELTA, PAGE, 0, &stats);
	CU_ASSERT_TRUE(stats.delta && stats.unchanged && stats.raw);
	run_rounds(CODEC_AUTO, 3 * PAGE, 100, &stats);
	CU_ASSERT_TRUE(stats.delta && stats.unchanged && stats.lz4 + stats.packed);
	run_rounds(CODEC_ZSTD, PAGES_STAGING, 0, &stats);
	CU_ASSERT_TRUE(stats.delta && stats.unchanged && stats.packed);
	CU_ASSERT_EQUAL(stats.lz4, 0);
	run_rounds(CODEC_LZ4, 3 * PAGE, 100, &stats);
	run_rounds(CODEC_AUTO, 3 * PAGE, 0.001, &stats);
	CU_ASSERT_TRUE(stats.raw > 10 * (stats.lz4 + stats.delta));
}

static void send_text(struct pair *pair, unsigned seed)
{
	pair->bytes = 0;
	for (uint64_t page = 0; page < PAGES; page++) {
		for (unsigned i = 0; i < PAGE; i++)
			pair->from[page * PAGE + i] =
				(uint8_t)("the quick brown fox "[(i + page + (i >> 7) * seed) % 20]);
		pair_send(pair, page);
	}
	pair_flush(pair);
	CU_ASSERT_EQUAL(memcmp(pair->from, pair->to, PAGES * PAGE), 0);
	pair->round++;
}

/* Left to itself the codec packs records on a slow link, and on a fast one never. */
static void test_packing(void)
{
	struct pair pair;

	pair_init(&pair, CODEC_AUTO, PAGES_STAGING);
	pair.codec.policy.link_ns = 0.1;
	send_text(&pair, 1);
	CU_ASSERT_TRUE(pair.bytes > (uint64_t)PAGES * PAGE * 9 / 10);
	CU_ASSERT_EQUAL(pair.codec.stats.packed, 0);
	pair.codec.policy.link_ns = 1e5;
	pair.codec.packing = false; /* this record was begun on the fast link */
	send_text(&pair, 3);
	send_text(&pair, 5);
	CU_ASSERT_TRUE(pair.codec.stats.packed > 0);
	pair_done(&pair);
	/* By word, every record. */
	pair_init(&pair, CODEC_ZSTD, PAGES_STAGING);
	send_text(&pair, 1);
	CU_ASSERT_TRUE(pair.bytes < (uint64_t)PAGES * PAGE / 10);
	CU_ASSERT_EQUAL(pair.codec.stats.packed, PAGES);
	CU_ASSERT_EQUAL(pair.codec.stats.lz4, 0);
	pair_done(&pair);
	pair_init(&pair, CODEC_LZ4, PAGES_STAGING);
	CU_ASSERT_PTR_NULL(pair.codec.packer);
	pair_done(&pair);
	/* Nobody said that the other side takes such. */
	pair_init(&pair, CODEC_ZSTD, PAGES_STAGING);
	packer_destroy(pair.codec.packer);
	pair.codec.packer = NULL;
	codec_begin(&pair.codec, &pair.writer, 0);
	send_text(&pair, 1);
	CU_ASSERT_TRUE(pair.bytes > (uint64_t)PAGES * PAGE);
	CU_ASSERT_EQUAL(pair.codec.stats.packed, 0);
	pair_done(&pair);
}

/* A page that never was anything but zero is neither sent, nor touched when it comes. */
static void test_zero_untouched(void)
{
	struct pair pair;
	struct error err = { 0 };
	struct stat st;
	struct pages_entry zero = { .first = 10, .pages = 20, .kind = PAGES_ZERO };
	uint64_t done;

	pair_init(&pair, CODEC_AUTO, PAGES_STAGING);
	pair_send(&pair, 3);
	CU_ASSERT_TRUE(pages_empty(&pair.writer));
	CU_ASSERT_EQUAL(pair.codec.stats.skipped, 1);
	pair.target.fd = pair.to_fd;
	mprotect(pair.to + 10 * PAGE, 20 * PAGE, PROT_NONE);
	CU_ASSERT_EQUAL(codec_apply(&pair.target, &zero, NULL, &err), 0);
	CU_ASSERT_EQUAL(pair.zeroed, 0);
	mprotect(pair.to + 10 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE);
	/* page 12 is sent, then cleared */
	memset(pair.from + 12 * PAGE, 5, PAGE);
	pair_send(&pair, 12);
	pair_flush(&pair);
	CU_ASSERT_EQUAL(fstat(pair.to_fd, &st), 0);
	CU_ASSERT_TRUE(st.st_blocks < PAGES * PAGE / 512); /* there are holes yet */
	CU_ASSERT_EQUAL(pair.to[12 * PAGE], 5);
	memset(pair.from + 12 * PAGE, 0, PAGE);
	CU_ASSERT_EQUAL(codec_put_hole(&pair.codec, &pair.writer, 5, 500, pair.sent, &done), 0);
	CU_ASSERT_EQUAL(done, 500);
	CU_ASSERT_EQUAL(pair.writer.n, 1);
	pair_flush(&pair);
	CU_ASSERT_EQUAL(pair.zeroed, 1);
	CU_ASSERT_EQUAL(memcmp(pair.from, pair.to, PAGES * PAGE), 0);
	CU_ASSERT_FALSE(bitmap_any(pair.present, bitmap_words(PAGES)));
	/* without a callback it is cleared in place */
	pair.target.zero = NULL;
	memset(pair.to + 29 * PAGE, 1, PAGE);
	bitmap_set(pair.present, 29);
	CU_ASSERT_EQUAL(codec_apply(&pair.target, &zero, NULL, &err), 0);
	CU_ASSERT_TRUE(codec_is_zero(pair.to + 29 * PAGE));
	pair_done(&pair);
}

/* More zero runs than a record holds: none is lost, none said twice. */
static void test_holes(void)
{
	struct pair pair;
	uint64_t at = 0, done;
	unsigned records = 1;
	int r;

	pair_init(&pair, CODEC_AUTO, PAGES_STAGING);
	for (uint64_t page = 0; page < PAGES; page += 2) {
		bitmap_set(pair.sent, page);
		bitmap_set(pair.present, page);
	}
	memset(pair.to, 7, PAGES * PAGE);
	for (uint64_t page = 1; page < PAGES; page += 2)
		memset(pair.to + page * PAGE, 0, PAGE);
	while ((r = codec_put_hole(&pair.codec, &pair.writer, at, PAGES - at, pair.sent,
				   &done)) == -ENOBUFS) {
		at += done;
		records++;
		pair_flush(&pair);
	}
	CU_ASSERT_EQUAL(r, 0);
	CU_ASSERT_EQUAL(at + done, PAGES);
	pair_flush(&pair);
	CU_ASSERT_EQUAL(records, 2);
	CU_ASSERT_EQUAL(pair.codec.stats.zero, PAGES / 2);
	CU_ASSERT_EQUAL(pair.codec.stats.skipped, PAGES / 2);
	CU_ASSERT_EQUAL(memcmp(pair.from, pair.to, PAGES * PAGE), 0);
	pair_done(&pair);
}

static void test_hostile_payloads(void)
{
	static uint8_t page[PAGE], payload[PAGE];
	struct codec_target target = { .base = page, .pages = 1 };
	struct pages_entry far = { .first = 1, .pages = 1, .kind = PAGES_RAW, .length = PAGE };
	unsigned accepted = 0;

	CU_ASSERT_EQUAL(codec_unpack(PAGES_RAW, page, payload, PAGE - 1, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_unpack(PAGES_LZ4, page, payload, 0, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_unpack(PAGES_LZ4, page, payload, PAGE, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_unpack(PAGES_LZ4, page, payload, UINT32_MAX, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_unpack(PAGES_ZERO, page, payload, 0, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_unpack(9, page, payload, 10, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(codec_apply(&target, &far, payload, NULL), -EBADMSG);
	/* one byte short of a page, and one more: 4095 or 4097 literals do not fit */
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t length = 1 + (unsigned)rand() % 64;

		for (unsigned j = 0; j < length; j++)
			payload[j] = (uint8_t)rand();
		accepted += codec_unpack(PAGES_LZ4 + i % 2, page, payload, length, NULL) == 0;
	}
	CU_ASSERT_TRUE(accepted < 200);
}

/* ---- policy ---- */

static unsigned tries(const struct codec_policy *policy, enum pages_kind kind)
{
	unsigned n = 0;

	for (uint64_t page = 0; page < 6400; page++)
		n += codec_policy_try(policy, kind, page);
	return n;
}

static void feed(struct codec_policy *policy, enum pages_kind kind, uint64_t ns,
		 uint32_t length)
{
	for (unsigned i = 0; i < 300; i++)
		codec_policy_tried(policy, kind, ns, length);
}

static void test_policy(void)
{
	struct codec_policy policy;

	codec_policy_init(&policy, CODEC_AUTO);
	/* before the link is known: probes only, and about one in CODEC_PROBE */
	CU_ASSERT_TRUE(tries(&policy, PAGES_LZ4) > 20 && tries(&policy, PAGES_LZ4) < 400);
	for (unsigned i = 0; i < 100; i++)
		codec_policy_link(&policy, 1000000, 8000000); /* 1 Gbit/s */
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4), 6400);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	/* content that does not pack: given up, but for the probes */
	feed(&policy, PAGES_LZ4, 3000, PAGE);
	CU_ASSERT_TRUE(tries(&policy, PAGES_LZ4) < 400);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	/* the probes see that it packs again */
	feed(&policy, PAGES_LZ4, 3000, 1000);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4), 6400);
	/* a link as fast as memory: nothing pays */
	for (unsigned i = 0; i < 100; i++)
		codec_policy_link(&policy, 1000000, 100000);
	CU_ASSERT_TRUE(tries(&policy, PAGES_LZ4) < 400);
	CU_ASSERT_TRUE(tries(&policy, PAGES_DELTA) < 400);
	/* the same pages are probed each time: a delta finds its base */
	for (uint64_t page = 0; page < 6400; page++)
		CU_ASSERT_EQUAL_FATAL(codec_policy_try(&policy, PAGES_DELTA, page),
				      codec_policy_try(&policy, PAGES_DELTA, page));
}

static unsigned packs(const struct codec_policy *policy, enum codec_load load)
{
	unsigned n = 0;

	for (uint32_t record = 0; record < 6400; record++)
		n += codec_policy_pack(policy, load, record);
	return n;
}

static void feed_pack(struct codec_policy *policy, enum codec_load load, uint64_t ns,
		      size_t length)
{
	for (unsigned i = 0; i < 100; i++)
		codec_policy_packed(policy, load, ns, 256 << 10, length);
}

static void at_price(struct codec_policy *policy, double ns)
{
	codec_policy_init(policy, CODEC_AUTO);
	for (unsigned i = 0; i < 10; i++)
		codec_policy_link(policy, 4 << 20, (uint64_t)(ns * (4 << 20)));
}

static void test_policy_packing(void)
{
	static const enum codec_mode others[] = { CODEC_NONE, CODEC_LZ4, CODEC_DELTA };
	struct codec_policy policy;

	/* 1 Gbit/s: all; packed records are held against LZ4 once that is known */
	at_price(&policy, 8);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 6400);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_CHANGES), 6400);
	/* 14 us a page for 1536 bytes of it saved, worth 12 */
	feed_pack(&policy, CODEC_PLAIN, 900000, 160 << 10);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 6400 / CODEC_PACK_PROBE);
	at_price(&policy, 32); /* four connections share it */
	feed_pack(&policy, CODEC_PLAIN, 900000, 160 << 10);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 6400);
	feed(&policy, PAGES_LZ4, 3000, 2000);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 6400 / CODEC_PACK_PROBE);
	/* noise: probes only; changes are another matter */
	feed(&policy, PAGES_LZ4, 3000, PAGE);
	feed_pack(&policy, CODEC_PLAIN, 200000, 256 << 10);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 6400 / CODEC_PACK_PROBE);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_CHANGES), 6400);
	/* where not even packing to nothing would pay there is not one */
	at_price(&policy, 0.2);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN) + packs(&policy, CODEC_CHANGES), 0);
	/* nor before the link is known */
	codec_policy_init(&policy, CODEC_AUTO);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN) + packs(&policy, CODEC_CHANGES), 0);
	for (unsigned i = 0; i < 3; i++) {
		codec_policy_init(&policy, others[i]);
		policy.link_ns = 1000;
		CU_ASSERT_EQUAL(packs(&policy, CODEC_PLAIN), 0);
	}
	codec_policy_init(&policy, CODEC_ZSTD);
	CU_ASSERT_EQUAL(packs(&policy, CODEC_CHANGES), 6400);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4), 0);
}

/* A round's first megabytes vanish in sockets' buffers: they do not make the link cheaper. */
static void test_rounds_price(void)
{
	struct codec_policy policy;

	at_price(&policy, 8);
	codec_policy_round(&policy, 160 << 20, 1000000);
	for (unsigned i = 0; i < 3; i++)
		codec_policy_link(&policy, 2 << 20, 200000);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	/* a short round says nothing: neither that it is cheaper ... */
	codec_policy_round(&policy, 100 << 10, 0);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	/* ... and a long one, all acknowledged, that it is */
	codec_policy_link(&policy, 40 << 20, 4000000);
	codec_policy_round(&policy, 160 << 20, 1000000);
	CU_ASSERT_TRUE(tries(&policy, PAGES_DELTA) < 400);
	/* ... nor dearer, with its round trip */
	codec_policy_link(&policy, 10 << 10, 1000);
	codec_policy_round(&policy, 10 << 10, 500000000);
	CU_ASSERT_TRUE(tries(&policy, PAGES_DELTA) < 400);
}

/* A try in which something else had the processor for a while does not make a codec dear. */
static void test_late_try(void)
{
	struct codec_policy policy;

	at_price(&policy, 8);
	for (unsigned i = 0; i < 400; i++) {
		codec_policy_tried(&policy, PAGES_DELTA, i % 50 == 1 ? 30000000 : 1200, 60);
		CU_ASSERT_EQUAL_FATAL(tries(&policy, PAGES_DELTA), 6400);
	}
	/* one that has become dear for good is found out */
	feed(&policy, PAGES_DELTA, 300000, 60);
	CU_ASSERT_TRUE(tries(&policy, PAGES_DELTA) < 400);
}

/* What a socket makes of a link of 1 Gbit/s: nine records at once, then a long wait. */
static void test_bursts(void)
{
	struct codec_policy policy;

	codec_policy_init(&policy, CODEC_AUTO);
	for (unsigned i = 0; i < 40; i++)
		codec_policy_link(&policy, 256 << 10, i % 10 == 9 ? 20000000 : 80000);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4), 6400);
}

/* A fast link, and a thread that once had to wait for a processor. */
static void test_stall(void)
{
	struct codec_policy policy;

	codec_policy_init(&policy, CODEC_AUTO);
	for (unsigned i = 0; i < 100; i++) {
		codec_policy_link(&policy, 256 << 10, i == 40 ? 35000000 : 100000);
		CU_ASSERT_FATAL(tries(&policy, PAGES_LZ4) < 400);
	}
}

static void test_modes(void)
{
	struct codec_policy policy;
	enum codec_mode mode;
	struct error err = { 0 };

	codec_policy_init(&policy, CODEC_NONE);
	policy.link_ns = 1000;
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4) + tries(&policy, PAGES_DELTA), 0);
	codec_policy_init(&policy, CODEC_LZ4);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_LZ4), 6400);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 0);
	codec_policy_init(&policy, CODEC_DELTA);
	CU_ASSERT_EQUAL(tries(&policy, PAGES_DELTA), 6400);
	CU_ASSERT_TRUE(tries(&policy, PAGES_LZ4) < 400);
	CU_ASSERT_EQUAL(codec_mode_parse("delta", &mode, &err), 0);
	CU_ASSERT_EQUAL(mode, CODEC_DELTA);
	CU_ASSERT_EQUAL(codec_mode_parse("zstd", &mode, &err), 0);
	CU_ASSERT_EQUAL(mode, CODEC_ZSTD);
	CU_ASSERT_EQUAL(codec_mode_parse("", &mode, &err), 0);
	CU_ASSERT_EQUAL(mode, CODEC_AUTO);
	CU_ASSERT_EQUAL(codec_mode_parse("zip", &mode, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'zip'"));
}

int main(void)
{
	CU_pSuite suite;

	srand(1);
	CU_initialize_registry();
	suite = CU_add_suite("codec", NULL, NULL);
	CU_add_test(suite, "zero pages", test_zero);
	CU_add_test(suite, "differences", test_xor);
	CU_add_test(suite, "mostly zeros", test_sparse);
	CU_add_test(suite, "rounds in every mode", test_rounds);
	CU_add_test(suite, "zero pages are not touched", test_zero_untouched);
	CU_add_test(suite, "holes", test_holes);
	CU_add_test(suite, "hostile payloads", test_hostile_payloads);
	CU_add_test(suite, "what pays is tried", test_policy);
	CU_add_test(suite, "modes", test_modes);
	CU_add_test(suite, "records are packed", test_packing);
	CU_add_test(suite, "when packing pays", test_policy_packing);
	CU_add_test(suite, "what a round cost", test_rounds_price);
	CU_add_test(suite, "a try cut in two", test_late_try);
	CU_add_test(suite, "bursts of a socket", test_bursts);
	CU_add_test(suite, "a stall is not a slow link", test_stall);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
