/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sender and a receiver thread do to pages, in GB/s of page content on one core. Best
 * of several runs; memory is larger than the last cache and touched before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "migrate/bitmap.h"
#include "migrate/codec.h"
#include "migrate/pack.h"

#define PAGES 32768u /* 128 MiB */
#define BYTES ((size_t)PAGES * PAGES_PAGE)
#define RUNS  5

static uint8_t *memory, *other, *area;
static uint64_t *present;

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *allocate(size_t size)
{
	void *at = NULL;

	if (posix_memalign(&at, 2u << 20, size) != 0)
		abort();
	memset(at, 0, size);
	return at;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void fill_random(uint8_t *at, size_t size)
{
	uint64_t state = 88172645463325252;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t v = next_random(&state);

		memcpy(at + i, &v, 8);
	}
}

/* Words of a small vocabulary: packs to a half or so, as text and pointers do. */
static void fill_text(uint8_t *at, size_t size)
{
	static const char *const words[] = { "guest ", "host ",  "page ",   "the ",  "of ",
					     "memory", "dirty ", "channel", "sends", "a " };
	uint64_t state = 1;

	for (size_t i = 0; i + 8 < size;) {
		uint64_t v = next_random(&state);
		const char *word = words[v % 10];
		size_t n = strlen(word);

		memcpy(at + i, word, n);
		i += n;
		at[i++] = (uint8_t)('a' + (v >> 20) % 26);
	}
}

/* A few words of every page, as a working set between two rounds. */
static void rewrite(uint8_t *at, uint64_t seed)
{
	uint64_t state = seed * 2654435761 + 1;

	for (size_t page = 0; page < PAGES; page++)
		for (unsigned i = 0; i < 8; i++) {
			uint64_t v = next_random(&state);

			memcpy(at + page * PAGES_PAGE + v % 512 * 8, &v, 8);
		}
}

static void report(const char *what, double best, const char *note)
{
	printf("%-42s %6.2f GB/s  %7.0f ns a page%s\n", what, (double)BYTES / best / 1e9,
	       best / PAGES * 1e9, note);
	fflush(stdout);
}

#define MEASURE(what, note, prepare, work)                                                     \
	do {                                                                                   \
		double best = 1e9;                                                             \
		for (int run_ = 0; run_ < RUNS; run_++) {                                      \
			double began;                                                          \
			prepare;                                                               \
			began = seconds();                                                     \
			work;                                                                  \
			began = seconds() - began;                                             \
			best = began < best ? began : best;                                    \
		}                                                                              \
		report(what, best, note);                                                      \
	} while (0)

static unsigned zeros(void)
{
	unsigned n = 0;

	for (size_t page = 0; page < PAGES; page++)
		n += codec_is_zero(memory + page * PAGES_PAGE);
	return n;
}

static uint64_t wire; /* bytes records came to */

static void seal(struct codec *codec, struct pages_writer *writer,
		 struct stream_writer *stream)
{
	const uint8_t *record;
	size_t len;

	if (!pages_empty(writer) &&
	    codec_seal(codec, writer, stream, 1, &record, &len, NULL) == 0)
		wire += len;
	codec_begin(codec, writer, 0);
}

/* The sender's whole work on a round, sending apart. */
static void send_all(struct codec *codec, size_t room, uint32_t round)
{
	struct pages_writer writer;
	struct stream_writer stream = { 0 };

	wire = 0;
	pages_init(&writer, area, room);
	codec_begin(codec, &writer, 0);
	for (size_t page = 0; page < PAGES; page++)
		while (codec_put(codec, &writer, round, page, memory + page * PAGES_PAGE,
				 present) != 0)
			seal(codec, &writer, &stream);
	seal(codec, &writer, &stream);
}

static void copy_all(void)
{
	memcpy(other, memory, BYTES);
}

static void hash_all(size_t room)
{
	struct stream_writer stream = { 0 };
	uint8_t head[STREAM_HEADER];

	for (size_t at = 0; at < BYTES; at += room) {
		struct iovec piece = { memory + at, room };

		stream_seal(&stream, STREAM_PAGES, 1, &piece, 1, head, NULL);
	}
}

static void bench_raw(void)
{
	static const size_t rooms[] = { 32u << 10,  64u << 10,  128u << 10,
					256u << 10, 512u << 10, 1u << 20 };
	struct codec codec;
	unsigned n = 0;
	char what[64];

	codec_init(&codec, CODEC_NONE, NULL, NULL);
	MEASURE("zero check of zero pages", "", , n += zeros());
	if (n != RUNS * PAGES)
		abort();
	MEASURE("sender: zero pages", "", , send_all(&codec, PAGES_STAGING, 1));
	fill_random(memory, BYTES);
	MEASURE("memcpy", "", , copy_all());
	MEASURE("hash alone", "", , hash_all(256u << 10));
	for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		snprintf(what, sizeof(what), "sender: raw pages, staging of %zu KiB",
			 rooms[i] >> 10);
		MEASURE(what, "", , send_all(&codec, rooms[i], 1));
	}
	codec_done(&codec);
}

static void bench_lz4(const char *content)
{
	struct codec codec;
	char what[64], note[64];

	codec_init(&codec, CODEC_LZ4, NULL, NULL);
	send_all(&codec, PAGES_STAGING, 1);
	snprintf(note, sizeof(note), ", ratio %.2f", (double)BYTES / (double)wire);
	snprintf(what, sizeof(what), "sender: LZ4, %s", content);
	MEASURE(what, note, , send_all(&codec, PAGES_STAGING, 1));
	codec_done(&codec);
}

/* Whole records there, and one of them, over and over, back. */
static void bench_zstd(const char *content)
{
	struct stream_header header = { .type = STREAM_PACKED }, inner;
	struct unpacker *unpacker;
	struct packer *packer;
	const uint8_t *body;
	uint8_t *packed;
	struct codec codec;
	char what[64], note[64];

	codec_init(&codec, CODEC_ZSTD, NULL, NULL);
	if (codec_allow_packing(&codec, pages_area(PAGES_STAGING), NULL) != 0 ||
	    packer_create(PAGES_STAGING, &packer, NULL) != 0 ||
	    unpacker_create(&unpacker, NULL) != 0)
		abort();
	send_all(&codec, PAGES_STAGING, 1);
	snprintf(note, sizeof(note), ", ratio %.2f", (double)BYTES / (double)wire);
	snprintf(what, sizeof(what), "sender: zstd, %s", content);
	MEASURE(what, note, , send_all(&codec, PAGES_STAGING, 1));
	header.length = (uint32_t)packer_pack(packer, memory, PAGES_STAGING, &packed);
	if (header.length)
		MEASURE(
			"receiver: zstd, without the pages", "", ,
			for (size_t at = 0; at < BYTES; at += PAGES_STAGING)
				unpacker_unpack(unpacker, &(struct stream_reader){ 0 }, &header,
						packed, &inner, &body, NULL));
	packer_destroy(packer);
	unpacker_destroy(unpacker);
	codec_done(&codec);
}

static void bench_delta(void)
{
	struct pagecache *cache;
	struct codec codec;
	uint32_t round = 1;
	char note[64];

	if (pagecache_create(BYTES, &cache, NULL) != 0)
		abort();
	codec_init(&codec, CODEC_DELTA, cache, NULL);
	send_all(&codec, PAGES_STAGING, round++);
	send_all(&codec, PAGES_STAGING, round++);
	MEASURE("sender: unchanged pages", "", , send_all(&codec, PAGES_STAGING, round++));
	rewrite(memory, round);
	send_all(&codec, PAGES_STAGING, round++);
	snprintf(note, sizeof(note), ", ratio %.1f", (double)BYTES / (double)wire);
	MEASURE("sender: deltas of 8 words a page", note, rewrite(memory, round),
		send_all(&codec, PAGES_STAGING, round++));
	codec_done(&codec);
	pagecache_destroy(cache);
}

/* The receiver's work on packed pages: one record's payloads over and over. */
static void bench_unpack(enum codec_mode mode, const char *what)
{
	struct pages_writer writer;
	struct pagecache *cache;
	struct codec codec;
	struct codec_target target = { .base = other, .pages = PAGES, .present = present };

	if (pagecache_create(BYTES, &cache, NULL) != 0)
		abort();
	codec_init(&codec, mode, cache, NULL);
	for (uint32_t round = 1; round <= 3; round++) {
		pages_init(&writer, area, PAGES_PAYLOAD_MAX);
		for (size_t page = 0; page < 128; page++)
			codec_put(&codec, &writer, round, page, memory + page * PAGES_PAGE,
				  present);
		rewrite(memory, round);
	}
	MEASURE(
		what, "", , for (unsigned i = 0; i < PAGES / 128; i++) {
			uint32_t at = 0;

			for (unsigned e = 0; e < writer.n; e++) {
				struct pages_entry entry = writer.entries[e];

				entry.first += i * 128;
				codec_apply(&target, &entry, area + PAGES_HEADROOM + at, NULL);
				at += entry.length;
			}
		});
	codec_done(&codec);
	pagecache_destroy(cache);
}

int main(void)
{
	memory = allocate(BYTES);
	other = allocate(BYTES);
	area = allocate(pages_area(PAGES_PAYLOAD_MAX));
	present = bitmap_create(PAGES);
	bench_raw();
	bench_lz4("random");
	bench_zstd("random");
	bench_unpack(CODEC_NONE, "receiver: raw");
	fill_text(memory, BYTES);
	bench_lz4("text");
	bench_zstd("text");
	bench_unpack(CODEC_LZ4, "receiver: LZ4, text");
	bench_delta();
	bench_unpack(CODEC_DELTA, "receiver: deltas");
	return 0;
}
