/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mini_driver.h"
#include "proto/le.h"
#include "vmm/devices/pci.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/* A disk on a file of the test's own, worked by a driver. */
#define RAM_BYTES (16u << 20)
#define HEAP      0x100000u
#define DISK      (1u << 20)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)

static struct machine *m;
static struct mini mini;
static struct error err;
static char path[] = "/var/tmp/segue-blk-XXXXXX";
static int image;

static void fill_image(void)
{
	uint8_t sector[512];

	for (unsigned i = 0; i < DISK / 512; i++) {
		memset(sector, (int)i, sizeof(sector));
		le32_put(sector, i);
		CU_ASSERT_EQUAL(pwrite(image, sector, 512, 512 * i), 512);
	}
}

static void build(bool readonly, bool direct)
{
	Segue__Disk disk = SEGUE__DISK__INIT;

	m = fake_new(RAM_BYTES);
	err = (struct error){0};
	disk.path = path;
	disk.readonly = readonly;
	disk.direct = direct;
	disk.serial = "01234567890123456789"; /* all of twenty bytes */
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	CU_ASSERT_EQUAL_FATAL(virtio_blk_add(m, &disk, 0, &err), 0);
}

static void begin(bool readonly, bool direct, uint64_t features)
{
	fill_image();
	build(readonly, direct);
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_BLOCK, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(&mini, features, 1));
}

struct request {
	struct mini_seg segs[8];
	unsigned n_out, n_in;
	uint64_t status;
};

/* Header of TYPE and SECTOR; then DATA, which the device reads or writes; then status. */
static struct request request(uint32_t type, uint64_t sector, bool in, struct mini_seg *data,
			      unsigned n)
{
	struct request r = {.segs = {{mini_alloc(&mini, 16), 16}}, .n_out = 1, .n_in = 1};

	le32_put(mini_at(&mini, r.segs[0].gpa), type);
	le64_put(mini_at(&mini, r.segs[0].gpa + 8), sector);
	for (unsigned i = 0; i < n; i++)
		r.segs[1 + i] = data[i];
	*(in ? &r.n_in : &r.n_out) += n;
	r.status = mini_alloc(&mini, 1);
	r.segs[1 + n] = (struct mini_seg){r.status, 1};
	*(uint8_t *)mini_at(&mini, r.status) = 0xee;
	return r;
}

static uint8_t status_of(const struct request *r)
{
	return *(uint8_t *)mini_at(&mini, r->status);
}

static uint8_t run(struct request r)
{
	CU_ASSERT_NOT_EQUAL(mini_do(&mini, 0, r.segs, r.n_out, r.n_in), UINT32_MAX);
	return status_of(&r);
}

static void read_and_check(uint64_t sector, struct mini_seg *data, unsigned n)
{
	uint64_t done = 0;

	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_IN, sector, true, data, n)), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < n; i++) {
		uint8_t want[DISK / 4];

		CU_ASSERT_EQUAL(pread(image, want, data[i].len, (off_t)(sector * 512 + done)),
				data[i].len);
		CU_ASSERT_EQUAL(memcmp(want, mini_at(&mini, data[i].gpa), data[i].len), 0);
		done += data[i].len;
	}
}

static void write_and_check(uint64_t sector, struct mini_seg *data, unsigned n, uint8_t byte)
{
	uint8_t got[DISK / 4];
	uint64_t done = 0;

	for (unsigned i = 0; i < n; i++)
		memset(mini_at(&mini, data[i].gpa), byte + (int)i, data[i].len);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_OUT, sector, false, data, n)),
			VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(pread(image, got, data[i].len, (off_t)(sector * 512 + done)),
				data[i].len);
		CU_ASSERT_EQUAL(memcmp(got, mini_at(&mini, data[i].gpa), data[i].len), 0);
		done += data[i].len;
	}
}

/* Both ways, in one piece and scattered at odd addresses and lengths. */
static void transfers(void)
{
	struct mini_seg one[] = {{0x400000, 4096}};
	struct mini_seg odd[] = {{0x400003, 700}, {0x500001, 1}, {0x600fff, 323}};
	struct mini_seg big[] = {{0x400200, 65536}, {0x600000, 131072}};

	read_and_check(0, one, 1);
	read_and_check(7, odd, 3);
	read_and_check(1000, big, 2);
	read_and_check(DISK / 512 - 8, one, 1);
	write_and_check(16, one, 1, 0xa0);
	write_and_check(33, odd, 3, 0xb0);
	write_and_check(1001, big, 2, 0xc0);
	read_and_check(1000, big, 2);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_FLUSH, 0, false, NULL, 0)), VIRTIO_BLK_S_OK);
}

static void test_transfers(void)
{
	const uint64_t ways[] = {0, EVENT_IDX | INDIRECT};

	for (unsigned i = 0; i < 2; i++) {
		begin(false, false, ways[i]);
		transfers();
		fake_free(m);
	}
}

static void test_direct(void)
{
	const struct virtio *v;
	struct mini_seg one[] = {{0x400000, 4096}};

	fill_image();
	fdatasync(image);
	build(false, true);
	v = (const struct virtio *)fake_device(m, "blk0");
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_BLOCK, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
	if (le32_get(v->config + offsetof(struct virtio_blk_config, blk_size)) == 512)
		transfers();
	else
		read_and_check(8, one, 1);
	fake_free(m);
}

static void test_config(void)
{
	begin(false, false, 0);
	CU_ASSERT_EQUAL(fake_read(m, mini.config, 8), DISK / 512);
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 12, 4), 126);
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 20, 4), 512);
	CU_ASSERT_STRING_EQUAL(fake_device(m, "blk0")->contract,
			       "virtio-blk 2048 sectors, block 512");
	fake_write(m, mini.config, 0, 8);
	CU_ASSERT_EQUAL(fake_read(m, mini.config, 8), DISK / 512);
	CU_ASSERT_TRUE(mini_offered(&mini) & 1ull << VIRTIO_BLK_F_DISCARD);
	CU_ASSERT_FALSE(mini_offered(&mini) & 1ull << VIRTIO_BLK_F_RO);
	fake_free(m);
}

static void test_serial(void)
{
	struct mini_seg id = {0, 20}, little = {0, 19};

	begin(false, false, 0);
	id.gpa = mini_alloc(&mini, 32);
	little.gpa = mini_alloc(&mini, 32);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_GET_ID, 0, true, &id, 1)), VIRTIO_BLK_S_OK);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, id.gpa), "01234567890123456789", 21), 0);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_GET_ID, 0, true, &little, 1)),
			VIRTIO_BLK_S_IOERR);
	fake_free(m);
}

static void test_readonly(void)
{
	struct mini_seg data = {0x400000, 512};

	begin(true, false, 0);
	CU_ASSERT_TRUE(mini_offered(&mini) & 1ull << VIRTIO_BLK_F_RO);
	read_and_check(1, &data, 1);
	memset(mini_at(&mini, data.gpa), 0x77, 512);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_OUT, 1, false, &data, 1)), VIRTIO_BLK_S_IOERR);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, &data, 1)),
			VIRTIO_BLK_S_IOERR);
	read_and_check(1, &data, 1);
	fake_free(m);
}

/* Beyond the end, past the end of numbers, not whole sectors, nonsense types. */
static void test_refused(void)
{
	struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} cases[] = {
	    {VIRTIO_BLK_T_IN, DISK / 512, 512, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_IN, DISK / 512 - 1, 1024, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_IN, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_IN, 1ull << 55, 512, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_IN, DISK / 512, 0, VIRTIO_BLK_S_OK},
	    {VIRTIO_BLK_T_OUT, DISK / 512, 512, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_OUT, 0, 700, VIRTIO_BLK_S_IOERR},
	    {VIRTIO_BLK_T_SCSI_CMD, 0, 512, VIRTIO_BLK_S_UNSUPP},
	    {0xffffffff, 0, 512, VIRTIO_BLK_S_UNSUPP},
	};
	struct mini_seg shorter = {0, 15}, status = {0, 1};

	begin(false, false, 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mini_seg data = {0x400000, cases[i].len};

		CU_ASSERT_EQUAL(
		    run(request(cases[i].type, cases[i].sector,
				cases[i].type != VIRTIO_BLK_T_OUT, &data, cases[i].len != 0)),
		    cases[i].status);
	}
	/* Half a header; and no place for a status. */
	shorter.gpa = mini_alloc(&mini, 16);
	status.gpa = mini_alloc(&mini, 16);
	struct mini_seg both[] = {shorter, status};
	mini_do(&mini, 0, both, 1, 1);
	CU_ASSERT_EQUAL(*(uint8_t *)mini_at(&mini, status.gpa), VIRTIO_BLK_S_IOERR);
	CU_ASSERT_EQUAL(mini_do(&mini, 0, &shorter, 1, 0), 0);
	CU_ASSERT_EQUAL(mini_status(&mini), 0x0f);
	fake_free(m);
}

static struct mini_seg range(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct mini_seg seg = {mini_alloc(&mini, 16), 16};

	le64_put(mini_at(&mini, seg.gpa), sector);
	le32_put(mini_at(&mini, seg.gpa + 8), sectors);
	le32_put(mini_at(&mini, seg.gpa + 12), flags);
	return seg;
}

static unsigned zeros_from(unsigned sector)
{
	uint8_t data[512];
	static const uint8_t zero[512];
	unsigned n = 0;

	while (pread(image, data, 512, 512 * (sector + n)) == 512 && !memcmp(data, zero, 512))
		n++;
	return n;
}

static void test_ranges(void)
{
	struct mini_seg segs[2];
	struct stat before, after;

	begin(false, false, 0);
	segs[0] = range(8, 16, 0);
	segs[1] = range(64, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, false, segs, 2)),
			VIRTIO_BLK_S_OK);
	CU_ASSERT_EQUAL(zeros_from(8), 16);
	CU_ASSERT_EQUAL(zeros_from(64), 1);
	CU_ASSERT_EQUAL(zeros_from(7), 0);
	fstat(image, &before);
	segs[0] = range(1024, 512, 0);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, segs, 1)), VIRTIO_BLK_S_OK);
	fstat(image, &after);
	CU_ASSERT_TRUE(after.st_blocks <= before.st_blocks);
	CU_ASSERT_EQUAL(after.st_size, before.st_size);
	CU_ASSERT_EQUAL(zeros_from(1023), 0);
	CU_ASSERT_EQUAL(zeros_from(1536), 0);
	/* Flags nobody knows, outside, too long, not whole. */
	segs[0] = range(0, 1, 2);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, false, segs, 1)),
			VIRTIO_BLK_S_UNSUPP);
	segs[0] = range(0, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, segs, 1)),
			VIRTIO_BLK_S_UNSUPP);
	segs[0] = range(2047, 2, 0);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, segs, 1)),
			VIRTIO_BLK_S_IOERR);
	segs[0] = range(UINT64_MAX, 0xffffffff, 0);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, segs, 1)),
			VIRTIO_BLK_S_IOERR);
	segs[0].len = 15;
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_DISCARD, 0, false, segs, 1)),
			VIRTIO_BLK_S_IOERR);
	fake_free(m);
}

/* Pages a disk fills are written pages, to the last byte's. */
static void test_dirty(void)
{
	struct mini_seg data = {0x400000, 8192};

	begin(false, false, 0);
	ram_track(m->ram, true);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_IN, 0, true, &data, 1)), VIRTIO_BLK_S_OK);
	CU_ASSERT_TRUE(fake_dirty(m, 0x401000));
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_OUT, 0, false, &data, 1)), VIRTIO_BLK_S_OK);
	CU_ASSERT_FALSE(fake_dirty(m, 0x401000));
	data.gpa = 0x400001;
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_IN, 0, true, &data, 1)), VIRTIO_BLK_S_OK);
	CU_ASSERT_TRUE(fake_dirty(m, 0x402000));
	ram_track(m->ram, false);
	fake_free(m);
}

static bool is_idle(void *context)
{
	(void)context;
	return m->idle == 1;
}

/* Quiet comes when all has come back, and what then is in the ring waits for the resume. */
static void test_quiesce_and_move(void)
{
	struct mini_seg data[4];
	struct request r[5];
	struct machine *source;
	struct buffer state = {0};

	begin(false, false, EVENT_IDX | INDIRECT);
	for (unsigned i = 0; i < 4; i++) {
		data[i] = (struct mini_seg){0x400000 + 0x40000 * i, 65536};
		r[i] = request(VIRTIO_BLK_T_IN, 128 * i, true, &data[i], 1);
		mini_add(&mini, 0, r[i].segs, r[i].n_out, r[i].n_in);
	}
	mini_kick(&mini, 0);
	/* Until the kick is seen, no longer. */
	while (!((struct virtio *)fake_device(m, "blk0"))->in_flight && !mini_used(&mini, 0))
		uv_run(&m->loop, UV_RUN_NOWAIT);
	fake_quiesce(m, fake_device(m, "blk0"));
	CU_ASSERT_TRUE(fake_until(m, is_idle, NULL));
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(status_of(&r[i]), VIRTIO_BLK_S_OK);
		CU_ASSERT_EQUAL(mini_wait(&mini, 0), 65537);
	}
	data[0].gpa = 0x700000;
	r[4] = request(VIRTIO_BLK_T_IN, 5, true, data, 1);
	mini_add(&mini, 0, r[4].segs, r[4].n_out, r[4].n_in);
	mini_kick(&mini, 0);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 2);
	CU_ASSERT_EQUAL(status_of(&r[4]), 0xee);
	source = m;
	build(false, false);
	memcpy(ram_base(m->ram), ram_base(source->ram), RAM_BYTES);
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "blk0"), fake_device(m, "blk0"), &err),
			0);
	fake_free(source);
	mini.m = m;
	fake_resume(m, fake_device(m, "blk0"));
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 65537);
	CU_ASSERT_EQUAL(status_of(&r[4]), VIRTIO_BLK_S_OK);
	transfers();
	buffer_done(&state);
	fake_free(m);
}

/* What went through this host's page cache is on the disk before the guest may move. */
static void test_quiesce_flushes(void)
{
	struct mini_seg data = {0x400000, 4096};
	struct blk *blk;
	struct request r;

	begin(false, false, 0);
	blk = (struct blk *)fake_device(m, "blk0");
	/* At rest when asked; nothing written, then something. */
	fake_quiesce(m, &blk->v.device);
	CU_ASSERT_EQUAL(m->idle, 1);
	fake_resume(m, &blk->v.device);
	write_and_check(0, &data, 1, 1);
	CU_ASSERT_EQUAL(blk->flushed, 0);
	m->idle = 0;
	fake_quiesce(m, &blk->v.device);
	CU_ASSERT_TRUE(fake_until(m, is_idle, NULL));
	CU_ASSERT_EQUAL(blk->flushed, 1);
	CU_ASSERT_EQUAL(blk->v.in_flight, 0);
	fake_resume(m, &blk->v.device);
	/* Asked in the middle of a write. */
	r = request(VIRTIO_BLK_T_OUT, 8, false, &data, 1);
	mini_add(&mini, 0, r.segs, r.n_out, r.n_in);
	mini_kick(&mini, 0);
	while (!blk->v.in_flight && !mini_used(&mini, 0))
		uv_run(&m->loop, UV_RUN_NOWAIT);
	m->idle = 0;
	fake_quiesce(m, &blk->v.device);
	CU_ASSERT_TRUE(fake_until(m, is_idle, NULL));
	CU_ASSERT_EQUAL(m->idle, 1);
	CU_ASSERT_EQUAL(blk->flushed, 2);
	CU_ASSERT_EQUAL(mini_wait(&mini, 0), 1);
	fake_resume(m, &blk->v.device);
	/* A failure of that flush is the guest's to hear, once. */
	blk->flush_failed = true;
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_FLUSH, 0, false, NULL, 0)),
			VIRTIO_BLK_S_IOERR);
	CU_ASSERT_EQUAL(run(request(VIRTIO_BLK_T_FLUSH, 0, false, NULL, 0)), VIRTIO_BLK_S_OK);
	fake_free(m);
}

/* A reset with work under way: status reads 0 only when nothing can write memory any more. */
static void test_reset_in_flight(void)
{
	struct mini_seg data = {0x400000, 262144};
	struct virtio *v;
	struct request r;

	begin(false, false, 0);
	v = (struct virtio *)fake_device(m, "blk0");
	for (unsigned round = 0; round < 20; round++) {
		r = request(VIRTIO_BLK_T_IN, 0, true, &data, 1);
		mini_add(&mini, 0, r.segs, r.n_out, r.n_in);
		mini_kick(&mini, 0);
		while (!v->in_flight && !mini_used(&mini, 0))
			uv_run(&m->loop, UV_RUN_NOWAIT);
		mini_set_status(&mini, 0);
		CU_ASSERT_EQUAL(mini_status(&mini) == 0, v->in_flight == 0);
		mini.heap = HEAP;
		CU_ASSERT_TRUE(mini_start(&mini, 0, 1));
		CU_ASSERT_EQUAL(v->in_flight, 0);
	}
	read_and_check(0, &data, 1);
	fake_free(m);
}

/* The device goes while the pool still works for it. */
static void test_destroy_in_flight(void)
{
	for (unsigned round = 0; round < 10; round++) {
		struct mini_seg data = {0x400000, 262144};
		struct request r;
		struct virtio *v;

		begin(false, false, INDIRECT);
		v = (struct virtio *)fake_device(m, "blk0");
		for (unsigned i = 0; i < 8; i++) {
			r = request(VIRTIO_BLK_T_IN, 0, true, &data, 1);
			mini_add(&mini, 0, r.segs, r.n_out, r.n_in);
		}
		mini_kick(&mini, 0);
		while (!v->in_flight && !mini_used(&mini, 0))
			uv_run(&m->loop, UV_RUN_NOWAIT);
		fake_free(m);
	}
}

/* A driver that offers again without looking: never more under way than the ring is long. */
static void test_flood(void)
{
	struct mini_seg data = {0x400000, 512};
	struct request r;
	unsigned done = 0;

	begin(false, false, INDIRECT);
	r = request(VIRTIO_BLK_T_IN, 3, true, &data, 1);
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < MINI_SIZE; k++) {
			mini.heap = 0x300000; /* one indirect table for all */
			mini_add(&mini, 0, r.segs, r.n_out, r.n_in);
		}
		mini_kick(&mini, 0);
		for (unsigned k = 0; k < MINI_SIZE; k++)
			done += mini_wait(&mini, 0) == 513;
	}
	CU_ASSERT_EQUAL(done, 100 * MINI_SIZE);
	CU_ASSERT_TRUE(mini_interrupts(&mini, 1) > 0);
	fake_free(m);
}

static void test_open_errors(void)
{
	Segue__Disk disk = SEGUE__DISK__INIT;

	m = fake_new(RAM_BYTES);
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	disk.path = "/nonexistent/image";
	CU_ASSERT_EQUAL(virtio_blk_add(m, &disk, 0, &err), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/image"));
	err = (struct error){0};
	disk.path = "/dev/null";
	CU_ASSERT_EQUAL(virtio_blk_add(m, &disk, 0, &err), -EINVAL);
	fake_free(m);
	/* No bus to put it on: everything is taken back. */
	m = fake_new(RAM_BYTES);
	m->refuse_place = true;
	disk.path = path;
	err = (struct error){0};
	CU_ASSERT_EQUAL(virtio_blk_add(m, &disk, 0, &err), -ENODEV);
	fake_free(m);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failures;

	image = mkstemp(path);
	if (image < 0) {
		perror(path);
		return 77; /* nowhere to put a disk */
	}
	CU_initialize_registry();
	suite = CU_add_suite("virtio blk", NULL, NULL);
	CU_ADD_TEST(suite, test_config);
	CU_ADD_TEST(suite, test_transfers);
	CU_ADD_TEST(suite, test_direct);
	CU_ADD_TEST(suite, test_serial);
	CU_ADD_TEST(suite, test_readonly);
	CU_ADD_TEST(suite, test_refused);
	CU_ADD_TEST(suite, test_ranges);
	CU_ADD_TEST(suite, test_dirty);
	CU_ADD_TEST(suite, test_quiesce_and_move);
	CU_ADD_TEST(suite, test_quiesce_flushes);
	CU_ADD_TEST(suite, test_reset_in_flight);
	CU_ADD_TEST(suite, test_destroy_in_flight);
	CU_ADD_TEST(suite, test_flood);
	CU_ADD_TEST(suite, test_open_errors);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	unlink(path);
	return failures != 0;
}
