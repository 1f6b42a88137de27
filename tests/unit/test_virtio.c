/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mini_driver.h"
#include "proto/le.h"
#include "vmm/devices/pci.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/* The transport, and the devices that need nothing from the host: rng, console, balloon. */
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
	m = fake_new(RAM_BYTES);
	err = (struct error){0};
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
}

static void begin_rng(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_RNG, 0, HEAP));
}

static bool filled(uint64_t gpa, size_t len)
{
	const uint8_t *data = mini_at(&mini, gpa);
	size_t zeros = 0;

	for (size_t i = 0; i < len; i++)
		zeros += data[i] == 0;
	return zeros < len / 16; /* of random bytes, one in 256 */
}

static void ask_entropy(void)
{
	struct mini_seg seg = {mini_alloc(&mini, 4096), 1024};

	CU_ASSERT_EQUAL(mini_do(&mini, 0, &seg, 0, 1), 1024);
	CU_ASSERT_TRUE(filled(seg.gpa, 1024));
}

static void test_rng(void)
{
	const uint64_t ways[] = {0, EVENT_IDX, INDIRECT, EVENT_IDX | INDIRECT};

	for (unsigned i = 0; i < 4; i++) {
		begin_rng();
		CU_ASSERT_EQUAL(mini_offered(&mini), VERSION_1 | EVENT_IDX | INDIRECT);
		CU_ASSERT_TRUE(mini_start(&mini, ways[i], 1));
		for (unsigned n = 0; n < 40; n++)
			ask_entropy();
		CU_ASSERT_EQUAL(mini_interrupts(&mini, 1), 40);
		CU_ASSERT_TRUE(m->notified >= 40);
		fake_free(m);
	}
}

/* The same with an engine that turns nothing into events. */
static void test_notify_exit(void)
{
	m = fake_new(RAM_BYTES);
	m->refuse_notify = true;
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_RNG, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	CU_ASSERT_EQUAL(m->notified, 0);
	fake_free(m);
}

/* Notifications follow the BAR. */
static void test_bar_moves(void)
{
	const uint64_t bar0 = LAYOUT_ECAM + (1 << 15) + PCI_BASE_ADDRESS_0;

	begin_rng();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	CU_ASSERT_EQUAL(m->n_notifies, 1);
	fake_write(m, bar0, 0xffffffff, 4);
	CU_ASSERT_EQUAL(m->n_notifies, 0);
	CU_ASSERT_EQUAL(fake_read(m, bar0, 4), 0xffffc000);
	fake_write(m, bar0, 0xd1230000, 4);
	CU_ASSERT_EQUAL(m->n_notifies, 1);
	mini.notify += 0xd1230000 - (mini.common & ~0x3fffull);
	mini.common = 0xd1230000 + (mini.common & 0x3fff);
	ask_entropy();
	CU_ASSERT_TRUE(m->notified >= 1);
	fake_free(m);
}

static void test_negotiation(void)
{
	begin_rng();
	/* Legacy, and a feature nobody offered. */
	CU_ASSERT_FALSE(mini_negotiate(&mini, 0));
	CU_ASSERT_FALSE(mini_negotiate(&mini, VERSION_1 | 1));
	mini_ready(&mini);
	CU_ASSERT_EQUAL(mini_status(&mini) & VIRTIO_CONFIG_S_DRIVER_OK, 0);
	CU_ASSERT_TRUE(mini_negotiate(&mini, VERSION_1));
	/* Settled: no more changes. */
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_GF, 0xffffffff, 4);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_GF, 4), 0);
	/* Selectors out of range. */
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_DF, 4), 0);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* Vectors there are not. */
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_MSIX, 2, 2);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_MSIX, 0x7fff, 2);
	CU_ASSERT_EQUAL(fake_read(m, mini.common + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	/* Any access anywhere in the BAR. */
	for (uint64_t at = 0; at < 0x4000; at += 3)
		for (unsigned len = 1; len <= 8; len *= 2)
			if (at + len <= 0x4000)
				fake_read(m, mini.common + at, len);
	fake_free(m);
}

/* A queue that cannot be, and one that breaks while it is used. */
static void test_needs_reset(void)
{
	struct mini_seg bad = {RAM_BYTES, 16};

	begin_rng();
	CU_ASSERT_TRUE(mini_negotiate(&mini, VERSION_1));
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_DESCLO, RAM_BYTES, 4);
	fake_write(m, mini.common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);

	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	mini_add(&mini, 0, &bad, 0, 1);
	mini_kick(&mini, 0);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);
	CU_ASSERT_EQUAL(mini_interrupts(&mini, 0), 1);
	CU_ASSERT_EQUAL(fake_read(m, mini.isr, 1) & 2, 2);
	CU_ASSERT_EQUAL(fake_read(m, mini.isr, 1), 0);
	/* A reset mends it. */
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	fake_free(m);
}

/* The window in configuration space does what an access to the BAR does. */
static void test_config_window(void)
{
	uint64_t cap = LAYOUT_ECAM + (1 << 15);
	unsigned at;

	begin_rng();
	at = (unsigned)fake_read(m, cap + PCI_CAPABILITY_LIST, 1);
	while (at && !(fake_read(m, cap + at, 1) == PCI_CAP_ID_VNDR &&
		       fake_read(m, cap + at + 3, 1) == VIRTIO_PCI_CAP_PCI_CFG))
		at = (unsigned)fake_read(m, cap + at + 1, 1);
	CU_ASSERT_NOT_EQUAL_FATAL(at, 0);
	cap += at;
	fake_write(m, cap + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_STATUS, 4);
	fake_write(m, cap + VIRTIO_PCI_CAP_LENGTH, 1, 4);
	fake_write(m, cap + 16, VIRTIO_CONFIG_S_ACKNOWLEDGE, 4);
	CU_ASSERT_EQUAL(mini_status(&mini), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	mini_set_status(&mini, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	CU_ASSERT_EQUAL(fake_read(m, cap + 16, 1), 3);
	/* Nonsense is ignored. */
	const uint32_t lens[] = {0, 3, 8, 0xffffffff}, offsets[] = {0x3ffd, 0x4000, 0xfffffffc};
	for (unsigned i = 0; i < 4; i++) {
		fake_write(m, cap + VIRTIO_PCI_CAP_LENGTH, lens[i], 4);
		fake_write(m, cap + 16, 0, 4);
	}
	fake_write(m, cap + VIRTIO_PCI_CAP_LENGTH, 4, 4);
	for (unsigned i = 0; i < 3; i++) {
		fake_write(m, cap + VIRTIO_PCI_CAP_OFFSET, offsets[i], 4);
		fake_write(m, cap + 16, 0, 4);
		fake_read(m, cap + 16, 4);
	}
	CU_ASSERT_EQUAL(mini_status(&mini), 3);
	fake_free(m);
}

/* Work offered while quiet is done after the resume, by kicks nobody repeats. */
static void test_quiesce(void)
{
	struct device *rng;
	struct mini_seg seg;

	begin_rng();
	rng = fake_device(m, "rng0");
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	fake_quiesce(m, rng);
	CU_ASSERT_EQUAL(m->idle, 1);
	seg = (struct mini_seg){mini_alloc(&mini, 256), 256};
	mini_add(&mini, 0, &seg, 0, 1);
	mini_kick(&mini, 0);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_FALSE(mini_used(&mini, 0));
	fake_resume(m, rng);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 256);
	fake_free(m);
}

/* The guest's RAM as a migration would carry it. */
static void copy_ram(struct machine *to, struct machine *from)
{
	memcpy(ram_base(to->ram), ram_base(from->ram), RAM_BYTES);
}

static void test_move(void)
{
	struct machine *source;
	struct device *there;
	struct mini_seg seg;

	begin_rng();
	CU_ASSERT_TRUE(mini_start(&mini, EVENT_IDX | INDIRECT, 1));
	for (unsigned i = 0; i < 20; i++)
		ask_entropy();
	fake_quiesce(m, fake_device(m, "rng0"));
	seg = (struct mini_seg){mini_alloc(&mini, 256), 256};
	mini_add(&mini, 0, &seg, 0, 1);
	mini_kick(&mini, 0);
	source = m;
	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_rng_add(m, &err), 0);
	copy_ram(m, source);
	there = fake_device(m, "rng0");
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "rng0"), there, &err), 0);
	mini.m = m;
	CU_ASSERT_EQUAL(mini_status(&mini), 0x0f);
	CU_ASSERT_EQUAL(m->n_notifies, 1);
	/* Not before the resume, and without another kick. */
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_FALSE(mini_used(&mini, 0));
	fake_resume(m, there);
	CU_ASSERT_TRUE(mini_interrupts(&mini, 1) >= 1);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 256);
	for (unsigned i = 0; i < 20; i++)
		ask_entropy();
	fake_free(source);
	fake_free(m);
}

static int load(Segue__Virtio *message)
{
	struct device *rng = fake_device(m, "rng0");
	struct buffer state = {0};
	int r;

	buffer_pack(&state, &message->base);
	err = (struct error){0};
	r = rng->ops->load(rng, state.data, state.len, &err);
	CU_ASSERT_EQUAL(r < 0, err.text[0] != 0);
	buffer_done(&state);
	return r;
}

static void test_load_hostile(void)
{
	const uint8_t junk[] = {0xff, 0x01};
	struct buffer state = {0};
	struct device *rng;
	Segue__Virtio *good;

	begin_rng();
	rng = fake_device(m, "rng0");
	CU_ASSERT_TRUE(mini_start(&mini, EVENT_IDX, 1));
	CU_ASSERT_EQUAL(rng->ops->save(rng, &state), 0);
	good = segue__virtio__unpack(NULL, state.len, state.data);
	CU_ASSERT_PTR_NOT_NULL_FATAL(good);
	CU_ASSERT_EQUAL(rng->ops->load(rng, junk, sizeof(junk), NULL), -EINVAL);
	CU_ASSERT_EQUAL(load(good), 0);
#define REFUSED(field, value)                                                                  \
	do {                                                                                   \
		__typeof__(good->field) kept = good->field;                                    \
		good->field = value;                                                           \
		CU_ASSERT_NOT_EQUAL(load(good), 0);                                            \
		CU_ASSERT_EQUAL(((struct virtio *)rng)->status, 0);                            \
		good->field = kept;                                                            \
	} while (0)
	REFUSED(id, 1);
	REFUSED(features, UINT64_MAX);
	REFUSED(status, 0x100);
	REFUSED(n_queues, 0);
	REFUSED(pci, NULL);
	REFUSED(pci->function, NULL);
	REFUSED(pci->n_queue_vectors, 0);
	REFUSED(pci->function->config.len, 16);
	REFUSED(pci->function->msix_table.len, 0);
	REFUSED(queues[0]->used, RAM_BYTES);
	REFUSED(queues[0]->size, 3);
	/* Indices out of step with the ring: found when it is next looked at. */
	good->queues[0]->next_avail = 0x8000;
	good->pci->config_vector = 77;
	good->pci->queue_select = 0xffffffff;
	CU_ASSERT_EQUAL(load(good), 0);
	fake_resume(m, rng);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);
	segue__virtio__free_unpacked(good, NULL);
	buffer_done(&state);
	fake_free(m);
}

static void test_machine_reset(void)
{
	begin_rng();
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	fake_reset(m);
	CU_ASSERT_EQUAL(m->n_notifies, 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_RNG, 0, HEAP));
	CU_ASSERT_EQUAL(mini_status(&mini), 0);
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	ask_entropy();
	fake_free(m);
}

/* ---- console ---- */

static char said[256];
static size_t n_said;

static void hear(void *context, const uint8_t *data, size_t len)
{
	(void)context;
	if (len > sizeof(said) - n_said)
		len = sizeof(said) - n_said;
	memcpy(said + n_said, data, len);
	n_said += len;
}

static void type(struct console *console, const char *text)
{
	machine_lock(m);
	console_type(console, (const uint8_t *)text, strlen(text));
	machine_unlock(m);
}

static void test_console(void)
{
	struct console *console = console_new(-1);
	struct console_reader reader = {.output = hear};
	struct mini_seg seg, out[2];

	n_said = 0;
	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_console_add(m, console, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_CONSOLE, 0, HEAP));
	console_attach(console, &reader);
	type(console, "early");
	CU_ASSERT_TRUE(mini_start(&mini, EVENT_IDX, 2));
	out[0] = (struct mini_seg){mini_alloc(&mini, 16), 4};
	out[1] = (struct mini_seg){mini_alloc(&mini, 16), 3};
	memcpy(mini_at(&mini, out[0].gpa), "logi", 4);
	memcpy(mini_at(&mini, out[1].gpa), "n: ", 3);
	CU_ASSERT_EQUAL(mini_do(&mini, 1, out, 2, 0), 0);
	CU_ASSERT_EQUAL(n_said, 7);
	CU_ASSERT_EQUAL(memcmp(said, "login: ", 7), 0);
	/* Typed before there were buffers; then more than one buffer holds. */
	seg = (struct mini_seg){mini_alloc(&mini, 16), 4};
	CU_ASSERT_EQUAL(mini_do(&mini, 0, &seg, 0, 1), 4);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg.gpa), "earl", 4), 0);
	CU_ASSERT_EQUAL(mini_do(&mini, 0, &seg, 0, 1), 1);
	mini_add(&mini, 0, &seg, 0, 1);
	mini_kick(&mini, 0);
	fake_turn(m, 1);
	CU_ASSERT_FALSE(mini_used(&mini, 0));
	type(console, "root");
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 4);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg.gpa), "root", 4), 0);
	console_detach(console, &reader);
	fake_free(m);
	console_free(console);
}

/* ---- balloon ---- */

static bool is_hole(uint64_t gpa)
{
	off_t data = lseek(ram_fd(m->ram), (off_t)gpa, SEEK_DATA);

	return data < 0 || (uint64_t)data >= gpa + RAM_PAGE;
}

static struct balloon *begin_balloon(void)
{
	struct balloon *balloon = NULL;

	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_balloon_add(m, &balloon, &err), 0);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_BALLOON, 0, HEAP));
	return balloon;
}

static void test_balloon(void)
{
	struct balloon *balloon = begin_balloon();
	struct mini_seg seg;
	uint64_t page = 0x400000;

	CU_ASSERT_TRUE(mini_start(&mini, 0, 2));
	machine_lock(m);
	balloon_set_target(balloon, RAM_BYTES - 3 * RAM_PAGE);
	machine_unlock(m);
	CU_ASSERT_EQUAL(mini_interrupts(&mini, 0), 1);
	CU_ASSERT_EQUAL(fake_read(m, mini.config, 4), 3);
	memset(mini_at(&mini, page), 0x5a, 16 * RAM_PAGE);
	seg = (struct mini_seg){mini_alloc(&mini, 64), 12};
	/* Neighbours downwards, as Linux gives them, and a lone one. */
	le32_put(mini_at(&mini, seg.gpa), (uint32_t)(page / RAM_PAGE + 3));
	le32_put(mini_at(&mini, seg.gpa + 4), (uint32_t)(page / RAM_PAGE + 2));
	le32_put(mini_at(&mini, seg.gpa + 8), (uint32_t)(page / RAM_PAGE + 8));
	ram_track(m->ram, true);
	CU_ASSERT_EQUAL(mini_do(&mini, 0, &seg, 1, 0), 0);
	for (unsigned i = 0; i < 16; i++)
		CU_ASSERT_EQUAL(is_hole(page + i * RAM_PAGE), i == 2 || i == 3 || i == 8);
	CU_ASSERT_TRUE(fake_dirty(m, page + 3 * RAM_PAGE));
	ram_track(m->ram, false);
	fake_write(m, mini.config + 4, 3, 4);
	CU_ASSERT_EQUAL(balloon_kept(balloon), RAM_BYTES - 3 * RAM_PAGE);
	/* The target is not the driver's to write; taken back, memory is memory. */
	fake_write(m, mini.config, 99, 4);
	CU_ASSERT_EQUAL(fake_read(m, mini.config, 4), 3);
	CU_ASSERT_EQUAL(mini_do(&mini, 1, &seg, 1, 0), 0);
	*(uint8_t *)mini_at(&mini, page + 2 * RAM_PAGE) = 7;
	CU_ASSERT_FALSE(is_hole(page + 2 * RAM_PAGE));
	/* A page that is not memory. */
	le32_put(mini_at(&mini, seg.gpa + 4), 0xfffffff0);
	mini_do(&mini, 0, &seg, 1, 0);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_free(m);
}

/* Queue 2 is where Linux has it, 4 where the specification does. */
static void test_reporting(void)
{
	for (unsigned queue = 2; queue <= 4; queue += 2) {
		struct mini_seg seg = {0x400001,
				       4 * RAM_PAGE}; /* only whole pages are given up */

		begin_balloon();
		CU_ASSERT_TRUE(
		    mini_negotiate(&mini, VERSION_1 | 1ull << VIRTIO_BALLOON_F_REPORTING));
		mini_queue(&mini, queue);
		mini_ready(&mini);
		memset(mini_at(&mini, 0x3ff000), 0x5a, 6 * RAM_PAGE);
		CU_ASSERT_EQUAL(mini_do(&mini, queue, &seg, 0, 1), 0);
		CU_ASSERT_FALSE(is_hole(0x3ff000));
		CU_ASSERT_FALSE(is_hole(0x400000));
		CU_ASSERT_TRUE(is_hole(0x401000));
		CU_ASSERT_TRUE(is_hole(0x403000));
		CU_ASSERT_FALSE(is_hole(0x404000));
		fake_free(m);
	}
}

static void test_balloon_move(void)
{
	struct balloon *balloon = begin_balloon();
	struct machine *source;
	struct device *there;

	CU_ASSERT_TRUE(mini_start(&mini, 0, 2));
	machine_lock(m);
	balloon_set_target(balloon, RAM_BYTES / 2);
	machine_unlock(m);
	fake_write(m, mini.config + 4, 100, 4);
	fake_quiesce(m, fake_device(m, "balloon0"));
	source = m;
	begin();
	CU_ASSERT_EQUAL_FATAL(virtio_balloon_add(m, &balloon, &err), 0);
	there = fake_device(m, "balloon0");
	copy_ram(m, source);
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "balloon0"), there, &err), 0);
	fake_resume(m, there);
	mini.m = m;
	CU_ASSERT_EQUAL(balloon_kept(balloon), RAM_BYTES - 100 * RAM_PAGE);
	CU_ASSERT_EQUAL(fake_read(m, mini.config, 4), RAM_BYTES / 2 / RAM_PAGE);
	fake_free(source);
	fake_free(m);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("virtio", NULL, NULL);
	CU_ADD_TEST(suite, test_rng);
	CU_ADD_TEST(suite, test_notify_exit);
	CU_ADD_TEST(suite, test_bar_moves);
	CU_ADD_TEST(suite, test_negotiation);
	CU_ADD_TEST(suite, test_needs_reset);
	CU_ADD_TEST(suite, test_config_window);
	CU_ADD_TEST(suite, test_quiesce);
	CU_ADD_TEST(suite, test_move);
	CU_ADD_TEST(suite, test_load_hostile);
	CU_ADD_TEST(suite, test_machine_reset);
	CU_ADD_TEST(suite, test_console);
	CU_ADD_TEST(suite, test_balloon);
	CU_ADD_TEST(suite, test_reporting);
	CU_ADD_TEST(suite, test_balloon_move);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
