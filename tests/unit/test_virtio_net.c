/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mini_driver.h"
#include "proto/le.h"
#include "vmm/devices/pci.h"
#include "vmm/virtio/devices.h"
#include "vmm/virtio/net.h"

/* A card on a socket that keeps frames apart as a tap does; and on a tap, where one can be. */
#define RAM_BYTES (16u << 20)
#define HEAP      0x100000u
#define BIT(name) (1ull << VIRTIO_NET_F_##name)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

static const uint8_t mac[NET_MAC] = {0x02, 0x00, 0x5e, 0x10, 0x00, 0x01};
static struct machine *m;
static struct mini mini;
static struct error err;
static int wire; /* our end */

static void build(void)
{
	int pair[2];

	m = fake_new(RAM_BYTES);
	err = (struct error){0};
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	wire = pair[0];
	CU_ASSERT_EQUAL_FATAL(virtio_net_add_fd(m, pair[1], mac, 0, &err), 0);
}

static void begin(uint64_t features)
{
	build();
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_NET, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(&mini, features, 3));
}

static void end(void)
{
	fake_free(m);
	close(wire);
}

/* N bytes that differ from place to place, behind a header. */
static size_t frame(uint8_t *buf, size_t n)
{
	memset(buf, 0, NET_HEADER);
	for (size_t i = 0; i < n; i++)
		buf[NET_HEADER + i] = (uint8_t)(i * 7 + i / 256);
	return NET_HEADER + n;
}

static void test_config(void)
{
	begin(BIT(MAC) | BIT(STATUS));
	for (unsigned i = 0; i < NET_MAC; i++)
		CU_ASSERT_EQUAL(fake_read(m, mini.config + i, 1), mac[i]);
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 6, 2), VIRTIO_NET_S_LINK_UP);
	CU_ASSERT_STRING_EQUAL(fake_device(m, "net0")->contract,
			       "virtio-net 02:00:5e:10:00:01");
	end();
}

static void test_transmit(void)
{
	uint8_t sent[2048], got[4096];
	struct mini_seg segs[3];
	size_t n = frame(sent, 1000);

	begin(EVENT_IDX);
	/* Header and frame apart, and cut inside the header. */
	segs[0] = (struct mini_seg){mini_alloc(&mini, 16), 5};
	segs[1] = (struct mini_seg){mini_alloc(&mini, 128), 107};
	segs[2] = (struct mini_seg){mini_alloc(&mini, 1024), (uint32_t)n - 112};
	memcpy(mini_at(&mini, segs[0].gpa), sent, 5);
	memcpy(mini_at(&mini, segs[1].gpa), sent + 5, 107);
	memcpy(mini_at(&mini, segs[2].gpa), sent + 112, n - 112);
	for (unsigned i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(mini_do(&mini, NET_TX, segs, 3, 0), 0);
		CU_ASSERT_EQUAL(recv(wire, got, sizeof(got), 0), (ssize_t)n);
		CU_ASSERT_EQUAL(memcmp(got, sent, n), 0);
	}
	/* Nothing but a header, less, and far too long: dropped, and the queue lives. */
	segs[0].len = 12;
	CU_ASSERT_EQUAL(mini_do(&mini, NET_TX, segs, 1, 0), 0);
	segs[0].len = 3;
	CU_ASSERT_EQUAL(mini_do(&mini, NET_TX, segs, 1, 0), 0);
	segs[0] = (struct mini_seg){0, 1 << 20};
	CU_ASSERT_EQUAL(mini_do(&mini, NET_TX, segs, 1, 0), 0);
	CU_ASSERT_EQUAL(recv(wire, got, sizeof(got), 0), -1);
	CU_ASSERT_EQUAL(mini_status(&mini), 0x0f);
	end();
}

static void test_receive(void)
{
	uint8_t sent[2048], got[2048];
	struct mini_seg segs[2];

	begin(EVENT_IDX);
	segs[0] = (struct mini_seg){mini_alloc(&mini, 16), 7};
	segs[1] = (struct mini_seg){mini_alloc(&mini, 2048), 1600};
	for (unsigned i = 0; i < 50; i++) {
		size_t n = frame(sent, 60 + 20 * i);

		/* The frame first, every other time: it has to wait for a buffer. */
		if (i % 2)
			CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
		mini_add(&mini, NET_RX, segs, 0, 2);
		mini_kick(&mini, NET_RX);
		if (i % 2 == 0)
			CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
		CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), n);
		memcpy(got, mini_at(&mini, segs[0].gpa), 7);
		memcpy(got + 7, mini_at(&mini, segs[1].gpa), n - 7);
		sent[10] = 1; /* buffers; always there (5.1.6) */
		CU_ASSERT_EQUAL(memcmp(got, sent, n), 0);
	}
	CU_ASSERT_TRUE(mini_interrupts(&mini, NET_RX + 1) >= 25);
	end();
}

/* Without merging, what is longer than the buffer is lost, and what comes next is not. */
static void test_too_long(void)
{
	uint8_t sent[2048];
	struct mini_seg seg;
	size_t n;

	begin(0);
	seg = (struct mini_seg){mini_alloc(&mini, 2048), 512};
	mini_add(&mini, NET_RX, &seg, 0, 1);
	mini_kick(&mini, NET_RX);
	n = frame(sent, 1000);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	n = frame(sent, 500);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), 512);
	end();
}

static void test_merge(void)
{
	static uint8_t sent[70000], got[70000];
	struct mini_seg seg[8];
	size_t n = frame(sent, 9000), at = 0;

	begin(BIT(MRG_RXBUF));
	ram_track(m->ram, true);
	for (unsigned i = 0; i < 6; i++) {
		seg[i] = (struct mini_seg){0x400000 + 0x10000 * i, 1600};
		mini_add(&mini, NET_RX, &seg[i], 0, 1);
	}
	mini_kick(&mini, NET_RX);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	/* 9012 bytes: six of 1600, of which the last is not full. All at once. */
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), 1600);
	CU_ASSERT_EQUAL(le16_get(mini_at(&mini, seg[0].gpa + 10)), 6);
	memcpy(got, mini_at(&mini, seg[0].gpa), 1600);
	CU_ASSERT_EQUAL(le16_get(mini_at(&mini, mini.queues[NET_RX].used + 2)), 6);
	for (at = 1600; at < n; at += 1600) {
		uint32_t len = mini_wait(&mini, NET_RX);

		CU_ASSERT_EQUAL(len, n - at < 1600 ? n - at : 1600);
		memcpy(got + at, mini_at(&mini, seg[at / 1600].gpa), len);
	}
	CU_ASSERT_EQUAL(memcmp(got + NET_HEADER, sent + NET_HEADER, n - NET_HEADER), 0);
	CU_ASSERT_TRUE(fake_dirty(m, seg[5].gpa));
	ram_track(m->ram, false);
	/* Too few buffers: the frame is lost, a shorter one then finds them all there. */
	for (unsigned i = 0; i < 3; i++)
		mini_add(&mini, NET_RX, &seg[i], 0, 1);
	mini_kick(&mini, NET_RX);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	n = frame(sent, 4000);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), i < 2 ? 1600 : 812);
	CU_ASSERT_EQUAL(le16_get(mini_at(&mini, seg[0].gpa + 10)), 3);
	end();
}

static void test_hostile_buffer(void)
{
	uint8_t sent[128];
	struct mini_seg seg;
	size_t n = frame(sent, 60);

	begin(0);
	seg = (struct mini_seg){mini_alloc(&mini, 16), 11};
	mini_add(&mini, NET_RX, &seg, 0, 1);
	mini_kick(&mini, NET_RX);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_TRUE(mini_status(&mini) & VIRTIO_CONFIG_S_NEEDS_RESET);
	end();
}

/* A driver that resets while frames come in: none is written, and afterwards all is well. */
static void test_reset(void)
{
	uint8_t sent[128];
	struct mini_seg seg = {0x400000, 2048};
	size_t n = frame(sent, 60);

	begin(0);
	mini_add(&mini, NET_RX, &seg, 0, 1);
	mini_kick(&mini, NET_RX);
	fake_turn(m, 1);
	mini_set_status(&mini, 0);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_EQUAL(*(uint8_t *)mini_at(&mini, seg.gpa + NET_HEADER + 1), 0);
	CU_ASSERT_TRUE(mini_start(&mini, 0, 3));
	CU_ASSERT_EQUAL(mini_do(&mini, NET_RX, &seg, 0, 1), n);
	end();
}

static void expect_rarp(void)
{
	uint8_t got[256] = {0};
	const uint8_t *e = got + NET_HEADER;

	CU_ASSERT_EQUAL(recv(wire, got, sizeof(got), 0), NET_HEADER + 60);
	CU_ASSERT_EQUAL(memcmp(e, "\xff\xff\xff\xff\xff\xff", 6), 0);
	CU_ASSERT_EQUAL(memcmp(e + 6, mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(e + 12, "\x80\x35\0\1\x08\0\6\4\0\3", 10), 0);
	CU_ASSERT_EQUAL(memcmp(e + 22, mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(e + 32, mac, 6), 0);
}

static void announce(unsigned round)
{
	struct device *net = fake_device(m, "net0");

	machine_lock(m);
	net->ops->announce(net, round);
	machine_unlock(m);
}

static uint8_t control(uint8_t class, uint8_t command)
{
	struct mini_seg segs[2] = {{mini_alloc(&mini, 16), 2}, {mini_alloc(&mini, 16), 1}};
	uint8_t *header = mini_at(&mini, segs[0].gpa);

	header[0] = class;
	header[1] = command;
	*(uint8_t *)mini_at(&mini, segs[1].gpa) = 0xee;
	CU_ASSERT_EQUAL(mini_do(&mini, NET_CTRL, segs, 1, 1), 1);
	return *(uint8_t *)mini_at(&mini, segs[1].gpa);
}

static void test_announce(void)
{
	begin(BIT(STATUS) | BIT(CTRL_VQ) | BIT(GUEST_ANNOUNCE));
	announce(0);
	expect_rarp();
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 6, 2),
			VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	CU_ASSERT_EQUAL(mini_interrupts(&mini, 0), 1);
	CU_ASSERT_EQUAL(control(VIRTIO_NET_CTRL_MQ, 0), VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(control(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK),
			VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(fake_read(m, mini.config + 6, 2), VIRTIO_NET_S_LINK_UP);
	announce(1);
	expect_rarp();
	CU_ASSERT_EQUAL(mini_interrupts(&mini, 0), 1);
	end();
	/* A driver without that: only the card speaks. */
	begin(0);
	announce(0);
	expect_rarp();
	CU_ASSERT_EQUAL(mini_interrupts(&mini, 0), 0);
	end();
}

/* Frames that come while the card is quiet wait in the host, and reach the other side. */
static void test_move(void)
{
	uint8_t sent[512];
	struct mini_seg seg[2] = {{0x400000, 2048}, {0x410000, 2048}};
	struct machine *source;
	struct device *there;
	size_t n = frame(sent, 300);
	int old;

	begin(EVENT_IDX | BIT(STATUS) | BIT(CTRL_VQ) | BIT(GUEST_ANNOUNCE));
	mini_add(&mini, NET_RX, &seg[0], 0, 1);
	mini_add(&mini, NET_RX, &seg[1], 0, 1);
	mini_kick(&mini, NET_RX);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), n);
	fake_quiesce(m, fake_device(m, "net0"));
	CU_ASSERT_EQUAL(m->idle, 1);
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	for (unsigned i = 0; i < 5; i++)
		fake_turn(m, 1);
	CU_ASSERT_FALSE(mini_used(&mini, NET_RX));
	source = m;
	old = wire;
	build();
	there = fake_device(m, "net0");
	memcpy(ram_base(m->ram), ram_base(source->ram), RAM_BYTES);
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "net0"), there, &err), 0);
	fake_free(source);
	close(old);
	mini.m = m;
	fake_resume(m, there);
	/* The second buffer is still the device's. */
	CU_ASSERT_EQUAL(send(wire, sent, n, 0), (ssize_t)n);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), n);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg[1].gpa + NET_HEADER), sent + NET_HEADER, 300),
			0);
	announce(0);
	expect_rarp();
	/* Not acknowledged yet: the next host must go on asking. */
	fake_quiesce(m, there);
	source = m;
	old = wire;
	build();
	there = fake_device(m, "net0");
	memcpy(ram_base(m->ram), ram_base(source->ram), RAM_BYTES);
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "net0"), there, &err), 0);
	fake_free(source);
	close(old);
	mini.m = m;
	fake_resume(m, there);
	CU_ASSERT_TRUE(fake_read(m, mini.config + 6, 2) & VIRTIO_NET_S_ANNOUNCE);
	end();
}

/* What reaches the card of a guest that has gone comes out of its card elsewhere, in order. */
static void test_late(void)
{
	uint8_t sent[2][512], none[NET_HEADER] = {0};
	struct mini_seg seg[2] = {{0x400000, 2048}, {0x410000, 2048}};
	struct buffer late = {0};
	struct device *net;
	size_t n = frame(sent[0], 300);

	begin(EVENT_IDX);
	net = fake_device(m, "net0");
	frame(sent[1], 200);
	fake_quiesce(m, net);
	CU_ASSERT_EQUAL(net->ops->late_save(net, &late), 0);
	CU_ASSERT_EQUAL(late.len, 0);
	CU_ASSERT_EQUAL(send(wire, sent[0], n, 0), (ssize_t)n);
	CU_ASSERT_EQUAL(send(wire, none, 3, 0), 3); /* no frame, and the end of what is taken */
	CU_ASSERT_EQUAL(net->ops->late_save(net, &late), 0);
	CU_ASSERT_EQUAL(send(wire, sent[1], n - 100, 0), (ssize_t)n - 100);
	CU_ASSERT_EQUAL(net->ops->late_save(net, &late), 0); /* as if in one: repeated fields */
	fake_resume(m, net);
	mini_add(&mini, NET_RX, &seg[0], 0, 1);
	mini_add(&mini, NET_RX, &seg[1], 0, 1);
	net->ops->late_load(net, late.data, late.len);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), n);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), n - 100);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg[0].gpa + NET_HEADER), sent[0] + NET_HEADER, 300),
			0);
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg[1].gpa + NET_HEADER), sent[1] + NET_HEADER, 200),
			0);
	/* No buffers any more: lost, and the queue lives. */
	net->ops->late_load(net, late.data, late.len);
	CU_ASSERT_FALSE(mini_used(&mini, NET_RX));
	CU_ASSERT_EQUAL(mini_status(&mini), 0x0f);
	buffer_done(&late);
	end();
}

/* More than a record has room for is left; the room is kept to. */
static void test_late_many(void)
{
	uint8_t sent[2048];
	struct buffer late = {0};
	struct device *net;
	size_t n = frame(sent, 1500);
	unsigned before = 0;

	begin(EVENT_IDX);
	net = fake_device(m, "net0");
	fake_quiesce(m, net);
	while (send(wire, sent, n, 0) == (ssize_t)n)
		before++;
	CU_ASSERT_TRUE(before > 64);
	CU_ASSERT_EQUAL(net->ops->late_save(net, &late), 0);
	CU_ASSERT_TRUE(late.len > 30 * n && late.len <= DEVICE_LATE_MAX);
	buffer_done(&late);
	end();
}

/* A peer may say anything. */
static void test_late_hostile(void)
{
	static uint8_t huge[NET_FRAME_MAX + 1];
	ProtobufCBinaryData frames[] = {
	    {0, NULL}, {NET_HEADER - 1, huge}, {sizeof(huge), huge}, {NET_FRAME_MAX, huge}};
	Segue__VirtioNetLate message = SEGUE__VIRTIO_NET_LATE__INIT;
	struct mini_seg seg = {0x400000, 2048};
	struct buffer late = {0};
	struct device *net;

	begin(EVENT_IDX);
	net = fake_device(m, "net0");
	mini_add(&mini, NET_RX, &seg, 0, 1);
	message.frames = frames;
	message.n_frames = 4;
	CU_ASSERT_EQUAL_FATAL(buffer_pack(&late, &message.base), 0);
	net->ops->late_load(net, late.data, late.len);
	net->ops->late_load(net, late.data, 5);
	CU_ASSERT_FALSE(mini_used(&mini, NET_RX)); /* none fits, and none took the buffer */
	late.len = 0;
	frames[0] = (ProtobufCBinaryData){NET_HEADER + 60, huge};
	message.n_frames = 1;
	CU_ASSERT_EQUAL_FATAL(buffer_pack(&late, &message.base), 0);
	net->ops->late_load(net, late.data, late.len);
	CU_ASSERT_EQUAL(mini_wait(&mini, NET_RX), NET_HEADER + 60);
	buffer_done(&late);
	end();
}

/* ---- a real tap ---- */

static char tap_name[IFNAMSIZ];

static bool tap_make(void)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM, 0);
	bool made = false;

	snprintf(tap_name, sizeof(tap_name), "sgt%u", (unsigned)getpid() % 1000000);
	strcpy(request.ifr_name, tap_name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0 &&
	    ioctl(fd, TUNSETPERSIST, 1) == 0) {
		request.ifr_flags = IFF_UP;
		made = ioctl(s, SIOCSIFFLAGS, &request) == 0;
	}
	close(fd);
	close(s);
	return made;
}

static void tap_remove(void)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(request.ifr_name, tap_name);
	if (ioctl(fd, TUNSETIFF, &request) == 0)
		ioctl(fd, TUNSETPERSIST, 0);
	close(fd);
}

static int packet_socket(void)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct timeval second = {.tv_sec = 1};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	at.sll_ifindex = (int)if_nametoindex(tap_name);
	CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	return fd;
}

/* The next frame of a kind of our own: the host itself talks on the interface as well. */
static ssize_t receive_ours(int fd, uint8_t *buf, size_t size, uint16_t type)
{
	ssize_t n;

	do
		n = recv(fd, buf, size, 0);
	while (n >= 14 && (buf[12] << 8 | buf[13]) != type);
	return n;
}

/*
 * Sends FRAME on the host's side until the guest has it: for a moment after its carrier came
 * up an interface drops everything, and frames of the host's own may come first.
 */
static bool receive_from_host(int fd, const uint8_t *frame, struct mini_seg seg)
{
	uint64_t end = uv_hrtime() + 5000000000u;

	while (uv_hrtime() < end) {
		CU_ASSERT_EQUAL(send(fd, frame, 200, 0), 200);
		fake_turn(m, 20);
		if (!mini_used(&mini, NET_RX))
			continue;
		mini_wait(&mini, NET_RX);
		if (memcmp(mini_at(&mini, seg.gpa + NET_HEADER + 12), frame + 12, 2) == 0)
			return true;
		mini_add(&mini, NET_RX, &seg, 0, 1);
		mini_kick(&mini, NET_RX);
	}
	return false;
}

static void test_tap(void)
{
	Segue__Net config = SEGUE__NET__INIT;
	struct mini_seg seg = {0x400000, 2048};
	uint8_t sent[512], got[2048];
	int fd;

	if (!tap_make()) {
		printf("(no tap can be made here: skipped) ");
		return;
	}
	fd = packet_socket();
	m = fake_new(RAM_BYTES);
	err = (struct error){0};
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	config.tap = tap_name;
	config.mac.data = (uint8_t *)mac;
	config.mac.len = sizeof(mac);
	CU_ASSERT_EQUAL_FATAL(virtio_net_add(m, &config, 0, &err), 0);
	/* Taken: a second card gets told so. */
	CU_ASSERT_EQUAL(virtio_net_add(m, &config, 1, &err), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, tap_name));
	CU_ASSERT_TRUE_FATAL(mini_find(&mini, m, VIRTIO_ID_NET, 0, HEAP));
	CU_ASSERT_TRUE(mini_start(
	    &mini, EVENT_IDX | BIT(CSUM) | BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(MRG_RXBUF),
	    3));
	announce(0);
	CU_ASSERT_EQUAL(receive_ours(fd, got, sizeof(got), ETH_P_RARP), 60);
	CU_ASSERT_EQUAL(memcmp(got + 6, mac, 6), 0);
	/* Out of the guest, and into it. */
	frame(sent, 200);
	memcpy(sent + NET_HEADER, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(sent + NET_HEADER + 6, mac, 6);
	sent[NET_HEADER + 12] = 0x88;
	sent[NET_HEADER + 13] = 0xb5; /* for experiments (IEEE 802) */
	memcpy(mini_at(&mini, seg.gpa), sent, NET_HEADER + 200);
	seg.len = NET_HEADER + 200;
	CU_ASSERT_EQUAL(mini_do(&mini, NET_TX, &seg, 1, 0), 0);
	CU_ASSERT_EQUAL(receive_ours(fd, got, sizeof(got), 0x88b5), 200);
	CU_ASSERT_EQUAL(memcmp(got, sent + NET_HEADER, 200), 0);
	seg.len = 2048;
	sent[NET_HEADER + 20] ^= 0xff;
	mini_add(&mini, NET_RX, &seg, 0, 1);
	mini_kick(&mini, NET_RX);
	CU_ASSERT_TRUE_FATAL(receive_from_host(fd, sent + NET_HEADER, seg));
	CU_ASSERT_EQUAL(memcmp(mini_at(&mini, seg.gpa + NET_HEADER), sent + NET_HEADER, 200),
			0);
	CU_ASSERT_EQUAL(le16_get(mini_at(&mini, seg.gpa + 10)), 1);
	fake_free(m);
	close(fd);
	tap_remove();
}

static void test_tap_errors(void)
{
	Segue__Net config = SEGUE__NET__INIT;

	m = fake_new(RAM_BYTES);
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	config.tap = "nosuchtap0";
	CU_ASSERT_EQUAL(virtio_net_add(m, &config, 0, &err), -EINVAL);
	config.mac.data = (uint8_t *)mac;
	config.mac.len = sizeof(mac);
	const char *names[] = {"nosuchtap0", "lo", "", "a/../b", "aninterfacewithalongname"};
	const int codes[] = {-ENODEV, -ENODEV, -EINVAL, -EINVAL, -EINVAL};
	for (unsigned i = 0; i < 5; i++) {
		err = (struct error){0};
		config.tap = (char *)names[i];
		CU_ASSERT_EQUAL(virtio_net_add(m, &config, 0, &err), codes[i]);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, names[i]));
	}
	fake_free(m);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("virtio net", NULL, NULL);
	CU_ADD_TEST(suite, test_config);
	CU_ADD_TEST(suite, test_transmit);
	CU_ADD_TEST(suite, test_receive);
	CU_ADD_TEST(suite, test_too_long);
	CU_ADD_TEST(suite, test_merge);
	CU_ADD_TEST(suite, test_hostile_buffer);
	CU_ADD_TEST(suite, test_reset);
	CU_ADD_TEST(suite, test_announce);
	CU_ADD_TEST(suite, test_move);
	CU_ADD_TEST(suite, test_late);
	CU_ADD_TEST(suite, test_late_many);
	CU_ADD_TEST(suite, test_late_hostile);
	CU_ADD_TEST(suite, test_tap);
	CU_ADD_TEST(suite, test_tap_errors);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
