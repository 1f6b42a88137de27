/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "migrate/pack.h"
#include "migrate/stream_pages.h"
#include "proto/le.h"

#define ROOM (256u << 10)

static uint8_t plain[STREAM_MAX_PAGES + 1];
static struct packer *packer;
static struct unpacker *unpacker;
static const struct stream_reader reader = { .name = "data 1", .connection = STREAM_DATA };

static int set_up(void)
{
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)("page after page "[(i + i / 1000) % 16]);
	return packer_create(ROOM, &packer, NULL) || unpacker_create(&unpacker, NULL);
}

static int tear_down(void)
{
	packer_destroy(packer);
	packer_destroy(NULL);
	unpacker_destroy(unpacker);
	unpacker_destroy(NULL);
	return 0;
}

/* A copy of its own, so that ASan sees any look beyond it. */
static int unpack(const uint8_t *packed, size_t len, struct stream_header *ret_header,
		  const uint8_t **ret_body, struct error *err)
{
	struct stream_header header = { .type = STREAM_PACKED, .length = (uint32_t)len };
	uint8_t *exact = malloc(len ? len : 1);
	int r;

	memcpy(exact, packed, len);
	r = unpacker_unpack(unpacker, &reader, &header, exact, ret_header, ret_body, err);
	free(exact);
	return r;
}

static void test_there_and_back(void)
{
	static const size_t lengths[] = { 24, 600, 4096, 70000, ROOM };

	for (unsigned i = 0; i < 5; i++) {
		struct stream_header header;
		const uint8_t *body;
		uint8_t *packed;
		size_t len = packer_pack(packer, plain, lengths[i], &packed);

		if (lengths[i] < 100 && len == 0)
			continue;
		CU_ASSERT_TRUE_FATAL(len > PACK_HEAD && len < lengths[i]);
		CU_ASSERT_EQUAL_FATAL(unpack(packed, len, &header, &body, NULL), 0);
		CU_ASSERT_EQUAL(header.length, lengths[i]);
		CU_ASSERT_TRUE(header.unpacked);
		CU_ASSERT_EQUAL(memcmp(body, plain, lengths[i]), 0);
	}
}

static void test_not_worth_it(void)
{
	static uint8_t noise[ROOM];
	uint8_t *packed;

	for (size_t i = 0; i < ROOM; i++)
		noise[i] = (uint8_t)(rand() >> 7);
	CU_ASSERT_EQUAL(packer_pack(packer, noise, ROOM, &packed), 0);
	CU_ASSERT_EQUAL(packer_pack(packer, plain, 8, &packed), 0);
	CU_ASSERT_EQUAL(packer_pack(packer, plain, 0, &packed), 0);
	CU_ASSERT_EQUAL(packer_pack(packer, plain, ROOM + 1, &packed), 0);
	CU_ASSERT_TRUE(packer_pack(packer, plain, ROOM, &packed) > 0);
}

/* LEN bytes of INSIDE behind a head that says CONTENT: must be refused, and said why. */
static void refused(uint32_t content, uint32_t zero, const void *inside, size_t len,
		    const char *why)
{
	static uint8_t packed[STREAM_MAX_PAGES];
	struct stream_header header;
	struct error err = { 0 };
	const uint8_t *body;

	le32_put(packed, content);
	le32_put(packed + 4, zero);
	memcpy(packed + PACK_HEAD, inside, len);
	CU_ASSERT_EQUAL(unpack(packed, PACK_HEAD + len, &header, &body, &err), -EBADMSG);
	CU_ASSERT_EQUAL(strncmp(err.text, "data 1: byte ", 13), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, why));
}

static void test_hostile(void)
{
	static uint8_t frame[STREAM_MAX_PAGES];
	size_t n = ZSTD_compress(frame, sizeof(frame), plain, 5000, 1), twice;
	struct stream_header header;
	const uint8_t *body;
	uint8_t skippable[24] = { 0x50, 0x2a, 0x4d, 0x18, 16 };

	CU_ASSERT_EQUAL(unpack(frame, 0, &header, &body, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(unpack(frame, PACK_HEAD - 1, &header, &body, NULL), -EBADMSG);
	refused(5000, 0, frame, 0, "no zstd frame");
	refused(5000, 0, frame, 4, "another length");
	refused(5000, 1, frame, n, "unknown bits");
	refused(23, 0, frame, n, "23 bytes unpacked");
	refused(STREAM_MAX_PAGES + 1, 0, frame, n, "bytes unpacked");
	refused(UINT32_MAX, 0, frame, n, "bytes unpacked");
	refused(4999, 0, frame, n, "another length");
	refused(5001, 0, frame, n, "another length");
	refused(5000, 0, frame, n - 1, "does not end");
	refused(5000, 0, plain, 5000, "no zstd frame");
	refused(24, 0, skippable, sizeof(skippable), "no zstd frame");
	memcpy(frame + n, frame, n);
	refused(5000, 0, frame, 2 * n, "does not end");
	frame[0] = 0x27; /* zstd 0.7, which libzstd may still be built to read */
	refused(5000, 0, frame, n, "no zstd frame");
	twice = ZSTD_compress(frame, sizeof(frame), plain, STREAM_MAX_PAGES + 1, 1);
	refused(STREAM_MAX_PAGES + 1, 0, frame, twice, "bytes unpacked");
}

/* A frame that says 5000 bytes and has other blocks: RLE blocks cost four bytes each. */
static void test_swelling(void)
{
	uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0x88, 0x13, 0, 0, 0, 0, 0, 'x' };

	le16_put(frame + 9, (uint16_t)(5000u << 3 | 1u << 1 | 1));
	CU_ASSERT_EQUAL(frame[5] | frame[6] << 8, 5000);
	for (uint32_t size = 4999; size < 0x1ffff; size += size < 5001 ? 1 : 9999) {
		uint32_t block = size << 3 | 1u << 1 | 1;
		struct stream_header header;
		const uint8_t *body;
		uint8_t packed[PACK_HEAD + sizeof(frame)] = { 0x88, 0x13 };

		frame[9] = (uint8_t)block;
		frame[10] = (uint8_t)(block >> 8);
		frame[11] = (uint8_t)(block >> 16);
		memcpy(packed + PACK_HEAD, frame, sizeof(frame));
		CU_ASSERT_EQUAL(unpack(packed, sizeof(packed), &header, &body, NULL),
				size == 5000 ? 0 : -EBADMSG);
	}
}

/* Every bit of a frame flipped: refused, or what comes out has the length it said. */
static void test_every_bit(void)
{
	uint8_t *packed;
	size_t len = packer_pack(packer, plain, 3000, &packed);
	unsigned accepted = 0;

	CU_ASSERT_TRUE_FATAL(len > PACK_HEAD);
	for (size_t bit = 0; bit < len * 8; bit++) {
		struct stream_header header = { 0 };
		const uint8_t *body;

		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (unpack(packed, len, &header, &body, NULL) == 0) {
			CU_ASSERT_EQUAL(header.length, 3000);
			accepted++;
		}
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CU_ASSERT_TRUE(accepted < len * 8);
}

static void test_where(void)
{
	struct stream_header header = { .offset = 1000, .length = 500, .unpacked = true };
	struct error err = { 0 };

	stream_error(&err, &reader, &header, 77, "entry %u is odd", 3);
	CU_ASSERT_STRING_EQUAL(err.text, "data 1: byte 1032: unpacked byte 77: entry 3 is odd");
}

int main(void)
{
	CU_pSuite suite;

	srand(1);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("pack", set_up, tear_down);
	CU_add_test(suite, "there and back", test_there_and_back);
	CU_add_test(suite, "not worth it", test_not_worth_it);
	CU_add_test(suite, "hostile records", test_hostile);
	CU_add_test(suite, "frames that swell", test_swelling);
	CU_add_test(suite, "every bit", test_every_bit);
	CU_add_test(suite, "errors say where", test_where);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
