/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <string.h>

#include "vmm/bus.h"

struct probe {
	struct bus *bus;
	uint64_t offset;
	unsigned len;
	unsigned reads, writes;
	uint8_t last;
};

static void probe_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct probe *probe = device;

	probe->offset = offset;
	probe->len = len;
	probe->reads++;
	memset(data, 0x5a, len);
}

static void probe_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct probe *probe = device;

	probe->offset = offset;
	probe->len = len;
	probe->writes++;
	probe->last = data[0];
}

static const struct bus_ops probe_ops = {.read = probe_read, .write = probe_write};

static void test_dispatch(void)
{
	struct bus *bus = bus_new();
	struct probe a = {0}, b = {0};
	uint8_t data[8] = {7};

	CU_ASSERT_EQUAL(bus_add(bus, 0x1000, 0x10, &probe_ops, &a), 0);
	CU_ASSERT_EQUAL(bus_add(bus, 0x1010, 0x10, &probe_ops, &b), 0);
	bus_write(bus, 0x100f, data, 1);
	CU_ASSERT_EQUAL(a.writes, 1);
	CU_ASSERT_EQUAL(a.offset, 0xf);
	CU_ASSERT_EQUAL(a.last, 7);
	bus_read(bus, 0x1010, data, 4);
	CU_ASSERT_EQUAL(b.reads, 1);
	CU_ASSERT_EQUAL(b.offset, 0);
	CU_ASSERT_EQUAL(b.len, 4);
	CU_ASSERT_EQUAL(data[3], 0x5a);
	bus_free(bus);
}

static void test_unclaimed(void)
{
	struct bus *bus = bus_new();
	struct probe a = {0};
	uint8_t data[8] = {0};

	CU_ASSERT_EQUAL(bus_add(bus, 0x1000, 4, &probe_ops, &a), 0);
	bus_read(bus, 0xfff, data, 1);
	CU_ASSERT_EQUAL(data[0], 0xff);
	bus_read(bus, 0x1004, data, 8);
	CU_ASSERT_EQUAL(data[7], 0xff);
	bus_write(bus, 0x1004, data, 8);
	/* An access that only begins or ends in a range is nobody's. */
	bus_read(bus, 0xffe, data, 4);
	bus_read(bus, 0x1002, data, 4);
	bus_write(bus, 0x1003, data, 2);
	CU_ASSERT_EQUAL(a.reads + a.writes, 0);
	bus_free(bus);
}

static void test_overlap(void)
{
	struct bus *bus = bus_new();
	struct probe a = {0};

	CU_ASSERT_EQUAL(bus_add(bus, 0x1000, 0x100, &probe_ops, &a), 0);
	CU_ASSERT_EQUAL(bus_add(bus, 0x1000, 1, &probe_ops, &a), -EEXIST);
	CU_ASSERT_EQUAL(bus_add(bus, 0x10ff, 1, &probe_ops, &a), -EEXIST);
	CU_ASSERT_EQUAL(bus_add(bus, 0xf00, 0x101, &probe_ops, &a), -EEXIST);
	CU_ASSERT_EQUAL(bus_add(bus, 0, UINT64_MAX, &probe_ops, &a), -EEXIST);
	CU_ASSERT_EQUAL(bus_add(bus, 0xf00, 0x100, &probe_ops, &a), 0);
	CU_ASSERT_EQUAL(bus_add(bus, 0x1100, 0x100, &probe_ops, &a), 0);
	CU_ASSERT_EQUAL(bus_add(bus, 0x2000, 0, &probe_ops, &a), -EINVAL);
	CU_ASSERT_EQUAL(bus_add(bus, UINT64_MAX, 2, &probe_ops, &a), -EINVAL);
	CU_ASSERT_EQUAL(bus_add(bus, UINT64_MAX, 1, &probe_ops, &a), 0);
	bus_free(bus);
}

/* As a PCI BAR that is moved by a write to itself. */
static void moving_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct probe *probe = device;

	(void)offset;
	(void)data;
	(void)len;
	bus_remove(probe->bus, 0x1000);
	bus_add(probe->bus, 0x8000, 0x10, &probe_ops, probe);
}

static void test_move(void)
{
	static const struct bus_ops moving = {.read = probe_read, .write = moving_write};
	struct probe a = {.bus = bus_new()};
	uint8_t data[4] = {0};

	CU_ASSERT_EQUAL(bus_add(a.bus, 0x1000, 0x10, &moving, &a), 0);
	bus_remove(a.bus, 0x1008); /* not a beginning: nothing */
	bus_read(a.bus, 0x1008, data, 4);
	CU_ASSERT_EQUAL(a.reads, 1);
	bus_write(a.bus, 0x1000, data, 4);
	bus_read(a.bus, 0x1000, data, 4);
	CU_ASSERT_EQUAL(data[0], 0xff);
	bus_read(a.bus, 0x8008, data, 4);
	CU_ASSERT_EQUAL(a.reads, 2);
	CU_ASSERT_EQUAL(a.offset, 8);
	bus_free(a.bus);
}

static void test_many(void)
{
	struct bus *bus = bus_new();
	struct probe probes[100] = {0};
	uint8_t data[1] = {0};

	/* Out of order, so that they have to be sorted in. */
	for (unsigned i = 0; i < 100; i++) {
		unsigned at = i * 37 % 100;

		CU_ASSERT_EQUAL(bus_add(bus, at * 16, 8, &probe_ops, &probes[at]), 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		bus_read(bus, i * 16 + 7, data, 1);
		bus_read(bus, i * 16 + 8, data, 1);
		CU_ASSERT_EQUAL(probes[i].reads, 1);
	}
	bus_free(bus);
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("bus", NULL, NULL);

	CU_add_test(suite, "the range's owner is asked", test_dispatch);
	CU_add_test(suite, "what nobody claims reads as ones", test_unclaimed);
	CU_add_test(suite, "ranges do not overlap", test_overlap);
	CU_add_test(suite, "a device may move while it is written", test_move);
	CU_add_test(suite, "many ranges in any order", test_many);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
