/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/params.h"

#include "vmm/layout.h"

#define LOADER_UNDEFINED 0xffu
#define LOW_END          0xa0000ull

/* Types of the memory map, ACPI 6.4, 15: System Address Map Interfaces. */
enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
	E820_ACPI = 3,
};

static void e820_add(struct boot_params *params, uint64_t at, uint64_t end, enum e820_type type)
{
	struct boot_e820_entry *entry = &params->e820_table[params->e820_entries];

	if (end <= at)
		return;
	entry->addr = at;
	entry->size = end - at;
	entry->type = type;
	params->e820_entries++;
}

static void e820_fill(struct boot_params *params, const struct ram *ram)
{
	const struct ram_slot *slots;
	unsigned n = ram_slots(ram, &slots);

	e820_add(params, 0, LOW_END, E820_RAM);
	e820_add(params, LAYOUT_ACPI, LAYOUT_KERNEL, E820_ACPI);
	e820_add(params, LAYOUT_KERNEL, slots[0].size, E820_RAM);
	/* Linux believes in ECAM only when the map says that it is taken. */
	e820_add(params, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, E820_RESERVED);
	for (unsigned i = 1; i < n; i++)
		e820_add(params, slots[i].gpa, slots[i].gpa + slots[i].size, E820_RAM);
}

int params_write(struct ram *ram, const struct bzimage *image, uint64_t initrd,
		 uint64_t initrd_len)
{
	struct boot_params params = {.hdr = image->header};

	params.hdr.type_of_loader = LOADER_UNDEFINED;
	params.hdr.setup_data = 0;
	params.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	params.hdr.ramdisk_image = (uint32_t)initrd;
	params.hdr.ramdisk_size = (uint32_t)initrd_len;
	params.acpi_rsdp_addr = LAYOUT_ACPI;
	e820_fill(&params, ram);
	return ram_write(ram, LAYOUT_BOOT_PARAMS, &params, sizeof(params));
}
