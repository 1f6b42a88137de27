/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes up a small move and records it, with the monitor's own encoder:
 *
 *   record-stream DIRECTORY     control.sgs, data-1.sgs, data-2.sgs, control-back.sgs, and
 *                               memory.0, memory.1: what must come out (for tools/stream-check)
 *   record-stream --seed FILE   the same move, smaller, as input of fuzz_stream
 *
 * Every kind of page and record is in it. The same bytes on every run.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hello.pb-c.h"
#include "migrate/bitmap.h"
#include "migrate/codec.h"
#include "proto/buffer.h"

#define CHANNELS 2u
#define ROUNDS   4u
#define REGIONS  2u
#define ROOM     (1u << 16)

struct region {
	uint8_t *base;
	uint64_t *present;
	uint64_t pages;
};

static struct region regions[REGIONS];
static FILE *files[CHANNELS + 2]; /* control, data 1, data 2, control back */
static FILE *seed;
static struct stream_writer streams[CHANNELS + 2];
static unsigned random_state = 1;

#define BACK (CHANNELS + 1)

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "record-stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned next_random(unsigned below)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % below;
}

static void emit(unsigned connection, const void *bytes, size_t len)
{
	if (seed) {
		if (connection != BACK)
			must(fwrite(bytes, 1, len, seed) == len, "seed");
		return;
	}
	must(fwrite(bytes, 1, len, files[connection]) == len, "recording");
}

static void emit_record(unsigned connection, const void *head, const void *body, size_t len)
{
	if (seed && connection != BACK)
		fputc((int)connection, seed);
	emit(connection, head, STREAM_HEADER);
	emit(connection, body, len);
}

static void put(unsigned connection, enum stream_type type, uint32_t round, const void *body,
		size_t len)
{
	struct iovec piece = { (void *)(uintptr_t)body, len };
	uint8_t head[STREAM_HEADER];

	must(stream_seal(&streams[connection], type, round, &piece, 1, head, NULL) == 0,
	     "seal");
	emit_record(connection, head, body, len);
}

static void put_message(unsigned connection, enum stream_type type,
			const ProtobufCMessage *message)
{
	struct buffer buf = { 0 };

	must(buffer_pack(&buf, message) == 0, "memory");
	put(connection, type, 0, buf.data, buf.len);
	buffer_done(&buf);
}

static void put_hello(unsigned channel)
{
	Segue__Hello hello = SEGUE__HELLO__INIT;
	Segue__RegionInfo info[REGIONS], *list[REGIONS];
	static const char *const names[REGIONS] = { "ram", "flash" };

	hello.version = hello.version_min = 1;
	hello.move_id = (ProtobufCBinaryData){ 16, (uint8_t *)"0123456789abcdef" };
	hello.channel = channel;
	hello.channels = CHANNELS;
	for (unsigned i = 0; i < REGIONS; i++) {
		segue__region_info__init(&info[i]);
		info[i].name = (char *)(uintptr_t)names[i];
		info[i].pages = regions[i].pages;
		list[i] = &info[i];
	}
	if (channel == 0) {
		hello.guest = (char *)(uintptr_t) "recorded";
		hello.epoch = 7;
		hello.n_regions = REGIONS;
		hello.regions = list;
	}
	put_message(channel, STREAM_HELLO, &hello.base);
}

static void scribble(uint8_t *page, unsigned how)
{
	switch (how) {
	case 0: /* text */
		for (unsigned i = 0; i < PAGES_PAGE; i++)
			page[i] = (uint8_t)("segue moves guests, "[(i + i / 97) % 20]);
		break;
	case 1: /* noise */
		for (unsigned i = 0; i < PAGES_PAGE; i++)
			page[i] = (uint8_t)next_random(256);
		break;
	case 2:
		memset(page, 0, PAGES_PAGE);
		break;
	default: /* a word of it */
		page[next_random(PAGES_PAGE)] ^= 0x5a;
		break;
	}
}

static void flush(struct codec *codec, struct pages_writer *writer, unsigned channel,
		  uint32_t round)
{
	const uint8_t *record;
	size_t len;

	if (pages_empty(writer))
		return;
	must(codec_seal(codec, writer, &streams[channel], round, &record, &len, NULL) == 0,
	     "pages");
	emit_record(channel, record, record + STREAM_HEADER, len - STREAM_HEADER);
	codec_begin(codec, writer, writer->region);
}

/* A round: some pages change, and the two channels take turns at sending them. */
static void put_round(struct codec *codecs, struct pages_writer *writers, uint32_t round)
{
	for (unsigned c = 0; c < CHANNELS; c++)
		codecs[c].last_round = round == ROUNDS;
	for (unsigned r = 0; r < REGIONS; r++) {
		for (unsigned c = 0; c < CHANNELS; c++)
			codec_begin(&codecs[c], &writers[c], r);
		for (uint64_t page = 0; page < regions[r].pages; page++) {
			uint8_t *at = regions[r].base + page * PAGES_PAGE;
			unsigned c = page / 4 % CHANNELS;

			if (round > 1 && next_random(3) == 0)
				continue;
			scribble(at, round > 1 ? next_random(8) : next_random(3));
			while (codec_put(&codecs[c], &writers[c], round, page, at,
					 regions[r].present) == -ENOBUFS)
				flush(&codecs[c], &writers[c], 1 + c, round);
		}
		for (unsigned c = 0; c < CHANNELS; c++)
			flush(&codecs[c], &writers[c], 1 + c, round);
	}
	for (unsigned c = 0; c < CHANNELS; c++)
		put(1 + c, STREAM_ROUND_END, round, "", 0);
}

/* One channel with LZ4, the other with PACKED records. */
static void init_codecs(struct codec *codecs, struct pagecache *cache)
{
	must(codec_init(&codecs[0], CODEC_DELTA, cache, NULL) == 0, "codec");
	codecs[0].policy.link_ns = 100; /* slow: LZ4 where it helps */
	must(codec_init(&codecs[1], CODEC_ZSTD, cache, NULL) == 0, "codec");
	must(codec_allow_packing(&codecs[1], pages_area(ROOM), NULL) == 0, "packer");
}

static void put_rounds(void)
{
	struct pages_writer writers[CHANNELS];
	struct pagecache *cache = NULL;
	struct codec codecs[CHANNELS];

	must(pagecache_create(1 << 20, &cache, NULL) == 0, "cache");
	init_codecs(codecs, cache);
	for (unsigned c = 0; c < CHANNELS; c++)
		pages_init(&writers[c], aligned_alloc(PAGES_PAGE, pages_area(ROOM)), ROOM);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		Segue__RoundAck ack = SEGUE__ROUND_ACK__INIT;

		put_round(codecs, writers, round);
		ack.round = round;
		put_message(BACK, STREAM_ROUND_ACK, &ack.base);
		put(0, STREAM_ALIVE, 0, "", 0);
	}
	for (unsigned c = 0; c < CHANNELS; c++) {
		free(writers[c].area);
		codec_done(&codecs[c]);
	}
	pagecache_destroy(cache);
}

static void put_move(void)
{
	Segue__Welcome welcome = SEGUE__WELCOME__INIT;
	Segue__Finish finish = SEGUE__FINISH__INIT;
	Segue__Ready ready = SEGUE__READY__INIT;
	Segue__Grant grant = SEGUE__GRANT__INIT;
	Segue__Resumed resumed = SEGUE__RESUMED__INIT;

	for (unsigned c = 0; c <= CHANNELS; c++)
		put_hello(c);
	welcome.features = STREAM_FEATURE_PACKED | STREAM_FEATURE_PROBE;
	put_message(BACK, STREAM_WELCOME, &welcome.base);
	put(0, STREAM_PROBE, 0, "any bytes", 9);
	put(BACK, STREAM_PROBED, 0, "", 0);
	put_rounds();
	put(0, STREAM_STATE, 0, "opaque device state", 19);
	finish.rounds = ROUNDS;
	finish.paused_ns = 1000;
	put_message(0, STREAM_FINISH, &finish.base);
	ready.epoch = grant.epoch = resumed.epoch = 8;
	put_message(BACK, STREAM_READY, &ready.base);
	put_message(0, STREAM_GRANT, &grant.base);
	put_message(BACK, STREAM_RESUMED, &resumed.base);
	put(0, STREAM_DONE, 0, "", 0);
}

static FILE *create(const char *directory, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	must(file, path);
	return file;
}

static void open_files(const char *directory)
{
	files[0] = create(directory, "control.sgs");
	files[1] = create(directory, "data-1.sgs");
	files[2] = create(directory, "data-2.sgs");
	files[BACK] = create(directory, "control-back.sgs");
}

static void close_files(const char *directory)
{
	for (unsigned i = 0; i < CHANNELS + 2; i++)
		must(fclose(files[i]) == 0, "recording");
	for (unsigned r = 0; r < REGIONS; r++) {
		FILE *file = create(directory, r ? "memory.1" : "memory.0");

		must(fwrite(regions[r].base, PAGES_PAGE, regions[r].pages, file) ==
			     regions[r].pages,
		     "memory");
		must(fclose(file) == 0, "memory");
	}
}

int main(int argc, char **argv)
{
	bool small = argc == 3 && strcmp(argv[1], "--seed") == 0;

	must(small || argc == 2, "usage: record-stream DIRECTORY | --seed FILE");
	regions[0].pages = small ? 6 : 700;
	regions[1].pages = small ? 2 : 33;
	for (unsigned r = 0; r < REGIONS; r++) {
		regions[r].base = calloc(regions[r].pages, PAGES_PAGE);
		regions[r].present = bitmap_create(regions[r].pages);
		must(regions[r].base && regions[r].present, "memory");
	}
	if (small) {
		seed = fopen(argv[2], "wb");
		must(seed, argv[2]);
		fputc(0, seed);
	} else {
		open_files(argv[1]);
	}
	put_move();
	if (small)
		must(fclose(seed) == 0, argv[2]);
	else
		close_files(argv[1]);
	for (unsigned r = 0; r < REGIONS; r++) {
		free(regions[r].base);
		free(regions[r].present);
	}
	return 0;
}
