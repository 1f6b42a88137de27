// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's virtio devices, for Linux's own virtio-mmio driver: its accesses to registers
 * become hypercalls.
 */
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/logic_iomem.h>
#include <linux/minmax.h>
#include <linux/platform_device.h>
#include <asm/page.h>
#include "segue.h"

/* logic_iomem has 24 bits for an offset in a region. */
#define REGION_MAX (1ull << 24)

/* All of them in one: it tells where in the region an access is, not in which region. */
static struct resource region = {
	.name = "segue",
	.flags = IORESOURCE_MEM,
};

static unsigned long register_read(void *unused, unsigned int offset, int size)
{
	return segue_call3(SEGUE_PV_IO_READ, SEGUE_PV_MEMORY, region.start + offset, size);
}

static void register_write(void *unused, unsigned int offset, int size, unsigned long value)
{
	segue_call4(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, region.start + offset, size, value);
}

static const struct logic_iomem_ops register_ops = {
	.read = register_read,
	.write = register_write,
};

static long map(unsigned long offset, size_t size, const struct logic_iomem_ops **ret_ops,
		void **ret_priv)
{
	*ret_ops = &register_ops;
	*ret_priv = &region;
	return offset;
}

static const struct logic_iomem_region_ops region_ops = { .map = map };

static int __init add_region(const struct segue_pv_device *devices, u32 n)
{
	u32 i;

	region.start = devices[0].address;
	for (i = 0; i < n; i++) {
		region.start = min(region.start, devices[i].address);
		region.end = max(region.end, devices[i].address + devices[i].size - 1);
	}
	if (region.end - region.start >= REGION_MAX)
		return -E2BIG;
	return logic_iomem_add_region(&region, &region_ops);
}

static int __init add_device(const struct segue_pv_device *device, int index)
{
	struct resource parts[] = {
		DEFINE_RES_MEM(device->address, device->size),
		DEFINE_RES_IRQ(device->line),
	};

	return PTR_ERR_OR_ZERO(platform_device_register_simple("virtio-mmio", index, parts,
							       ARRAY_SIZE(parts)));
}

static int __init devices_init(void)
{
	const struct segue_pv_device *devices = __va(segue_boot->devices);
	u32 i, n = segue_boot->n_devices;
	int err;

	if (!n)
		return 0;
	err = add_region(devices, n);
	for (i = 0; i < n && !err; i++)
		err = add_device(&devices[i], i);
	if (err)
		pr_err("segue: devices cannot be reached: %d\n", err);
	return err;
}
arch_initcall(devices_init);
