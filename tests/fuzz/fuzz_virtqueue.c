/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest, or a hostile source of a move, can do to the virtio devices.
 *
 * Byte 0 chooses: 0 to 4 work a device (entropy, console, balloon, card, disk) whose rings
 * and requests are the rest of the input, laid into guest RAM from address 0 on; 5 plays
 * the rest as register accesses; 6 loads it as a device's state; 7 plays the rest as accesses
 * to registers that are memory-mapped. Byte 1 is a choice within.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/mini_driver.h"
#include "vmm/devices/pci.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/net.h"

#define RAM_BYTES  (2u << 20)
#define DISK_BYTES (64u << 10)
#define RING_STEP  0x400u /* a queue's rings: descriptors, at 0x100 avail, at 0x180 used */
#define DEVICES    5u
#define QUEUES     5u
#define KINDS      (DEVICES + 3)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct machine *m;
static struct machine *pv; /* devices on no bus */
static struct console *console;
static struct mini minis[DEVICES];
static int wire;

static const struct {
	uint16_t id;
	const char *name;
	unsigned queues;
} kinds[DEVICES] = {
    {VIRTIO_ID_RNG, "rng0", 1},         {VIRTIO_ID_CONSOLE, "console0", 2},
    {VIRTIO_ID_BALLOON, "balloon0", 5}, {VIRTIO_ID_NET, "net0", 3},
    {VIRTIO_ID_BLOCK, "blk0", 1},
};

static void must(bool true_of_every_host)
{
	if (!true_of_every_host)
		abort();
}

static void disk_add(void)
{
	Segue__Disk disk = SEGUE__DISK__INIT;
	int fd = memfd_create("fuzz-disk", MFD_CLOEXEC);
	char path[64];

	must(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	disk.path = path;
	must(virtio_blk_add(m, &disk, 0, NULL) == 0);
	close(fd);
}

static void build(void)
{
	static const uint8_t mac[NET_MAC] = {2, 0, 0, 0, 0, 1};
	struct balloon *balloon;
	int pair[2];

	m = fake_new(RAM_BYTES);
	console = console_new(-1);
	must(console && pci_host_add(m) == 0 && virtio_rng_add(m, NULL) == 0);
	must(virtio_console_add(m, console, NULL) == 0);
	must(virtio_balloon_add(m, &balloon, NULL) == 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
	wire = pair[0];
	must(virtio_net_add_fd(m, pair[1], mac, 0, NULL) == 0);
	disk_add();
	pv = fake_new_pv(RAM_BYTES);
	must(virtio_rng_add(pv, NULL) == 0 && virtio_balloon_add(pv, &balloon, NULL) == 0);
}

static struct virtio *device(unsigned kind)
{
	return (struct virtio *)fake_device(m, kinds[kind].name);
}

static bool at_rest(void *context)
{
	(void)context;
	for (unsigned i = 0; i < DEVICES; i++)
		if (device(i)->in_flight)
			return false;
	return true;
}

static void settle(void)
{
	for (unsigned i = 0; i < 4; i++)
		uv_run(&m->loop, UV_RUN_NOWAIT);
	must(fake_until(m, at_rest, NULL));
}

static void put_queue(struct mini *mini, unsigned index)
{
	struct mini_queue q = {.size = 16, .desc = RING_STEP * index};

	q.avail = q.desc + 0x100;
	q.used = q.desc + 0x180;
	mini->queues[index] = q;
	/* As mini_queue() does, at places of our own. */
	fake_write(m, mini->common + 22, index, 2);
	fake_write(m, mini->common + 24, q.size, 2);
	fake_write(m, mini->common + 32, q.desc, 8);
	fake_write(m, mini->common + 40, q.avail, 8);
	fake_write(m, mini->common + 48, q.used, 8);
	fake_write(m, mini->common + 26, index + 1, 2);
	fake_write(m, mini->common + 28, 1, 2);
}

static void outside_world(void)
{
	static uint8_t frame[4000];
	uint8_t got[256];

	while (recv(wire, got, sizeof(got), 0) > 0)
		;
	for (unsigned i = 0; i < 3; i++)
		(void)!send(wire, frame, 100 + 1900 * i, 0);
	machine_lock(m);
	console_type(console, frame, 40);
	machine_unlock(m);
}

static void work_device(unsigned kind, uint8_t choice, const uint8_t *data, size_t size)
{
	struct mini *mini = &minis[kind];
	uint64_t features = 1ull << VIRTIO_F_VERSION_1;

	features |= choice & 1 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0;
	features |= choice & 2 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0;
	features |= choice & 4 ? device(kind)->offered : 0;
	must(mini_negotiate(mini, features));
	memcpy(ram_base(m->ram), data, size < RAM_BYTES ? size : RAM_BYTES);
	ram_track(m->ram, choice & 8);
	for (unsigned i = 0; i < kinds[kind].queues; i++)
		put_queue(mini, i);
	mini_ready(mini);
	outside_world();
	settle();
	if (choice & 16)
		mini_set_status(mini, 0); /* with whatever is under way */
	for (unsigned i = 0; i < kinds[kind].queues; i++)
		mini_kick(mini, i);
	settle();
}

/* Eight bytes an access: where, how long, offset, value. */
static void play(const uint8_t *data, size_t size)
{
	const uint64_t bases[] = {LAYOUT_ECAM, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW + 0x10000,
				  LAYOUT_ECAM + 0x8000 * 3};

	for (; size >= 8; data += 8, size -= 8) {
		unsigned len = 1u << (data[1] & 3);
		uint64_t offset = data[2] | (uint64_t)data[3] << 8, value = 0;
		uint64_t at = bases[data[0] & 3] + offset;

		memcpy(&value, data + 4, 4);
		value |= value << 32;
		if (data[0] & 8)
			fake_out(m, (uint16_t)(0xcf8 + (offset & 7)), value, len);
		else if (data[0] & 4)
			fake_read(m, at, len);
		else
			fake_write(m, at, value, len);
	}
	settle();
}

/* Eight bytes an access: device, how, offset, value; in between the loop has its turn. */
static void play_mmio(const uint8_t *data, size_t size)
{
	for (; size >= 8; data += 8, size -= 8) {
		unsigned len = 1u << (data[1] & 3);
		uint64_t offset = (data[2] | (uint64_t)data[3] << 8) % LAYOUT_PV_DEVICE_SIZE;
		uint64_t at =
		    LAYOUT_PV_DEVICES + (data[0] & 1) * LAYOUT_PV_DEVICE_SIZE + offset;
		uint32_t value;

		memcpy(&value, data + 4, 4);
		if (offset + len > LAYOUT_PV_DEVICE_SIZE)
			continue;
		if (data[0] & 4)
			fake_read(pv, at, len);
		else
			fake_write(pv, at, value, len);
		if (data[0] & 8)
			uv_run(&pv->loop, UV_RUN_NOWAIT);
	}
	uv_run(&pv->loop, UV_RUN_NOWAIT);
}

static void load(uint8_t choice, const uint8_t *data, size_t size)
{
	unsigned kind = choice % (DEVICES + 3);
	struct machine *of = kind > DEVICES ? pv : m;
	const char *name = kind < DEVICES    ? kinds[kind].name
			   : kind == DEVICES ? "pci"
			   : kind & 1        ? "balloon0"
					     : "rng0";
	struct device *d = fake_device(of, name);

	if (d->ops->load(d, data, size, NULL) < 0 || !d->ops->resume)
		return;
	fake_resume(of, d);
	uv_run(&of->loop, UV_RUN_NOWAIT);
	settle();
	fake_quiesce(of, d);
	settle();
	fake_resume(of, d);
}

static void clean_up(void)
{
	ram_track(m->ram, false);
	settle();
	fake_reset(m);
	settle();
	memset(ram_base(m->ram), 0, RAM_BYTES);
	m->n_msis = 0;
	uv_run(&pv->loop, UV_RUN_NOWAIT);
	fake_reset(pv);
	must(pv->lines == 0);
	memset(ram_base(pv->ram), 0, RAM_BYTES);
	for (unsigned i = 0; i < DEVICES; i++)
		must(device(i)->status == 0 && device(i)->in_flight == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (!m)
		build();
	for (unsigned i = 0; i < DEVICES; i++) {
		device(i)->quiet = false;
		must(mini_find(&minis[i], m, kinds[i].id, 0, 0));
	}
	if (data[0] % KINDS < DEVICES)
		work_device(data[0] % KINDS, data[1], data + 2, size - 2);
	else if (data[0] % KINDS == DEVICES)
		play(data + 2, size - 2);
	else if (data[0] % KINDS == DEVICES + 2)
		play_mmio(data + 2, size - 2);
	else
		load(data[1], data + 2, size - 2);
	clean_up();
	return 0;
}
