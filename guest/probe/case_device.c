/* SPDX-License-Identifier: Apache-2.0 */
/* Ports, registers in memory, and the devices behind them. */
#include "virtio.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

#define COM1         0x3f8ull
#define DATA         0u
#define IER          1u
#define IIR          2u
#define FCR          2u
#define MCR          4u
#define SCRATCH      7u
#define IER_RECEIVED 1u
#define IER_EMPTY    2u
#define MCR_LOOP     0x10u
#define SERIAL       (1ull << SEGUE_PV_LINE_SERIAL)

static uint64_t in(unsigned port)
{
	return io_read(SEGUE_PV_PORTS, COM1 + port, 1);
}

static void out(unsigned port, uint8_t value)
{
	io_write(SEGUE_PV_PORTS, COM1 + port, 1, value);
}

static void io_serial(void)
{
	for (unsigned i = 0; i < 256; i++) {
		out(SCRATCH, (uint8_t)i);
		EXPECT_EQ(in(SCRATCH), i);
	}
	/* Of a value, what the width says. */
	EXPECT_EQ(io_write(SEGUE_PV_PORTS, COM1 + SCRATCH, 1, 0xffffffffffffff5aull), 0);
	EXPECT_EQ(in(SCRATCH), 0x5a);
	out(SCRATCH, 0);
	print("probe: io-serial: by port:");
	print_flush();
	for (const char *p = " hello\n"; *p; p++)
		out(DATA, (uint8_t)*p);
}

/* Places where nothing is, of every width. */
static void io_nothing(void)
{
	static const uint64_t ports[] = {0,      0x80,   0x3f0,   0x3fe, 0xcf8,
					 0xfff8, 0xffff, 0x10000, ~0ull, ~0ull - 3};
	static const uint64_t places[] = {0,          0x1000,     0xe0000000, 0xfee00000,
					  1ull << 40, 1ull << 63, ~0ull,      ~0ull - 6};

	for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
		for (unsigned i = 0; i < sizeof(ports) / sizeof(*ports); i++)
			io_read(SEGUE_PV_PORTS, ports[i], bytes);
		for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
			io_read(SEGUE_PV_MEMORY, places[i], bytes);
			if (places[i] < boot->ram || places[i] > 1ull << 39)
				io_write(SEGUE_PV_MEMORY, places[i], bytes, ~0ull);
		}
	}
	/* Registers in memory are no way around page 0. */
	EXPECT(*(volatile uint64_t *)SEGUE_PV_DIRECT != ~0ull);
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
}

static volatile uint64_t serial_events;

static void serial_event(struct segue_pv_frame *frame)
{
	(void)frame;
	if (vcpu->pending & SERIAL) {
		serial_events++;
		in(IIR);
		out(IER, 0);
	}
	pending_clear(TIMER);
}

static bool line_is(uint64_t bit, bool up)
{
	uint64_t end = clock_ns() + 1000 * MS;

	while (!!(__atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST) & bit) != up)
		if (clock_ns() > end)
			return false;
	return true;
}

/* A line that follows its device: up while there is a cause, down without the guest's doing. */
static void io_line(void)
{
	EXPECT(line_is(SERIAL, false));
	out(MCR, MCR_LOOP | 8);
	out(FCR, 1);
	while (in(5) & 1)
		in(DATA);
	out(IER, IER_RECEIVED);
	EXPECT(line_is(SERIAL, false));
	out(DATA, 'x');
	EXPECT(line_is(SERIAL, true));
	/* Clearing the bit is not answering the cause, BLOCK does not wait while it is there.
	 */
	EXPECT_EQ(hv(SEGUE_PV_BLOCK, 0, 0, 0), 0);
	EXPECT_EQ(in(DATA), 'x');
	EXPECT(line_is(SERIAL, false));
	out(IER, 0);
	out(FCR, 0);
	out(MCR, 8);
	/* Unmasked, it interrupts. */
	serial_events = 0;
	event_hook = serial_event;
	events_unmask();
	out(IER, IER_EMPTY);
	for (uint64_t end = clock_ns() + 1000 * MS; !serial_events && clock_ns() < end;)
		;
	events_mask();
	EXPECT(serial_events == 1);
	EXPECT(line_is(SERIAL, false));
}

static void device_list(void)
{
	const struct segue_pv_device *d = at(boot->devices);
	struct virtio v;

	for (uint32_t i = 0; i < boot->n_devices; i++) {
		v = (struct virtio){.address = d[i].address};
		EXPECT_EQ(virtio_read(&v, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
		EXPECT_EQ(virtio_read(&v, VIRTIO_MMIO_VERSION), 2);
		EXPECT(d[i].size >= 0x100);
		EXPECT(d[i].line < 64 && d[i].line != SEGUE_PV_LINE_TIMER);
		for (uint32_t k = 0; k < i; k++)
			EXPECT(d[k].address + d[k].size <= d[i].address ||
			       d[k].address >= d[i].address + d[i].size);
	}
	note("devices", boot->n_devices);
}

static void device_entropy(void)
{
	struct virtio v;
	uint64_t page = page_new(), *words = at(page), zero = 0;

	if (!virtio_find(VIRTIO_ID_RNG, &v)) {
		skip("no entropy device");
		return;
	}
	EXPECT(virtio_start(&v, 0));
	for (unsigned round = 0; round < 20; round++) {
		uint64_t first = words[0];

		EXPECT_EQ(virtio_request(&v, page, PAGE, true), PAGE);
		EXPECT(words[0] != first);
		for (unsigned i = 0; i < PAGE / 8; i++)
			zero += words[i] == 0;
	}
	EXPECT_EQ(zero, 0);
	/* Its line is up until acknowledged, and it interrupts user and kernel alike. */
	virtio_submit(&v, page, PAGE, true);
	EXPECT(line_is(1ull << v.line, true));
	EXPECT_EQ(hv(SEGUE_PV_BLOCK, 0, 0, 0), 0);
	virtio_acknowledge(&v);
	EXPECT(line_is(1ull << v.line, false));
	EXPECT_EQ(virtio_poll(&v), PAGE);
	/* A buffer outside RAM: the device's trouble, not the machine's. */
	virtio_submit(&v, boot->ram - 8, 64, true);
	virtio_submit(&v, 1ull << 50, 64, true);
	virtio_write(&v, VIRTIO_MMIO_STATUS, 0);
	EXPECT(virtio_start(&v, 0));
	EXPECT_EQ(virtio_request(&v, page, 64, true), 64);
	virtio_write(&v, VIRTIO_MMIO_STATUS, 0);
}

static void device_console(void)
{
	static const char text[] = "probe on the virtio console\n";
	struct virtio v;

	if (!virtio_find(VIRTIO_ID_CONSOLE, &v)) {
		skip("no virtio console");
		return;
	}
	EXPECT(virtio_start(&v, 1));
	for (unsigned i = 0; i < 20; i++)
		EXPECT(virtio_request(&v, gpa_of(text), sizeof(text) - 1, false) >= 0);
	virtio_write(&v, VIRTIO_MMIO_STATUS, 0);
}

/* Registers read and written at random, then a device that works again. */
static void device_wild(void)
{
	uint64_t seed = 11;
	struct virtio v;

	if (!virtio_find(VIRTIO_ID_RNG, &v)) {
		skip("no entropy device");
		return;
	}
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t x = random_next(&seed), address = v.address + (x & 0x1ff);

		if (x >> 20 & 1)
			io_read(SEGUE_PV_MEMORY, address, 1u << (x >> 24 & 3));
		else
			io_write(SEGUE_PV_MEMORY, address & ~3ull, 1u << (x >> 24 & 3),
				 x >> 32);
	}
	EXPECT(virtio_start(&v, 0));
	EXPECT_EQ(virtio_request(&v, page_new(), 64, true), 64);
	virtio_write(&v, VIRTIO_MMIO_STATUS, 0);
}

const struct probe_case device_cases[] = {
    {"io-serial", io_serial},
    {"io-nothing", io_nothing},
    {"io-line", io_line},
    {"device-list", device_list},
    {"device-entropy", device_entropy},
    {"device-console", device_console},
    {"device-wild", device_wild},
    {NULL, NULL},
};
