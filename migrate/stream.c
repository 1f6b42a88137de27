/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#include <xxh_x86dispatch.h>

#include "proto/le.h"

/* The header's layout (stream.md, "Record"); byte arrays, so that nothing is padded. */
struct stream_wire {
	uint8_t magic[4];
	uint8_t type[2];
	uint8_t flags[2];
	uint8_t length[4];
	uint8_t round[4];
	uint8_t sequence[8];
	uint8_t check[8];
};
_Static_assert(sizeof(struct stream_wire) == STREAM_HEADER, "stream.md: 32 bytes");
_Static_assert(offsetof(struct stream_wire, type) == 4, "stream.md");
_Static_assert(offsetof(struct stream_wire, flags) == 6, "stream.md");
_Static_assert(offsetof(struct stream_wire, length) == 8, "stream.md");
_Static_assert(offsetof(struct stream_wire, round) == 12, "stream.md");
_Static_assert(offsetof(struct stream_wire, sequence) == 16, "stream.md");
_Static_assert(offsetof(struct stream_wire, check) == 24, "stream.md");

#define FORTH   (1u << STREAM_FORTH)
#define BACK    (1u << STREAM_BACK)
#define FRESH   (1u << STREAM_FRESH)
#define CONTROL (1u << STREAM_CONTROL)
#define DATA    (1u << STREAM_DATA)
#define DOUBT   (1u << STREAM_DOUBT)

/* The table of types in stream.md, row by row. */
static const struct rule {
	const char *name;
	unsigned ways, connections;
	uint32_t longest;
	bool has_round;
} rules[] = {
	[STREAM_HELLO] = { "HELLO", FORTH, FRESH, STREAM_MAX_MESSAGE, false },
	[STREAM_WELCOME] = { "WELCOME", BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_REFUSE] = { "REFUSE", BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_PAGES] = { "PAGES", FORTH, DATA, STREAM_MAX_PAGES, true },
	[STREAM_ROUND_END] = { "ROUND_END", FORTH, DATA, 0, true },
	[STREAM_ROUND_ACK] = { "ROUND_ACK", BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_STATE] = { "STATE", FORTH, CONTROL, STREAM_MAX_STATE, false },
	[STREAM_FINISH] = { "FINISH", FORTH, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_READY] = { "READY", BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_GRANT] = { "GRANT", FORTH, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_RESUMED] = { "RESUMED", BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_ABORT] = { "ABORT", FORTH | BACK, CONTROL, STREAM_MAX_MESSAGE, false },
	[STREAM_QUERY] = { "QUERY", FORTH, FRESH, STREAM_MAX_MESSAGE, false },
	[STREAM_ANSWER] = { "ANSWER", BACK, DOUBT, STREAM_MAX_MESSAGE, false },
	[STREAM_ALIVE] = { "ALIVE", FORTH | BACK, CONTROL, 0, false },
	[STREAM_DONE] = { "DONE", FORTH, CONTROL, STREAM_MAX_LATE, false },
	[STREAM_PACKED] = { "PACKED", FORTH, DATA, STREAM_MAX_PAGES, true },
	[STREAM_PROBE] = { "PROBE", FORTH, CONTROL, STREAM_MAX_PROBE, false },
	[STREAM_PROBED] = { "PROBED", BACK, CONTROL, 0, false },
};

static const struct rule *rule_of(unsigned type)
{
	if (type >= sizeof(rules) / sizeof(rules[0]) || !rules[type].name)
		return NULL;
	return &rules[type];
}

const char *stream_type_name(unsigned type)
{
	const struct rule *rule = rule_of(type);

	return rule ? rule->name : "unknown";
}

static uint64_t header_seed(const struct stream_wire *wire)
{
	return XXH3_64bits_dispatch(wire, offsetof(struct stream_wire, check));
}

static uint64_t body_check(uint64_t seed, const struct iovec *body, unsigned n)
{
	XXH3_state_t state;

	if (n == 0)
		return XXH3_64bits_withSeed_dispatch("", 0, seed);
	if (n == 1)
		return XXH3_64bits_withSeed_dispatch(body->iov_base, body->iov_len, seed);
	XXH3_INITSTATE(&state);
	XXH3_64bits_reset_withSeed(&state, seed);
	for (unsigned i = 0; i < n; i++)
		XXH3_64bits_update_dispatch(&state, body[i].iov_base, body[i].iov_len);
	return XXH3_64bits_digest(&state);
}

static size_t body_length(const struct iovec *body, unsigned n)
{
	size_t length = 0;

	for (unsigned i = 0; i < n; i++)
		length += body[i].iov_len;
	return length;
}

int stream_seal(struct stream_writer *writer, enum stream_type type, uint32_t round,
		const struct iovec *body, unsigned n, uint8_t head[STREAM_HEADER],
		struct error *err)
{
	struct stream_wire *wire = (struct stream_wire *)head;
	const struct rule *rule = rule_of(type);
	size_t length = body_length(body, n);

	if (!rule || (round != 0) != rule->has_round)
		return error_set(err, -EINVAL, "no %s record can be made for round %u",
				 stream_type_name(type), round);
	if (length > rule->longest)
		return error_set(err, -EMSGSIZE, "%s would be %zu bytes, the longest is %u",
				 rule->name, length, rule->longest);
	le32_put(wire->magic, STREAM_MAGIC);
	le16_put(wire->type, (uint16_t)type);
	le16_put(wire->flags, 0);
	le32_put(wire->length, (uint32_t)length);
	le32_put(wire->round, round);
	le64_put(wire->sequence, writer->sequence);
	le64_put(wire->check, body_check(header_seed(wire), body, n));
	writer->sequence++;
	writer->offset += STREAM_HEADER + length;
	return 0;
}

static int error_at(struct error *err, const struct stream_reader *reader, uint64_t offset,
		    const char *text)
{
	return error_set(err, -EBADMSG, "%s: byte %llu: %s",
			 reader->name ? reader->name : "connection", (unsigned long long)offset,
			 text);
}

int stream_error(struct error *err, const struct stream_reader *reader,
		 const struct stream_header *header, uint64_t at, const char *format, ...)
{
	char text[256];
	size_t used = 0;
	va_list args;

	if (header->unpacked)
		used = (size_t)snprintf(text, sizeof(text), "unpacked byte %llu: ",
					(unsigned long long)at);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	return error_at(err, reader,
			header->offset + STREAM_HEADER + (header->unpacked ? 0 : at), text);
}

__attribute__((format(printf, 4, 5))) static int
header_error(struct error *err, const struct stream_reader *reader, size_t field,
	     const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return error_at(err, reader, reader->offset + field, text);
}

#define FIELD(name) offsetof(struct stream_wire, name)

static const char *const connection_names[] = {
	[STREAM_FRESH] = "a new",
	[STREAM_CONTROL] = "the control",
	[STREAM_DATA] = "a data",
	[STREAM_DOUBT] = "a query's",
};

static int check_place(const struct stream_reader *reader, const struct rule *rule,
		       struct error *err)
{
	if (!(rule->ways & 1u << reader->way))
		return header_error(err, reader, FIELD(type), "%s does not go this way",
				    rule->name);
	if (!(rule->connections & 1u << reader->connection))
		return header_error(err, reader, FIELD(type),
				    "%s does not belong on %s connection", rule->name,
				    connection_names[reader->connection]);
	return 0;
}

static int check_round(const struct stream_reader *reader, const struct rule *rule,
		       uint32_t round, struct error *err)
{
	uint32_t expected = reader->round ? reader->round : 1;

	if (!rule->has_round)
		expected = 0;
	if (round != expected)
		return header_error(err, reader, FIELD(round), "%s of round %u, expected %u",
				    rule->name, round, expected);
	return 0;
}

static int check_header(const struct stream_reader *reader, const struct stream_wire *wire,
			struct error *err)
{
	const struct rule *rule = rule_of(le16_get(wire->type));
	uint32_t length = le32_get(wire->length);
	uint64_t sequence = le64_get(wire->sequence);
	int r;

	if (le32_get(wire->magic) != STREAM_MAGIC)
		return header_error(err, reader, FIELD(magic), "no record begins here");
	if (!rule)
		return header_error(err, reader, FIELD(type), "unknown record type %u",
				    le16_get(wire->type));
	if (le16_get(wire->flags) != 0)
		return header_error(err, reader, FIELD(flags), "unknown flags 0x%x in %s",
				    le16_get(wire->flags), rule->name);
	r = check_place(reader, rule, err);
	if (r < 0)
		return r;
	if (length > rule->longest)
		return header_error(err, reader, FIELD(length),
				    "%s of %u bytes, the longest is %u", rule->name, length,
				    rule->longest);
	if (sequence != reader->sequence)
		return header_error(err, reader, FIELD(sequence),
				    "%s has sequence number %llu, expected %llu", rule->name,
				    (unsigned long long)sequence,
				    (unsigned long long)reader->sequence);
	return check_round(reader, rule, le32_get(wire->round), err);
}

int stream_parse_header(struct stream_reader *reader, const uint8_t head[STREAM_HEADER],
			struct stream_header *ret_header, struct error *err)
{
	const struct stream_wire *wire = (const struct stream_wire *)head;
	int r = check_header(reader, wire, err);

	if (r < 0)
		return r;
	*ret_header = (struct stream_header){
		.type = le16_get(wire->type),
		.length = le32_get(wire->length),
		.round = le32_get(wire->round),
		.sequence = le64_get(wire->sequence),
		.check = le64_get(wire->check),
		.seed = header_seed(wire),
		.offset = reader->offset,
	};
	reader->sequence++;
	reader->offset += STREAM_HEADER + (uint64_t)ret_header->length;
	if (ret_header->type == STREAM_ROUND_END)
		reader->round = ret_header->round + 1;
	return 0;
}

int stream_check_body(const struct stream_reader *reader, const struct stream_header *header,
		      const struct iovec *body, unsigned n, struct error *err)
{
	if (body_length(body, n) != header->length)
		return stream_error(err, reader, header, 0, "%s body is %zu bytes, not %u",
				    stream_type_name(header->type), body_length(body, n),
				    header->length);
	if (body_check(header->seed, body, n) != header->check)
		return stream_error(err, reader, header, 0, "%s fails its check",
				    stream_type_name(header->type));
	return 0;
}

int stream_check_bytes(const struct stream_reader *reader, const struct stream_header *header,
		       const void *body, struct error *err)
{
	struct iovec piece = { .iov_base = (void *)(uintptr_t)body, .iov_len = header->length };

	return stream_check_body(reader, header, &piece, header->length ? 1 : 0, err);
}
