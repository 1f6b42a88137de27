/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

/*
 * Just enough of a driver: virtio 1.2, sections 4.1 (PCI), 2.7 (split virtqueues) and 5.2
 * (block device). One descriptor chain, one request, polling the used ring.
 */
#define PCI_COMMAND    0x04
#define PCI_BAR0       0x10
#define PCI_CAP_PTR    0x34
#define PCI_CAP_VENDOR 0x09
#define PCI_MEM_MASTER 0x06 /* memory space, bus master */
#define BLK_DEVICE     0x10421af4u

#define CAP_COMMON 1 /* virtio 1.2, 4.1.4 */
#define CAP_NOTIFY 2
#define CAP_DEVICE 4

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER      2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8

#define QUEUE_SIZE  4
#define DESC_NEXT   1
#define DESC_WRITE  2
#define BLK_T_IN    0
#define SPIN_LIMIT  50000000u /* polls; minutes, when emulated */

struct common { /* virtio 1.2, 4.1.4.3 */
	uint32_t device_feature_select, device_feature;
	uint32_t driver_feature_select, driver_feature;
	uint16_t config_msix_vector, num_queues;
	uint8_t device_status, config_generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static struct {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} __attribute__((aligned(4))) used;
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} request;
	uint8_t status;
} __attribute__((aligned(16))) queue;

static volatile struct common *common;
static volatile uint16_t *doorbell;
static volatile uint32_t *config;

static volatile uint32_t *config_at(uint64_t function, uint32_t offset)
{
	return (volatile uint32_t *)(function + (offset & ~3u));
}

static uint32_t config_read(uint64_t function, uint32_t offset)
{
	return *config_at(function, offset) >> (offset & 3) * 8;
}

static uint64_t find_function(uint64_t ecam)
{
	for (uint64_t device = 0; device < 32; device++)
		if (*config_at(ecam + (device << 15), 0) == BLK_DEVICE)
			return ecam + (device << 15);
	return 0;
}

/* Gives every memory BAR an address, as firmware would; one megabyte apart is plenty. */
static void place_bars(uint64_t function, uint64_t base)
{
	for (uint32_t bar = 0; bar < 6; bar++, base += 1 << 20) {
		volatile uint32_t *reg = config_at(function, PCI_BAR0 + bar * 4);

		*reg = 0xffffffff;
		if (*reg == 0)
			continue;
		*reg = (uint32_t)base;
		if ((*reg & 6) == 4)
			*config_at(function, PCI_BAR0 + ++bar * 4) = 0;
	}
	*config_at(function, PCI_COMMAND) = PCI_MEM_MASTER;
}

static uint64_t cap_address(uint64_t function, uint32_t cap)
{
	uint32_t bar = config_read(function, cap + 4) & 0xff;

	return (*config_at(function, PCI_BAR0 + bar * 4) & ~15u) + config_read(function, cap + 8);
}

static void find_registers(uint64_t function)
{
	uint64_t notify = 0;
	uint32_t multiplier = 0;

	for (uint32_t cap = config_read(function, PCI_CAP_PTR) & 0xfc; cap;
	     cap = config_read(function, cap + 1) & 0xfc) {
		if ((config_read(function, cap) & 0xff) != PCI_CAP_VENDOR)
			continue;
		switch (config_read(function, cap + 3) & 0xff) {
		case CAP_COMMON:
			common = (volatile struct common *)cap_address(function, cap);
			break;
		case CAP_NOTIFY:
			notify = cap_address(function, cap);
			multiplier = config_read(function, cap + 16);
			break;
		case CAP_DEVICE:
			config = (volatile uint32_t *)cap_address(function, cap);
			break;
		}
	}
	if (!common || !notify)
		return;
	common->queue_select = 0;
	doorbell = (volatile uint16_t *)(notify + common->queue_notify_off * (uint64_t)multiplier);
}

static bool negotiate(void)
{
	common->device_status = 0;
	while (common->device_status)
		;
	common->device_status = STATUS_ACKNOWLEDGE;
	common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	common->driver_feature_select = 0;
	common->driver_feature = 0;
	common->driver_feature_select = 1;
	common->driver_feature = 1; /* VIRTIO_F_VERSION_1 */
	common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
	return common->device_status & STATUS_FEATURES_OK;
}

static void set_queue(volatile uint32_t *reg, const volatile void *part)
{
	reg[0] = (uint32_t)(uintptr_t)part;
	reg[1] = (uint32_t)((uintptr_t)part >> 32);
}

bool blk_init(uint64_t ecam, uint64_t bar_base)
{
	uint64_t function = find_function(ecam);

	if (!function)
		return false;
	place_bars(function, bar_base);
	find_registers(function);
	if (!common || !doorbell || !config || !negotiate())
		return false;
	common->queue_select = 0;
	common->queue_size = QUEUE_SIZE;
	set_queue(common->queue_desc, queue.desc);
	set_queue(common->queue_driver, &queue.avail);
	set_queue(common->queue_device, &queue.used);
	common->queue_enable = 1;
	common->device_status |= STATUS_DRIVER_OK;
	return true;
}

uint64_t blk_sectors(void)
{
	return config[0] | (uint64_t)config[1] << 32;
}

bool blk_read(uint64_t sector, uint64_t gpa, uint32_t count)
{
	volatile uint16_t *used = &queue.used.idx;
	uint16_t done = *used;

	queue.request.type = BLK_T_IN;
	queue.request.sector = sector;
	queue.status = 0xff;
	queue.desc[0] = (struct desc){ (uintptr_t)&queue.request, 16, DESC_NEXT, 1 };
	queue.desc[1] = (struct desc){ gpa, count * 512, DESC_NEXT | DESC_WRITE, 2 };
	queue.desc[2] = (struct desc){ (uintptr_t)&queue.status, 1, DESC_WRITE, 0 };
	queue.avail.ring[queue.avail.idx % QUEUE_SIZE] = 0;
	__asm__ volatile("" : : : "memory");
	queue.avail.idx++;
	__asm__ volatile("" : : : "memory");
	*doorbell = 0;
	for (uint32_t spins = 0; *used == done; spins++)
		if (spins > SPIN_LIMIT)
			return false;
	return queue.status == 0;
}
