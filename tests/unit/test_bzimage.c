/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_kernel.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/bzimage.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)

static const uint8_t code[16] = "KERNELCODE";

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("file", 0);

	return write(fd, data, len) == (ssize_t)len ? fd : -1;
}

/* Opens a kernel with HEADER: what is said about it. */
static int refuse(const struct setup_header *header, const char *said)
{
	struct bzimage image;
	struct error err = {0};
	int fd = fake_kernel(header, code, sizeof(code));
	int r = bzimage_open(fd, &image, &err);

	close(fd);
	if (said && !strstr(err.text, said))
		printf("\n    \"%s\" lacks \"%s\"\n", err.text, said);
	CU_ASSERT(!said || strstr(err.text, said));
	return r;
}

#define REFUSE(field, value, said)                                                             \
	do {                                                                                   \
		struct setup_header header = fake_header();                                    \
		header.field = value;                                                          \
		CU_ASSERT(refuse(&header, said) < 0);                                          \
	} while (0)

static void test_header(void)
{
	struct setup_header good = fake_header();

	CU_ASSERT_EQUAL(refuse(&good, NULL), 0);
	REFUSE(boot_flag, 0, "not a Linux kernel");
	REFUSE(header, 0, "not a Linux kernel");
	REFUSE(version, 0x020b, "2.11 is older");
	REFUSE(loadflags, 0, "zImage");
	REFUSE(xloadflags, 0, "not a 64-bit");
	REFUSE(kernel_alignment, 0x300000, "power of two");
	REFUSE(jump, 0x20eb, "ends early");
	REFUSE(setup_sects, 200, "ends before");
	REFUSE(syssize, 0x1000, "cut short");
	REFUSE(pref_address, 0x1000, "0x1000");
	REFUSE(pref_address, UINT64_MAX, "wants to be");
}

static void test_short(void)
{
	struct bzimage image;
	struct error err = {0};
	int fd = file_of("short", 5);

	CU_ASSERT_EQUAL(bzimage_open(fd, &image, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "too short"));
	close(fd);
	CU_ASSERT(bzimage_open(-1, &image, NULL) < 0);
}

/* A header that ends before its last fields must not pass what lies behind it for them. */
static void test_header_end(void)
{
	struct setup_header header = fake_header();
	struct bzimage image;
	int fd;

	header.jump = 0x62eb; /* 0x264, right behind init_size */
	header.handover_offset = 0x1234;
	fd = fake_kernel(&header, code, sizeof(code));
	CU_ASSERT_EQUAL(bzimage_open(fd, &image, NULL), 0);
	CU_ASSERT_EQUAL(image.header.handover_offset, 0);
	CU_ASSERT_EQUAL(image.header.init_size, FAKE_INIT);
	close(fd);
}

static struct boot_params params_of(struct ram *ram)
{
	struct boot_params params;

	CU_ASSERT_EQUAL_FATAL(ram_read(ram, LAYOUT_BOOT_PARAMS, &params, sizeof(params)), 0);
	return params;
}

static int boot(struct ram *ram, const struct setup_header *header, int initrd, char *cmdline,
		struct error *err)
{
	struct boot_state state = {0};
	struct boot_files files = {
	    .kernel = fake_kernel(header, code, sizeof(code)),
	    .initrd = initrd,
	    .kernel_path = "/boot/vmlinuz",
	    .initrd_path = "/boot/initrd.img",
	    .cmdline = cmdline,
	};
	int r = boot_load(ram, &files, 2, &state, err);

	close(files.kernel);
	if (r == 0) {
		CU_ASSERT_EQUAL(state.boot_params, LAYOUT_BOOT_PARAMS);
		CU_ASSERT_EQUAL(state.page_table, LAYOUT_PAGE_TABLE);
		CU_ASSERT_EQUAL(state.gdt, LAYOUT_GDT);
		CU_ASSERT_EQUAL(
		    memcmp(ram_at(ram, state.entry, sizeof(code)), code, sizeof(code)), 0);
	}
	return r;
}

static void test_load(void)
{
	struct setup_header header = fake_header();
	struct ram *ram = NULL;
	struct boot_params params;
	size_t len = 3 * 4096 + 5;
	uint8_t *initrd = malloc(len);
	int fd;

	memset(initrd, 0xcd, len);
	fd = file_of(initrd, len);
	CU_ASSERT_EQUAL_FATAL(ram_create(64 * MIB, &ram, NULL), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, fd, "console=ttyS0", NULL), 0);
	CU_ASSERT_STRING_EQUAL(ram_at(ram, LAYOUT_CMDLINE, 14), "console=ttyS0");
	params = params_of(ram);
	CU_ASSERT_EQUAL(params.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	CU_ASSERT_EQUAL(params.hdr.type_of_loader, 0xff);
	CU_ASSERT_EQUAL(params.hdr.pref_address, FAKE_PREF);
	CU_ASSERT_EQUAL(params.acpi_rsdp_addr, LAYOUT_ACPI);
	CU_ASSERT_EQUAL(params.sentinel, 0);
	CU_ASSERT_EQUAL(params.hdr.ramdisk_size, len);
	/* As high as there is memory, on a page. */
	CU_ASSERT_EQUAL(params.hdr.ramdisk_image, 64 * MIB - 4 * 4096);
	CU_ASSERT_EQUAL(memcmp(ram_at(ram, params.hdr.ramdisk_image, len), initrd, len), 0);
	close(fd);
	free(initrd);
	ram_destroy(ram);
}

static const struct boot_e820_entry *e820_at(const struct boot_params *params, uint64_t gpa)
{
	for (unsigned i = 0; i < params->e820_entries; i++) {
		const struct boot_e820_entry *entry = &params->e820_table[i];

		if (gpa >= entry->addr && gpa - entry->addr < entry->size)
			return entry;
	}
	return NULL;
}

static void test_memory_map(void)
{
	struct setup_header header = fake_header();
	struct ram *ram = NULL;
	struct boot_params params;
	uint64_t total = 0;

	CU_ASSERT_EQUAL_FATAL(ram_create(4096 * MIB, &ram, NULL), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, -1, "", NULL), 0);
	params = params_of(ram);
	CU_ASSERT_EQUAL(params.hdr.ramdisk_size, 0);
	CU_ASSERT_EQUAL(e820_at(&params, 0)->type, 1);
	CU_ASSERT_PTR_NULL(e820_at(&params, 0xa0000));
	CU_ASSERT_EQUAL(e820_at(&params, LAYOUT_ACPI)->type, 3);
	CU_ASSERT_EQUAL(e820_at(&params, LAYOUT_KERNEL)->type, 1);
	CU_ASSERT_PTR_NULL(e820_at(&params, LAYOUT_PCI_WINDOW));
	CU_ASSERT_EQUAL(e820_at(&params, LAYOUT_ECAM)->type, 2);
	CU_ASSERT_PTR_NULL(e820_at(&params, LAYOUT_IOAPIC));
	CU_ASSERT_EQUAL(e820_at(&params, RAM_HIGH)->type, 1);
	for (unsigned i = 0; i < params.e820_entries; i++) {
		const struct boot_e820_entry *entry = &params.e820_table[i];

		CU_ASSERT(entry->type != 1 || ram_at(ram, entry->addr, entry->size));
		CU_ASSERT(!i || entry->addr >= entry[-1].addr + entry[-1].size);
		total += entry->type == 1 ? entry->size : 0;
	}
	CU_ASSERT_EQUAL(total, 4096 * MIB - (0x100000 - 0xa0000));
	ram_destroy(ram);
}

/* Walks the tables as a processor does. */
static uint64_t translate(struct ram *ram, uint64_t gva)
{
	uint64_t entry = LAYOUT_PAGE_TABLE;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		CU_ASSERT_EQUAL_FATAL(
		    ram_read(ram, (entry & ~0xfffull) + (gva >> shift & 0x1ff) * 8, &entry, 8),
		    0);
		CU_ASSERT_EQUAL(entry & 3, 3);
	}
	CU_ASSERT_EQUAL(entry & 0x80, 0x80);
	return (entry & ~0x1fffffull) | (gva & 0x1fffff);
}

static void test_tables(void)
{
	static const uint64_t at[] = {0,          0x1ff123,   0x200000,
				      0x3fffffff, 0x40000000, 0xffffffff};
	struct setup_header header = fake_header();
	struct ram *ram = NULL;
	uint64_t gdt[4];

	CU_ASSERT_EQUAL_FATAL(ram_create(64 * MIB, &ram, NULL), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, -1, "", NULL), 0);
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		CU_ASSERT_EQUAL(translate(ram, at[i]), at[i]);
	/* Where Linux jumps to for a reboot: al = the value, dx = the port, out. */
	CU_ASSERT_EQUAL(memcmp(ram_at(ram, 0xffff0, 6), "\xb0\x06\xba\x02\x06\xee", 6), 0);
	ram_read(ram, LAYOUT_GDT, gdt, sizeof(gdt));
	CU_ASSERT_EQUAL(gdt[0x10 / 8] >> 53 & 1, 1); /* long mode */
	CU_ASSERT_EQUAL(gdt[0x10 / 8] >> 40 & 0xfb, 0x9b);
	CU_ASSERT_EQUAL(gdt[0x18 / 8] >> 40 & 0xff, 0x93);
	ram_destroy(ram);
}

static void test_no_room(void)
{
	struct setup_header header = fake_header();
	struct ram *ram = NULL;
	struct error err = {0};
	char cmdline[3000];
	int fd = memfd_create("initrd", 0);

	CU_ASSERT_EQUAL_FATAL(ram_create(32 * MIB, &ram, NULL), 0);
	header.init_size = 20 * MIB;
	CU_ASSERT_EQUAL(boot(ram, &header, -1, "", &err), -ENOSPC);
	CU_ASSERT_STRING_EQUAL(err.text,
			       "/boot/vmlinuz: needs 36 MiB of guest memory to start, "
			       "there are 32");
	header = fake_header();
	err = (struct error){0};
	memset(cmdline, 'c', sizeof(cmdline));
	cmdline[sizeof(cmdline) - 1] = 0;
	CU_ASSERT_EQUAL(boot(ram, &header, -1, cmdline, &err), -E2BIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/boot/vmlinuz: takes a command line"));
	/* To the byte: what is left above the kernel, and a page more. */
	err = (struct error){0};
	CU_ASSERT_EQUAL(ftruncate(fd, 15 * MIB), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, fd, "", &err), 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 15 * MIB + 1), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, fd, "", &err), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/boot/initrd.img: "));
	/* An initrd above what the kernel can reach is put below. */
	header.initrd_addr_max = 30 * MIB - 1;
	CU_ASSERT_EQUAL(ftruncate(fd, MIB), 0);
	CU_ASSERT_EQUAL(boot(ram, &header, fd, "", NULL), 0);
	CU_ASSERT_EQUAL(params_of(ram).hdr.ramdisk_image, 29 * MIB);
	close(fd);
	ram_destroy(ram);
}

/* A boot in the middle of a move: every page the loader wrote is seen to be dirty. */
static void test_dirty(void)
{
	struct setup_header header = fake_header();
	struct ram *ram = NULL;
	uint64_t words[64 * MIB / 4096 / 64] = {0};
	uint8_t *zero = calloc(1, 4096);
	int fd = file_of("the initrd", 10);

	CU_ASSERT_EQUAL_FATAL(ram_create(64 * MIB, &ram, NULL), 0);
	ram_track(ram, true);
	CU_ASSERT_EQUAL(boot(ram, &header, fd, "cmdline", NULL), 0);
	ram_harvest(ram, words);
	for (uint64_t page = 0; page < ram_size(ram) / 4096; page++) {
		if (memcmp(ram_base(ram) + page * 4096, zero, 4096) != 0)
			CU_ASSERT(words[page / 64] >> page % 64 & 1);
	}
	close(fd);
	free(zero);
	ram_destroy(ram);
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("bzimage", NULL, NULL);

	CU_add_test(suite, "a header is checked", test_header);
	CU_add_test(suite, "a file too short", test_short);
	CU_add_test(suite, "the header ends where it says", test_header_end);
	CU_add_test(suite, "kernel, initrd and command line", test_load);
	CU_add_test(suite, "the map of memory", test_memory_map);
	CU_add_test(suite, "descriptor and page tables", test_tables);
	CU_add_test(suite, "what does not fit", test_no_room);
	CU_add_test(suite, "the loader's writes are seen", test_dirty);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
