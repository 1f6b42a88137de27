/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/tables.h"

#include "proto/le.h"
#include "vmm/layout.h"

#define ENTRIES     512u
#define DIRECTORIES 4u /* 1 GiB each */
#define PAGES       (2u + DIRECTORIES)

/* Intel SDM volume 3, 4.5: present and writable; and, in a directory, a page of 2 MiB. */
#define ENTRY_TABLE 0x03u
#define ENTRY_2M    0x83u

int tables_gdt(struct ram *ram)
{
	/* Flat, present, ring 0: 64-bit code and data (Intel SDM volume 3, 3.4.5). */
	static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
	uint8_t bytes[sizeof(gdt)];

	for (unsigned i = 0; i < sizeof(gdt) / sizeof(gdt[0]); i++)
		le64_put(bytes + 8 * i, gdt[i]);
	return ram_write(ram, LAYOUT_GDT, bytes, sizeof(bytes));
}

int tables_pages(struct ram *ram)
{
	uint8_t pages[PAGES][RAM_PAGE] = {0};
	uint64_t at = LAYOUT_PAGE_TABLE;

	le64_put(pages[0], (at + RAM_PAGE) | ENTRY_TABLE);
	for (unsigned i = 0; i < DIRECTORIES; i++)
		le64_put(pages[1] + 8 * i, (at + (2 + i) * RAM_PAGE) | ENTRY_TABLE);
	for (uint64_t i = 0; i < DIRECTORIES * ENTRIES; i++)
		le64_put(pages[2 + i / ENTRIES] + 8 * (i % ENTRIES), i << 21 | ENTRY_2M);
	return ram_write(ram, at, pages, sizeof(pages));
}

int tables_firmware(struct ram *ram)
{
	static const uint8_t code[] = {
	    0xb0,
	    LAYOUT_RESET_VALUE, /* mov $LAYOUT_RESET_VALUE, %al */
	    0xba,
	    LAYOUT_RESET & 0xff,
	    LAYOUT_RESET >> 8, /* mov $LAYOUT_RESET, %dx */
	    0xee,              /* out %al, (%dx) */
	    0xf4,              /* 1: hlt */
	    0xeb,
	    0xfd, /* jmp 1b */
	};

	return ram_write(ram, LAYOUT_FIRMWARE, code, sizeof(code));
}
