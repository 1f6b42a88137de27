// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's virtio devices, for Linux's own virtio-mmio driver: its accesses to registers
 * become hypercalls, but for those that each interrupt makes. Why a device interrupts is kept
 * in memory here (SEGUE_PV_STATUS_LOW), and taking it needs no call.
 */
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/logic_iomem.h>
#include <linux/minmax.h>
#include <linux/platform_device.h>
#include <linux/virtio_mmio.h>
#include <asm/page.h>
#include "segue.h"

/* logic_iomem has 24 bits for an offset. */
#define REGION_MAX  (1ull << 24)
#define DEVICES_MAX 64 /* lines */

struct machine_device {
	u64 address;
	u32 size;
	u32 line;
	u32 status; /* InterruptStatus; the device sets bits at any time */
};

static struct machine_device devices[DEVICES_MAX];
static u32 n_devices;

static struct resource region = {
	.name = "segue",
	.flags = IORESOURCE_MEM,
};

/* First the line, then the bits: what comes in between raises the line again. */
static u32 take_status(struct machine_device *device)
{
	clear_bit(device->line, (unsigned long *)&segue_vcpu->pending);
	return xchg(&device->status, 0);
}

static unsigned long register_read(void *private, unsigned int offset, int size)
{
	struct machine_device *device = private;

	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS)
		return take_status(device);
	return segue_call3(SEGUE_PV_IO_READ, SEGUE_PV_MEMORY, device->address + offset, size);
}

static void register_write(void *private, unsigned int offset, int size, unsigned long value)
{
	struct machine_device *device = private;

	if (offset != VIRTIO_MMIO_INTERRUPT_ACK) /* taken is acknowledged */
		segue_call4(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, device->address + offset, size,
			    value);
}

static const struct logic_iomem_ops register_ops = {
	.read = register_read,
	.write = register_write,
};

static long map(unsigned long offset, size_t size, const struct logic_iomem_ops **ret_ops,
		void **ret_private)
{
	u64 address = region.start + offset;
	u32 i;

	for (i = 0; i < n_devices; i++) {
		if (address < devices[i].address ||
		    address + size > devices[i].address + devices[i].size)
			continue;
		*ret_ops = &register_ops;
		*ret_private = &devices[i];
		return address - devices[i].address;
	}
	return -ENXIO;
}

static const struct logic_iomem_region_ops region_ops = { .map = map };

static void __init status_to_memory(struct machine_device *device)
{
	u64 gpa = __pa(&device->status);

	segue_call4(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, device->address + SEGUE_PV_STATUS_LOW,
		    sizeof(u32), (u32)gpa);
	segue_call4(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, device->address + SEGUE_PV_STATUS_HIGH,
		    sizeof(u32), gpa >> 32);
}

static void __init read_devices(void)
{
	const struct segue_pv_device *told = __va(segue_boot->devices);
	u32 i;

	n_devices = min_t(u32, segue_boot->n_devices, DEVICES_MAX);
	region.start = ~(resource_size_t)0;
	for (i = 0; i < n_devices; i++) {
		devices[i].address = told[i].address;
		devices[i].size = told[i].size;
		devices[i].line = told[i].line;
		region.start = min_t(u64, region.start, told[i].address);
		region.end = max_t(u64, region.end, told[i].address + told[i].size - 1);
	}
}

static int __init add_device(struct machine_device *device, int index)
{
	struct resource parts[] = {
		DEFINE_RES_MEM(device->address, device->size),
		DEFINE_RES_IRQ(device->line),
	};

	if (device->line >= DEVICES_MAX || device->size > REGION_MAX)
		return -EINVAL;
	status_to_memory(device);
	return PTR_ERR_OR_ZERO(platform_device_register_simple("virtio-mmio", index, parts,
							       ARRAY_SIZE(parts)));
}

static int __init devices_init(void)
{
	int err;
	u32 i;

	read_devices();
	if (!n_devices)
		return 0;
	err = logic_iomem_add_region(&region, &region_ops);
	for (i = 0; i < n_devices && !err; i++)
		err = add_device(&devices[i], i);
	if (err)
		pr_err("segue: devices cannot be reached: %d\n", err);
	return err;
}
arch_initcall(devices_init);
