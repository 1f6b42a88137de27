/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "fake_machine.h"
#include "proto/le.h"
#include "vmm/virtio/queue.h"

/* The test is the driver: it writes rings by hand, right and wrong. */
#define SIZE      8u
#define DESC      0x1000u
#define AVAIL     0x2000u
#define USED      0x3000u
#define INDIRECT  0x4000u
#define DATA      0x10000u
#define RAM_BYTES (4u << 20)

static struct machine *m;
static struct virtq q;
static struct virtq_chain chain;

static uint8_t *at(uint64_t gpa)
{
	return ram_at(m->ram, gpa, 1);
}

static void desc_at(uint64_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		    uint16_t next)
{
	uint8_t *d = at(table + 16 * i);

	le64_put(d, addr);
	le32_put(d + 8, len);
	le16_put(d + 12, flags);
	le16_put(d + 14, next);
}

static void offer(uint16_t head)
{
	uint16_t idx = le16_get(at(AVAIL + 2));

	le16_put(at(AVAIL + 4 + 2 * (idx % SIZE)), head);
	le16_put(at(AVAIL + 2), (uint16_t)(idx + 1));
}

static void begin(bool event_idx)
{
	memset(at(0), 0, 0x20000);
	virtq_reset(&q, m->ram);
	q.size = SIZE;
	q.desc = DESC;
	q.avail = AVAIL;
	q.used = USED;
	CU_ASSERT_EQUAL_FATAL(virtq_enable(&q, event_idx), 0);
}

static void test_enable(void)
{
	struct {
		uint16_t size;
		uint64_t desc, avail, used;
		int r;
	} cases[] = {
	    {8, DESC, AVAIL, USED, 0},
	    {256, DESC, AVAIL, USED, 0},
	    {0, DESC, AVAIL, USED, -EINVAL},
	    {7, DESC, AVAIL, USED, -EINVAL},
	    {512, DESC, AVAIL, USED, -EINVAL},
	    {8, DESC + 8, AVAIL, USED, -EINVAL},
	    {8, DESC, AVAIL + 1, USED, -EINVAL},
	    {8, DESC, AVAIL, USED + 2, -EINVAL},
	    {8, RAM_BYTES - 64, AVAIL, USED, -EINVAL},
	    {8, DESC, RAM_BYTES - 20, USED, -EINVAL},
	    {8, DESC, RAM_BYTES - 22, USED, 0},
	    {8, DESC, AVAIL, RAM_BYTES - 68, -EINVAL},
	    {8, DESC, AVAIL, UINT64_MAX - 3, -EINVAL},
	    {8, UINT64_MAX - 15, AVAIL, USED, -EINVAL},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		virtq_reset(&q, m->ram);
		q.size = cases[i].size;
		q.desc = cases[i].desc;
		q.avail = cases[i].avail;
		q.used = cases[i].used;
		CU_ASSERT_EQUAL(virtq_enable(&q, false), cases[i].r);
		CU_ASSERT_EQUAL(q.enabled, cases[i].r == 0);
	}
}

static void test_round(void)
{
	begin(false);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 0);
	memcpy(at(DATA), "hello", 5);
	desc_at(DESC, 3, DATA, 5, VRING_DESC_F_NEXT, 1);
	desc_at(DESC, 1, DATA + 0x2000, 100, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 7);
	desc_at(DESC, 7, DATA + 0x4000, 28, VRING_DESC_F_WRITE, 0);
	offer(3);
	CU_ASSERT_EQUAL_FATAL(virtq_pop(&q, &chain), 1);
	CU_ASSERT_EQUAL(chain.head, 3);
	CU_ASSERT_EQUAL(chain.n_out, 1);
	CU_ASSERT_EQUAL(chain.n_in, 2);
	CU_ASSERT_EQUAL(chain.out_len, 5);
	CU_ASSERT_EQUAL(chain.in_len, 128);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 0);
	CU_ASSERT_FALSE(virtq_wants_signal(&q));

	ram_track(m->ram, true);
	virtq_push(&q, &chain, 101);
	CU_ASSERT_TRUE(virtq_wants_signal(&q));
	CU_ASSERT_FALSE(virtq_wants_signal(&q));
	CU_ASSERT_EQUAL(le16_get(at(USED + 2)), 1);
	CU_ASSERT_EQUAL(le32_get(at(USED + 4)), 3);
	CU_ASSERT_EQUAL(le32_get(at(USED + 8)), 101);
	uint64_t dirty[RAM_BYTES / RAM_PAGE / 64] = {0};
	ram_harvest(m->ram, dirty);
	/* The used ring and both buffers; nothing else. */
	CU_ASSERT_EQUAL(dirty[0], 1ull << 3 | 1ull << 0x12 | 1ull << 0x14);
	ram_track(m->ram, false);
}

static void test_no_interrupt(void)
{
	begin(false);
	le16_put(at(AVAIL), VRING_AVAIL_F_NO_INTERRUPT);
	desc_at(DESC, 0, DATA, 5, 0, 0);
	offer(0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
	virtq_push(&q, &chain, 0);
	CU_ASSERT_FALSE(virtq_wants_signal(&q));
}

static void test_event_idx(void)
{
	begin(true);
	desc_at(DESC, 0, DATA, 5, 0, 0);
	/* The driver wants to hear of the third. */
	le16_put(at(AVAIL + 4 + 2 * SIZE), 2);
	for (unsigned i = 0; i < 5; i++) {
		offer(0);
		CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
		virtq_push(&q, &chain, 0);
		CU_ASSERT_EQUAL(virtq_wants_signal(&q), i == 2);
	}
	/* Found empty: the device asks to be told of the next, number 5. */
	CU_ASSERT_EQUAL(le16_get(at(USED + 4 + 8 * SIZE)), 0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 0);
	CU_ASSERT_EQUAL(le16_get(at(USED + 4 + 8 * SIZE)), 5);
}

static void test_wrap(void)
{
	Segue__VirtioQueue state = SEGUE__VIRTIO_QUEUE__INIT;

	begin(false);
	virtq_save(&q, &state);
	state.next_avail = state.next_used = 0xfffe;
	virtq_reset(&q, m->ram);
	CU_ASSERT_EQUAL_FATAL(virtq_load(&q, &state, false), 0);
	le16_put(at(AVAIL + 2), 0xfffe);
	desc_at(DESC, 0, DATA, 5, 0, 0);
	for (unsigned i = 0; i < 6; i++) {
		offer(0);
		CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
		virtq_push(&q, &chain, 0);
		CU_ASSERT_TRUE(virtq_wants_signal(&q));
	}
	CU_ASSERT_EQUAL(le16_get(at(USED + 2)), 4);
}

static void expect_broken(void)
{
	offer(0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), -EINVAL);
	begin(false);
}

static void test_hostile(void)
{
	begin(false);
	/* A loop of one, of two, and one of empty buffers. */
	desc_at(DESC, 0, DATA, 16, VRING_DESC_F_NEXT, 0);
	expect_broken();
	desc_at(DESC, 0, DATA, 16, VRING_DESC_F_NEXT, 1);
	desc_at(DESC, 1, DATA, 0, VRING_DESC_F_NEXT, 0);
	expect_broken();
	desc_at(DESC, 0, DATA, 0, VRING_DESC_F_NEXT, 0);
	expect_broken();
	/* Next outside the table. */
	desc_at(DESC, 0, DATA, 16, VRING_DESC_F_NEXT, SIZE);
	expect_broken();
	/* Not memory; over its end; around the end of the address space. */
	desc_at(DESC, 0, RAM_BYTES, 16, 0, 0);
	expect_broken();
	desc_at(DESC, 0, RAM_BYTES - 15, 16, 0, 0);
	expect_broken();
	desc_at(DESC, 0, UINT64_MAX, 16, 0, 0);
	expect_broken();
	desc_at(DESC, 0, DATA, UINT32_MAX, 0, 0);
	expect_broken();
	desc_at(DESC, 0, LAYOUT_LAPIC, 16, VRING_DESC_F_WRITE, 0);
	expect_broken();
	/* Readable after writable. */
	desc_at(DESC, 0, DATA, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	desc_at(DESC, 1, DATA, 16, 0, 0);
	expect_broken();
	/* A head outside the table. */
	offer(SIZE);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), -EINVAL);
	/* More than the ring can hold. */
	begin(false);
	le16_put(at(AVAIL + 2), SIZE + 1);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), -EINVAL);
	le16_put(at(AVAIL + 2), 0xffff);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), -EINVAL);
}

static void test_indirect(void)
{
	begin(false);
	desc_at(DESC, 0, DATA, 3, VRING_DESC_F_NEXT, 1);
	desc_at(DESC, 1, INDIRECT, 48, VRING_DESC_F_INDIRECT, 0);
	desc_at(INDIRECT, 0, DATA + 3, 4, VRING_DESC_F_NEXT, 2);
	desc_at(INDIRECT, 2, DATA + 16, 5, VRING_DESC_F_WRITE, 9);
	offer(0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
	CU_ASSERT_EQUAL(chain.out_len, 7);
	CU_ASSERT_EQUAL(chain.in_len, 5);
	CU_ASSERT_EQUAL(chain.head, 0);

	/* With a next; in another; of odd length; empty; not in memory; next outside; loop. */
	begin(false);
	desc_at(DESC, 0, INDIRECT, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	desc_at(INDIRECT, 0, DATA, 4, 0, 0);
	expect_broken();
	desc_at(DESC, 0, INDIRECT, 16, VRING_DESC_F_INDIRECT, 0);
	desc_at(INDIRECT, 0, INDIRECT, 16, VRING_DESC_F_INDIRECT, 0);
	expect_broken();
	desc_at(DESC, 0, INDIRECT, 17, VRING_DESC_F_INDIRECT, 0);
	expect_broken();
	desc_at(DESC, 0, INDIRECT, 0, VRING_DESC_F_INDIRECT, 0);
	expect_broken();
	desc_at(DESC, 0, RAM_BYTES - 16, 32, VRING_DESC_F_INDIRECT, 0);
	expect_broken();
	desc_at(DESC, 0, INDIRECT, 16, VRING_DESC_F_INDIRECT, 0);
	desc_at(INDIRECT, 0, DATA, 4, VRING_DESC_F_NEXT, 1);
	expect_broken();
	desc_at(DESC, 0, INDIRECT, 32, VRING_DESC_F_INDIRECT, 0);
	desc_at(INDIRECT, 0, DATA, 4, VRING_DESC_F_NEXT, 1);
	desc_at(INDIRECT, 1, DATA, 4, VRING_DESC_F_NEXT, 0);
	expect_broken();
}

static void test_longest(void)
{
	begin(false);
	desc_at(DESC, 0, INDIRECT, 16 * (VIRTQ_SEGS + 1), VRING_DESC_F_INDIRECT, 0);
	for (unsigned i = 0; i < VIRTQ_SEGS; i++)
		desc_at(INDIRECT, i, DATA + i, 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	desc_at(INDIRECT, VIRTQ_SEGS - 1, DATA, 1, 0, 0);
	offer(0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
	CU_ASSERT_EQUAL(chain.out_len, VIRTQ_SEGS);
	/* One more is too many. */
	desc_at(INDIRECT, VIRTQ_SEGS - 1, DATA, 1, VRING_DESC_F_NEXT, VIRTQ_SEGS);
	desc_at(INDIRECT, VIRTQ_SEGS, DATA, 1, 0, 0);
	offer(0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), -EINVAL);
}

static void test_copies(void)
{
	struct iovec iov[VIRTQ_SEGS];
	char text[16] = "";

	begin(false);
	memcpy(at(DATA), "abcdefgh", 8);
	desc_at(DESC, 0, DATA, 3, VRING_DESC_F_NEXT, 1);
	desc_at(DESC, 1, DATA + 3, 0, VRING_DESC_F_NEXT, 2);
	desc_at(DESC, 2, DATA + 3, 5, VRING_DESC_F_NEXT, 3);
	desc_at(DESC, 3, DATA + 0x100, 2, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 4);
	desc_at(DESC, 4, DATA + 0x200, 4, VRING_DESC_F_WRITE, 0);
	offer(0);
	CU_ASSERT_EQUAL_FATAL(virtq_pop(&q, &chain), 1);
	CU_ASSERT_EQUAL(chain_read(&chain, 2, text, sizeof(text)), 6);
	CU_ASSERT_STRING_EQUAL(text, "cdefgh");
	CU_ASSERT_EQUAL(chain_read(&chain, 8, text, sizeof(text)), 0);
	CU_ASSERT_EQUAL(chain_read(&chain, UINT64_MAX, text, sizeof(text)), 0);
	CU_ASSERT_EQUAL(chain_write(&chain, 1, "123456789", 9), 5);
	CU_ASSERT_EQUAL(memcmp(at(DATA + 0x100),
			       "\0"
			       "1",
			       3),
			0);
	CU_ASSERT_EQUAL(memcmp(at(DATA + 0x200), "2345", 5), 0);
	CU_ASSERT_EQUAL(chain_slice(&chain, true, 1, 2, iov), 2);
	CU_ASSERT_EQUAL(iov[0].iov_len, 1);
	CU_ASSERT_EQUAL(iov[1].iov_len, 1);
	ram_track(m->ram, true);
	chain_mark(m->ram, &chain, 2, 4);
	CU_ASSERT_TRUE(fake_dirty(m, DATA));
	ram_track(m->ram, false);
}

static void test_unpop_and_publish(void)
{
	struct virtq_chain first;

	begin(false);
	for (uint16_t i = 0; i < 3; i++) {
		desc_at(DESC, i, DATA, 8, VRING_DESC_F_WRITE, 0);
		offer(i);
	}
	CU_ASSERT_EQUAL(virtq_pop(&q, &first), 1);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
	virtq_unpop(&q, 2);
	CU_ASSERT_EQUAL(virtq_pop(&q, &first), 1);
	CU_ASSERT_EQUAL(first.head, 0);
	CU_ASSERT_EQUAL(virtq_pop(&q, &chain), 1);
	CU_ASSERT_EQUAL(chain.head, 1);
	virtq_fill(&q, 1, chain.head, 7);
	CU_ASSERT_EQUAL(le16_get(at(USED + 2)), 0);
	virtq_fill(&q, 0, first.head, 8);
	virtq_publish(&q, 2);
	CU_ASSERT_EQUAL(le16_get(at(USED + 2)), 2);
	CU_ASSERT_EQUAL(le32_get(at(USED + 4)), 0);
	CU_ASSERT_EQUAL(le32_get(at(USED + 12)), 1);
	CU_ASSERT_EQUAL(le32_get(at(USED + 16)), 7);
}

static void test_load_hostile(void)
{
	Segue__VirtioQueue good = SEGUE__VIRTIO_QUEUE__INIT, bad;

	begin(false);
	virtq_save(&q, &good);
	virtq_reset(&q, m->ram);
	CU_ASSERT_EQUAL(virtq_load(&q, &good, true), 0);
	CU_ASSERT_TRUE(q.enabled && q.event_idx);
#define REFUSED(field, value)                                                                  \
	bad = good;                                                                            \
	bad.field = value;                                                                     \
	virtq_reset(&q, m->ram);                                                               \
	CU_ASSERT_EQUAL(virtq_load(&q, &bad, false), -EINVAL);                                 \
	CU_ASSERT_FALSE(q.enabled)
	REFUSED(size, 65536 + 8);
	REFUSED(size, 9);
	REFUSED(next_avail, 65536);
	REFUSED(next_used, UINT32_MAX);
	REFUSED(desc, UINT64_MAX & ~15ull);
	REFUSED(used, RAM_BYTES);
}

int main(void)
{
	CU_pSuite suite;

	m = fake_new(RAM_BYTES);
	CU_initialize_registry();
	suite = CU_add_suite("virtio queue", NULL, NULL);
	CU_ADD_TEST(suite, test_enable);
	CU_ADD_TEST(suite, test_round);
	CU_ADD_TEST(suite, test_no_interrupt);
	CU_ADD_TEST(suite, test_event_idx);
	CU_ADD_TEST(suite, test_wrap);
	CU_ADD_TEST(suite, test_hostile);
	CU_ADD_TEST(suite, test_indirect);
	CU_ADD_TEST(suite, test_longest);
	CU_ADD_TEST(suite, test_copies);
	CU_ADD_TEST(suite, test_unpop_and_publish);
	CU_ADD_TEST(suite, test_load_hostile);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	fake_free(m);
	return CU_get_number_of_failures() != 0;
}
