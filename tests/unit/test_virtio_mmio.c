/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#include "mini_driver.h"
#include "proto/le.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/* The memory-mapped transport: its registers, its line, its doorbell, its state. */
#define RAM_BYTES (16u << 20)
#define HEAP      0x100000u
#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)

static struct machine *m;
static struct mini mini;
static struct error err;

static void begin(void)
{
	m = fake_new_pv(RAM_BYTES);
	err = (struct error){0};
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_RNG, 0, HEAP));
}

static uint32_t get(unsigned offset)
{
	return (uint32_t)fake_read(m, mini.common + offset, 4);
}

static void put(unsigned offset, uint32_t value)
{
	fake_write(m, mini.common + offset, value, 4);
}

static bool line(void)
{
	return m->lines >> mini.line & 1;
}

static void settle(void)
{
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
}

static void ask_entropy(void)
{
	struct mini_seg seg = {mini_alloc(&mini, 1024), 1024};

	CU_ASSERT_EQUAL(mini_do(&mini, 0, &seg, 0, 1), 1024);
	CU_ASSERT_FALSE(line()); /* acknowledged */
}

static void offer(unsigned len)
{
	struct mini_seg seg = {mini_alloc(&mini, len), len};

	mini_add(&mini, 0, &seg, 0, 1);
	mini_kick(&mini, 0);
}

static void test_work(void)
{
	const uint64_t ways[] = {0, EVENT_IDX, INDIRECT, EVENT_IDX | INDIRECT};

	for (unsigned i = 0; i < 4; i++) {
		begin();
		CU_ASSERT_EQUAL(mini_offered(&mini), VERSION_1 | EVENT_IDX | INDIRECT);
		CU_ASSERT_TRUE(mini_start(&mini, ways[i], 1));
		for (unsigned n = 0; n < 40; n++)
			ask_entropy();
		CU_ASSERT_EQUAL(mini_interrupts(&mini, 1), 40);
		CU_ASSERT_EQUAL(m->raised[mini.line], 40);
		CU_ASSERT_TRUE(m->notified >= 40);
		fake_free(m);
	}
}

/* Each queue's doorbell is its own, and an engine may have none. */
static void test_doorbells(void)
{
	struct balloon *balloon;

	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_balloon_add(m, &balloon, &err), 0);
	CU_ASSERT_EQUAL(m->n_notifies, 1 + 5);
	for (unsigned i = 1; i < m->n_notifies; i++) {
		CU_ASSERT_EQUAL(m->notifies[i].gpa, LAYOUT_PV_DEVICES + LAYOUT_PV_DEVICE_SIZE +
							VIRTIO_MMIO_QUEUE_NOTIFY);
		CU_ASSERT_EQUAL(m->notifies[i].value, i - 1);
	}
	fake_free(m);

	m = fake_new_pv(RAM_BYTES);
	m->refuse_notify = true;
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_RNG, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 1); /* of a queue there is not */
	put(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	CU_ASSERT_EQUAL(m->notified, 0);
	fake_free(m);
}

/* The line is up from the signal until all that is due has been acknowledged. */
static void test_line(void)
{
	begin();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	CU_ASSERT_EQUAL(mini.line, LAYOUT_PV_FIRST_LINE);
	offer(16);
	settle();
	CU_ASSERT_TRUE(line());
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_TRUE(line()); /* a look changes nothing */
	machine_lock(m);
	virtio_config_changed((struct virtio *)fake_device(m, "rng0"));
	machine_unlock(m);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_CONFIG_GENERATION), 1);
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_TRUE(line());
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING | 0xfffffffc);
	CU_ASSERT_TRUE(line());
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	CU_ASSERT_FALSE(line());
	CU_ASSERT_EQUAL(m->raised[mini.line], 1);
	/* A reset takes it down, too. */
	offer(16);
	settle();
	CU_ASSERT_TRUE(line());
	put(VIRTIO_MMIO_STATUS, 0);
	CU_ASSERT_FALSE(line());
	fake_free(m);
}

#define WORD 0x8004u

static void put_status_at(uint64_t gpa)
{
	put(SEGUE_PV_STATUS_LOW, (uint32_t)gpa);
	put(SEGUE_PV_STATUS_HIGH, (uint32_t)(gpa >> 32));
}

static uint32_t word(void)
{
	return le32_get(ram_at(m->ram, WORD, 4));
}

/* Takes it as a guest does that asks nobody: first the line, then the bits. */
static uint32_t take(void)
{
	m->lines &= ~(1ull << mini.line);
	return __atomic_exchange_n((uint32_t *)ram_at(m->ram, WORD, 4), 0, __ATOMIC_SEQ_CST);
}

/* Interrupt status in the guest's memory, and back in the device. */
static void test_status_word(void)
{
	begin();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	offer(16);
	settle();
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	ram_track(m->ram, true);
	put_status_at(WORD); /* what is due comes along */
	CU_ASSERT_TRUE(fake_dirty(m, WORD));
	CU_ASSERT_TRUE(line());
	CU_ASSERT_EQUAL(take(), VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	offer(16);
	settle();
	CU_ASSERT_TRUE(fake_dirty(m, WORD));
	CU_ASSERT_TRUE(line());
	CU_ASSERT_EQUAL(take(), VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_FALSE(line());
	/* The registers work on the same bits. */
	offer(16);
	settle();
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_EQUAL(word(), 0);
	CU_ASSERT_FALSE(line());
	/* A driver's reset leaves it where it is, addresses that cannot be change nothing. */
	put_status_at(WORD + 2);
	put_status_at(RAM_BYTES);
	put_status_at(UINT64_MAX - 3);
	for (unsigned i = 0; i < 3; i++)
		take();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	offer(16);
	settle();
	CU_ASSERT_EQUAL(word(), VIRTIO_MMIO_INT_VRING);
	put_status_at(0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	take();
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	fake_free(m);
}

/* It moves with the memory it is in; power-on forgets it and writes nothing there. */
static void test_status_word_moves(void)
{
	struct machine *source;
	struct device *there;

	begin();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	put_status_at(WORD);
	put(SEGUE_PV_STATUS_LOW, 0x9000); /* half of the next */
	offer(16);
	settle();
	source = m;
	m = fake_new_pv(RAM_BYTES);
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	memcpy(ram_base(m->ram), ram_base(source->ram), RAM_BYTES);
	there = fake_device(m, "rng0");
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "rng0"), there, &err), 0);
	mini.m = m;
	CU_ASSERT_TRUE(line());
	CU_ASSERT_EQUAL(take(), VIRTIO_MMIO_INT_VRING);
	fake_resume(m, there);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 16);
	offer(16);
	settle();
	CU_ASSERT_EQUAL(word(), VIRTIO_MMIO_INT_VRING);
	fake_reset(m);
	CU_ASSERT_EQUAL(word(), VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	CU_ASSERT_FALSE(line());
	fake_free(source);
	fake_free(m);
}

static void test_negotiation(void)
{
	begin();
	CU_ASSERT_FALSE(mini_negotiate(&mini, 0));
	CU_ASSERT_FALSE(mini_negotiate(&mini, VERSION_1 | 1));
	mini_ready(&mini);
	CU_ASSERT_EQUAL(mini_status(&mini) & VIRTIO_CONFIG_S_DRIVER_OK, 0);
	CU_ASSERT_TRUE(mini_negotiate(&mini, VERSION_1));
	/* Settled: what is written now counts for nothing. */
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	CU_ASSERT_EQUAL(((struct virtio *)fake_device(m, "rng0"))->features, VERSION_1);
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	fake_free(m);
}

static void test_queues(void)
{
	begin();
	CU_ASSERT_TRUE(mini_negotiate(&mini, VERSION_1));
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 0);
	put(VIRTIO_MMIO_QUEUE_SEL, 1); /* there is one queue */
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 0);
	put(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	put(VIRTIO_MMIO_QUEUE_NUM, 8);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	/* One that cannot be. */
	put(VIRTIO_MMIO_QUEUE_SEL, 0);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, RAM_BYTES);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 0);
	/* Ready, it stands still; taken back, it begins anew. */
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 1);
	put(VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	put(VIRTIO_MMIO_QUEUE_NUM, 2);
	ask_entropy();
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 0);
	offer(16);
	settle();
	CU_ASSERT_FALSE(mini_used(&mini, 0));
	mini_queue(&mini, 0);
	ask_entropy();
	fake_free(m);
}

/* A queue is not taken away while a request of it is under way. */
static void test_queue_busy(void)
{
	struct virtio *v;

	begin();
	v = (struct virtio *)fake_device(m, "rng0");
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	machine_lock(m);
	virtio_begin(v);
	machine_unlock(m);
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 1);
	/* Nor is a reset done before: status tells. */
	put(VIRTIO_MMIO_STATUS, 0);
	CU_ASSERT_NOT_EQUAL(get(VIRTIO_MMIO_STATUS), 0);
	machine_lock(m);
	virtio_end(v);
	machine_unlock(m);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_STATUS), 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 0);
	fake_free(m);
}

/* Registers are whole words; anything else reads as zero and writes nothing. */
static void test_widths(void)
{
	begin();
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_VENDOR_ID), 0x55474553);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	CU_ASSERT_EQUAL(fake_read(m, mini.common, 2), 0);
	CU_ASSERT_EQUAL(fake_read(m, mini.common, 8), 0);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + 2, 4), 0);
	fake_write(m, mini.common + VIRTIO_MMIO_STATUS, 1, 1);
	CU_ASSERT_EQUAL(mini_status(&mini), 0);
	for (uint64_t at = 0; at < LAYOUT_PV_DEVICE_SIZE; at++)
		for (unsigned len = 1; len <= 8; len *= 2)
			if (at + len <= LAYOUT_PV_DEVICE_SIZE)
				fake_read(m, mini.common + at, len);
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 0xe00, 4), 0);
	fake_free(m);
}

static void test_move(void)
{
	struct machine *source;
	struct device *there;

	begin();
	CU_ASSERT_TRUE(mini_start(&mini, EVENT_IDX | INDIRECT, 1));
	for (unsigned i = 0; i < 20; i++)
		ask_entropy();
	offer(64);
	settle();
	CU_ASSERT_TRUE(line()); /* nobody has looked yet */
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(VIRTIO_MMIO_QUEUE_SEL, 0);
	fake_quiesce(m, fake_device(m, "rng0"));
	offer(32);
	source = m;
	m = fake_new_pv(RAM_BYTES);
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	memcpy(ram_base(m->ram), ram_base(source->ram), RAM_BYTES);
	there = fake_device(m, "rng0");
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "rng0"), there, &err), 0);
	mini.m = m;
	CU_ASSERT_TRUE(line());
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	CU_ASSERT_EQUAL(mini_status(&mini), 0x0f);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_READY), 1);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 64);
	settle();
	CU_ASSERT_FALSE(mini_used(&mini, 0)); /* not before the resume */
	fake_resume(m, there);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 32);
	for (unsigned i = 0; i < 20; i++)
		ask_entropy();
	fake_free(source);
	fake_free(m);
}

static void test_load_hostile(void)
{
	struct buffer state = {0}, bad = {0};
	struct device *rng;
	Segue__Virtio *message;

	begin();
	rng = fake_device(m, "rng0");
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	CU_ASSERT_EQUAL(rng->ops->save(rng, &state), 0);
	message = segue__virtio__unpack(NULL, state.len, state.data);
	CU_ASSERT_PTR_NOT_NULL_FATAL(message);
	message->mmio->status_at = RAM_BYTES - 2;
	CU_ASSERT_EQUAL(buffer_pack(&bad, &message->base), 0);
	CU_ASSERT_EQUAL(rng->ops->load(rng, bad.data, bad.len, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "outside of memory"));
	err = (struct error){0};
	buffer_done(&bad);
	message->mmio->status_at = 0;
	message->mmio->interrupt_status = UINT32_MAX;
	message->mmio->queue_select = UINT32_MAX;
	message->mmio->device_feature_select = UINT32_MAX;
	CU_ASSERT_EQUAL(buffer_pack(&bad, &message->base), 0);
	CU_ASSERT_EQUAL(rng->ops->load(rng, bad.data, bad.len, &err), 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	CU_ASSERT_EQUAL(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	buffer_done(&bad);
	segue__virtio_mmio__free_unpacked(message->mmio, NULL);
	message->mmio = NULL;
	CU_ASSERT_EQUAL(buffer_pack(&bad, &message->base), 0);
	CU_ASSERT_EQUAL(rng->ops->load(rng, bad.data, bad.len, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "rng0"));
	CU_ASSERT_EQUAL(mini_status(&mini), 0);
	CU_ASSERT_FALSE(line());
	buffer_done(&bad);
	buffer_done(&state);
	segue__virtio__free_unpacked(message, NULL);
	fake_free(m);
}

static void test_machine_reset(void)
{
	begin();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	offer(16);
	settle();
	CU_ASSERT_TRUE(line());
	fake_reset(m);
	CU_ASSERT_FALSE(line());
	CU_ASSERT_EQUAL(mini_status(&mini), 0);
	CU_ASSERT_EQUAL(m->n_notifies, 1); /* places never move */
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	fake_free(m);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("virtio-mmio", NULL, NULL);

	CU_ADD_TEST(suite, test_work);
	CU_ADD_TEST(suite, test_doorbells);
	CU_ADD_TEST(suite, test_line);
	CU_ADD_TEST(suite, test_status_word);
	CU_ADD_TEST(suite, test_status_word_moves);
	CU_ADD_TEST(suite, test_negotiation);
	CU_ADD_TEST(suite, test_queues);
	CU_ADD_TEST(suite, test_queue_busy);
	CU_ADD_TEST(suite, test_widths);
	CU_ADD_TEST(suite, test_move);
	CU_ADD_TEST(suite, test_load_hostile);
	CU_ADD_TEST(suite, test_machine_reset);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
