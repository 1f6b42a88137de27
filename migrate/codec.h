/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CODEC_H
#define MIGRATE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migrate/codec_page.h" /* codec_is_zero() */
#include "migrate/pagecache.h"
#include "migrate/stream_pages.h"
#include "proto/error.h"

/*
 * Pages to payloads and back: for each page the cheapest true description.
 */

/* ---- what pays: pure, see codec_policy.c ---- */

enum codec_mode {
	CODEC_AUTO,  /* what pays on this link with this content */
	CODEC_NONE,  /* zero and raw only */
	CODEC_LZ4,   /* LZ4 on every page, no deltas */
	CODEC_DELTA, /* deltas wherever there is a base, LZ4 where it pays */
	CODEC_ZSTD,  /* deltas wherever there is a base, whole records packed with zstd */
};

/* "", "auto", "none", "lz4", "delta", "zstd"; -EINVAL for anything else. */
int codec_mode_parse(const char *name, enum codec_mode *ret_mode, struct error *err);

/* What one codec has been worth lately: moving averages of a page. */
struct codec_worth {
	double ns;      /* spent */
	double saved;   /* bytes not sent */
	uint32_t tried; /* pages; records where those are packed */
};

/* What a record to be packed is made of: two things that pack very differently. */
enum codec_load {
	CODEC_PLAIN,   /* pages as they are */
	CODEC_CHANGES, /* deltas and the table of them */
};

#define CODEC_SPANS 3u

/* One a sender thread. */
struct codec_policy {
	enum codec_mode mode;
	double link_ns; /* a byte on the link costs this thread, 0 while unknown */
	double link_recent[CODEC_SPANS]; /* the same of the last spans, the newest first */
	unsigned link_spans;             /* seen, at most CODEC_SPANS */
	uint64_t span_bytes, span_ns;    /* of the span under way */
	double link_least; /* a byte cost at least this in the last round, its end included */
	uint64_t round_bytes, round_ns;  /* of the round under way */
	struct codec_worth lz4, delta;
	struct codec_worth zstd[2]; /* by enum codec_load; of 4096 bytes of a record */
};

void codec_policy_init(struct codec_policy *policy, enum codec_mode mode);
/* Tells what sending took: BYTES handed to the link in NS, waiting included. */
void codec_policy_link(struct codec_policy *policy, uint64_t bytes, uint64_t ns);
/*
 * The round is over, WAITED_NS after the last of it was handed to the link, and had ALL_BYTES
 * over all connections. A round finds the sockets' buffers empty, which take its first
 * megabytes for nothing; what the round cost as a whole is the least the next is taken to.
 */
void codec_policy_round(struct codec_policy *policy, uint64_t all_bytes, uint64_t waited_ns);
/*
 * Should PAGE be tried with KIND (LZ4 or DELTA)? Where KIND does not pay, the answer is
 * still yes for one page in CODEC_PROBE, always the same ones, so that a change is noticed
 * and a delta's probe finds what it stored the last time.
 */
#define CODEC_PROBE 256u
bool codec_policy_try(const struct codec_policy *policy, enum pages_kind kind, uint64_t page);
/*
 * What tries are timed with: this thread's processor time, ns. By the wall, what takes long
 * would look dearer yet, for it is in the middle of that that a thread loses its processor.
 */
uint64_t codec_clock(void);
/* Whether the try that follows is to be timed: reading the clock costs, too. */
bool codec_policy_timed(const struct codec_policy *policy, enum pages_kind kind);
/*
 * Tells what the try made of a page: LENGTH bytes (PAGES_PAGE: it gave nothing), in NS
 * (0: not timed).
 */
void codec_policy_tried(struct codec_policy *policy, enum pages_kind kind, uint64_t ns,
			uint32_t length);
/*
 * Should record number RECORD be packed with zstd? Where it does not pay, one in
 * CODEC_PACK_PROBE still is, if it could pay were there nothing left of it.
 */
#define CODEC_PACK_PROBE 64u
bool codec_policy_pack(const struct codec_policy *policy, enum codec_load load, uint32_t record);
/* Tells what came of it: BYTES became LENGTH, in NS. */
void codec_policy_packed(struct codec_policy *policy, enum codec_load load, uint64_t ns,
			 size_t bytes, size_t length);

/* ---- sending: one a sender thread ---- */

struct codec_stats { /* pages; read by others between rounds only */
	uint64_t zero;      /* sent as zero */
	uint64_t skipped;   /* zero and never sent otherwise: nothing to send */
	uint64_t unchanged; /* the destination has it already: nothing to send */
	uint64_t raw, lz4, delta;
	uint64_t packed; /* of raw and delta: in records that were packed */
};

struct codec_work;
struct packer;

struct codec {
	struct codec_policy policy;
	struct pagecache *cache; /* shared, NULL: no deltas */
	struct codec_stats stats;
	bool last_round;         /* the caller's to set: nothing more need be remembered */
	struct codec_work *work; /* LZ4's state and scratch pages */
	struct packer *packer;   /* NULL: no record is packed */
	bool packing;            /* the record under construction is to be */
	uint32_t records;        /* begun */
};

/* CACHE may be NULL and outlives the codec. 0 or -ENOMEM. */
int codec_init(struct codec *codec, enum codec_mode mode, struct pagecache *cache,
	       struct error *err);
void codec_done(struct codec *codec); /* idempotent */
/*
 * The destination takes PACKED records: pack where that pays, or always, as the mode says.
 * BODY: the longest body that will be sealed. 0 or -ENOMEM.
 */
int codec_allow_packing(struct codec *codec, size_t body, struct error *err);

/*
 * Around codec_put(), as pages_begin() and pages_seal(): the record may come out PACKED. What
 * is packed is the writer's copy, which nobody writes any more.
 */
void codec_begin(struct codec *codec, struct pages_writer *writer, unsigned region);
int codec_seal(struct codec *codec, struct pages_writer *writer, struct stream_writer *stream,
	       uint32_t round, const uint8_t **ret_record, size_t *ret_len, struct error *err);

/*
 * Puts one page into the record under construction, or nothing when nothing need be said.
 * LIVE may be written by the guest meanwhile: a copy is taken, and only the copy is hashed,
 * packed and remembered. PRESENT has a bit for each page of the region the destination
 * holds as something other than zero; it is brought up to date. Only one thread at a time
 * may work on a word of it (see round_take()).
 *
 * 0, or -ENOBUFS when the record is full: nothing has been done, seal, send, begin and
 * call again.
 */
int codec_put(struct codec *codec, struct pages_writer *writer, uint32_t round, uint64_t page,
	      const uint8_t *live, uint64_t *present);

/*
 * The same for COUNT pages known to be zero without looking (a hole in the memfd: reading
 * one would fill it). Puts ZERO runs only for pages the destination holds as something else.
 * *ret_done says how many pages are done with; 0 when all are, else -ENOBUFS.
 */
int codec_put_hole(struct codec *codec, struct pages_writer *writer, uint64_t first,
		   uint64_t count, uint64_t *present, uint64_t *ret_done);

/* ---- receiving ---- */

/* A region being filled. Several threads may apply to one target, not to the same page. */
struct codec_target {
	uint8_t *base;
	uint64_t pages;
	uint64_t *present; /* a bit a page that may be other than zero; at first all clear */
	/*
	 * The memfd BASE maps from its offset 0, or 0. Where it is given, pages that were
	 * never anything but zero are written through it: that is half the price of having
	 * each of them faulted in. They are mapped when they are next touched.
	 */
	int fd;
	bool huge; /* a fault brings in 2 MiB: short runs are cheaper faulted than written */
	/*
	 * Makes COUNT present pages read as zero (punch a hole, say); NULL: memset. 0 or a
	 * negative errno.
	 */
	int (*zero)(void *context, uint64_t first, uint64_t count, struct error *err);
	void *context;
};

/*
 * Does what an entry says. ENTRY comes from pages_parse_table() with the same region's
 * length; PAYLOAD is entry->length bytes. Zero pages that were never anything else are not
 * touched. 0, -EBADMSG for a payload that does not unpack, or what target->zero() or writing
 * to target->fd returned.
 */
int codec_apply(const struct codec_target *target, const struct pages_entry *entry,
		const uint8_t *payload, struct error *err);

/*
 * The same for a RAW entry whose payload has been received in its place already
 * (base + first * 4096): only marks the pages.
 */
void codec_applied(const struct codec_target *target, const struct pages_entry *entry);

/* One page's payload onto a page, bounds checked. KIND as it came. 0 or -EBADMSG. */
int codec_unpack(unsigned kind, uint8_t *page, const uint8_t *payload, uint32_t length,
		 struct error *err);

#endif
