/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_STREAM_H
#define MIGRATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/error.h"

/*
 * Records of the migration stream (proto/stream.md, "Record"): headers made and checked,
 * no I/O. A writer or reader serves one direction of one connection and one thread.
 */
#define STREAM_MAGIC  0x31524753u
#define STREAM_HEADER 32u

#define STREAM_MAX_MESSAGE (64u << 10)
#define STREAM_MAX_PAGES   ((1u << 20) + (64u << 10))
#define STREAM_MAX_STATE   (16u << 20)
#define STREAM_MAX_LATE    (256u << 10)
#define STREAM_MAX_PROBE   (64u << 10)

enum stream_type {
	STREAM_HELLO = 1,
	STREAM_WELCOME = 2,
	STREAM_REFUSE = 3,
	STREAM_PAGES = 4,
	STREAM_ROUND_END = 5,
	STREAM_ROUND_ACK = 6,
	STREAM_STATE = 7,
	STREAM_FINISH = 8,
	STREAM_READY = 9,
	STREAM_GRANT = 10,
	STREAM_RESUMED = 11,
	STREAM_ABORT = 12,
	STREAM_QUERY = 13,
	STREAM_ANSWER = 14,
	STREAM_ALIVE = 15,
	STREAM_DONE = 16,
	STREAM_PACKED = 17,
	STREAM_PROBE = 18,
	STREAM_PROBED = 19,
};

/* What a destination says in WELCOME.features that it takes: bits. */
#define STREAM_FEATURE_PACKED 1u
#define STREAM_FEATURE_PROBE  2u

enum stream_way {
	STREAM_FORTH, /* source to destination */
	STREAM_BACK,  /* destination to source */
};

/*
 * Which records a connection carries. STREAM_FRESH is one just accepted, of which the
 * destination knows nothing yet: HELLO or QUERY, nothing else. Whoever has read that
 * record sets reader->connection to what it turned out to be.
 */
enum stream_connection {
	STREAM_FRESH,
	STREAM_CONTROL,
	STREAM_DATA,
	STREAM_DOUBT, /* a QUERY's */
};

/* "HELLO" and so on; "unknown" for a number that is none. */
const char *stream_type_name(unsigned type);

struct stream_header {
	enum stream_type type;
	uint32_t length; /* of the body, within the type's limit */
	uint32_t round;
	uint64_t sequence;
	uint64_t check;
	uint64_t seed;   /* of the body's check: the hash of header bytes 0 to 23 */
	uint64_t offset; /* of the header's first byte on its connection */
	bool unpacked;   /* made up for what was inside a PACKED record, LENGTH bytes */
};

/* ---- writing ---- */

struct stream_writer {
	uint64_t sequence; /* the next record's */
	uint64_t offset;   /* bytes of records sealed so far */
};

/*
 * Fills HEAD for a body made of N pieces (N may be 0), which must not change until they
 * are on the wire: the check is over them as they are now. 0, or -EMSGSIZE when the body
 * is longer than its type allows.
 */
int stream_seal(struct stream_writer *writer, enum stream_type type, uint32_t round,
		const struct iovec *body, unsigned n, uint8_t head[STREAM_HEADER],
		struct error *err);

/* ---- reading ---- */

/*
 * Zero-initialised apart from what is named here. ROUND is the one a data connection is
 * in; 0 counts as 1, it is moved on by ROUND_END.
 */
struct stream_reader {
	const char *name; /* the connection's, for errors ("data 3"); kept by pointer */
	enum stream_connection connection;
	enum stream_way way;
	uint32_t round;
	uint64_t sequence;
	uint64_t offset;
};

/*
 * Checks a header as far as it can be without its body: magic, type, direction, connection,
 * flags, length, round and sequence. On success the reader counts the whole record as
 * passed. 0, or -EBADMSG with an error that names connection, byte offset and reason;
 * the connection is of no more use then.
 */
int stream_parse_header(struct stream_reader *reader, const uint8_t head[STREAM_HEADER],
			struct stream_header *ret_header, struct error *err);

/*
 * Checks a body, whole and in as many pieces as it was read into, against its header.
 * 0 or -EBADMSG. The pieces' lengths must add up to header->length.
 */
int stream_check_body(const struct stream_reader *reader, const struct stream_header *header,
		      const struct iovec *body, unsigned n, struct error *err);

/* As above for the usual case of one piece of header->length bytes. */
int stream_check_bytes(const struct stream_reader *reader, const struct stream_header *header,
		       const void *body, struct error *err);

/*
 * -EBADMSG with "CONNECTION: byte OFFSET: " in front of the text, for what is wrong AT
 * bytes into the record's body; for what was unpacked, "CONNECTION: byte OFFSET: unpacked
 * byte AT: " with the offset of the PACKED record's body.
 */
int stream_error(struct error *err, const struct stream_reader *reader,
		 const struct stream_header *header, uint64_t at, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
