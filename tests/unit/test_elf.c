/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_elf.h"
#include "fake_kernel.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/elfimage.h"

#define MIB  (1ull << 20)
#define PAGE SEGUE_PV_PAGE

static struct ram *make(uint64_t size)
{
	struct ram *ram = NULL;

	CU_ASSERT_EQUAL_FATAL(ram_create_flat(size, &ram, NULL), 0);
	return ram;
}

/* Opens LEN bytes of ELF, which must be refused with SAID in what is said. */
static void refuse_len(const struct fake_elf *elf, size_t len, const char *said)
{
	struct elf out = {.n = 77};
	struct error err = {0};
	int fd = fake_elf_file(elf, len);

	CU_ASSERT(elf_open(fd, &out, &err) < 0);
	CU_ASSERT_EQUAL(out.n, 77); /* untouched */
	CU_ASSERT(strstr(err.text, said) != NULL);
	if (!strstr(err.text, said))
		printf("\n    \"%s\" lacks \"%s\"\n", err.text, said);
	close(fd);
}

#define REFUSE(field, value, said)                                                             \
	do {                                                                                   \
		struct fake_elf elf = fake_elf();                                              \
		elf.field = value;                                                             \
		refuse_len(&elf, sizeof(elf), said);                                           \
	} while (0)

static void test_header(void)
{
	REFUSE(header.e_ident[0], 'M', "not an ELF file");
	REFUSE(header.e_ident[EI_CLASS], ELFCLASS32, "not for x86-64");
	REFUSE(header.e_ident[EI_DATA], ELFDATA2MSB, "not for x86-64");
	REFUSE(header.e_machine, EM_AARCH64, "not for x86-64");
	REFUSE(header.e_version, 2, "unknown version");
	REFUSE(header.e_type, ET_DYN, "static executable");
	REFUSE(header.e_phentsize, 32, "program headers have 32 bytes");
	REFUSE(header.e_phnum, 0, "has 0 program headers");
	REFUSE(header.e_phnum, 65, "has 65 program headers");
	REFUSE(header.e_phnum, 0xffff, "has 65535 program headers");
	REFUSE(header.e_phnum, 40, "program headers are missing");
	REFUSE(header.e_phoff, sizeof(struct fake_elf), "program headers are missing");
	REFUSE(header.e_phoff, UINT64_MAX - 20, "program headers are missing");
	REFUSE(header.e_entry, SEGUE_PV_DIRECT + FAKE_ELF_GPA + FAKE_ELF_LEN, "entry point");
	REFUSE(header.e_entry, SEGUE_PV_DIRECT + FAKE_ELF_DATA, "entry point");
	REFUSE(header.e_entry, 0, "entry point 0x0");
}

static void test_segments(void)
{
	REFUSE(segments[1].p_type, PT_INTERP, "linked dynamically");
	REFUSE(segments[0].p_offset, sizeof(struct fake_elf) - FAKE_ELF_LEN + 1, "cut short");
	REFUSE(segments[0].p_offset, UINT64_MAX - 3, "cut short");
	REFUSE(segments[0].p_filesz, UINT64_MAX, "cut short");
	REFUSE(segments[0].p_memsz, FAKE_ELF_LEN - 1, "more bytes than room");
	REFUSE(segments[0].p_vaddr, SEGUE_PV_DIRECT - 1, "linked at 0x5fffffff");
	REFUSE(segments[0].p_vaddr, 0xffffffff81000000ull, "not a kernel for the paravirtual");
	REFUSE(segments[2].p_memsz, UINT64_MAX, "linked at");
	REFUSE(segments[2].p_memsz, SEGUE_PV_VA_END, "linked at");
	REFUSE(segments[2].p_vaddr, SEGUE_PV_VA_END, "linked at");
}

/* Cut anywhere it is refused, and nothing behind its end is looked at. */
static void test_short(void)
{
	struct fake_elf elf = fake_elf();
	struct elf out;

	for (size_t len = 0; len < sizeof(elf); len++)
		refuse_len(&elf, len, len < sizeof(elf.header) ? "too short" : "cut short");
	CU_ASSERT(elf_open(-1, &out, NULL) < 0);
}

static int boot(struct ram *ram, const struct fake_elf *elf, int initrd, char *cmdline,
		struct boot_state *state, struct error *err)
{
	static const struct segue_pv_device devices[] = {{0x1000, 0x200, 9},
							 {0x2000, 0x300, 10}};
	struct boot_files files = {
	    .kernel = fake_elf_file(elf, sizeof(*elf)),
	    .initrd = initrd,
	    .kernel_path = "/boot/linux",
	    .initrd_path = "/boot/initrd.img",
	    .cmdline = cmdline,
	};
	int r = boot_load_pv(ram, &files, devices, 2, state, err);

	close(files.kernel);
	return r;
}

static bool is_zero(struct ram *ram, uint64_t gpa, uint64_t len)
{
	const uint8_t *at = ram_at(ram, gpa, len);

	while (at && len && !*at)
		at++, len--;
	return at && !len;
}

static void check_image(struct ram *ram, const struct fake_elf *elf)
{
	CU_ASSERT_EQUAL(
	    memcmp(ram_at(ram, FAKE_ELF_GPA, FAKE_ELF_LEN), elf->code, FAKE_ELF_LEN), 0);
	CU_ASSERT_EQUAL(
	    memcmp(ram_at(ram, FAKE_ELF_DATA, FAKE_ELF_LEN), elf->data, FAKE_ELF_LEN), 0);
	CU_ASSERT_TRUE(is_zero(ram, FAKE_ELF_DATA + FAKE_ELF_LEN, FAKE_ELF_ZEROS));
}

struct range {
	uint64_t gpa, len;
};

/* No two parts of what the loader laid out share a page, and none is at or above FREE. */
static void check_apart(const struct segue_pv_boot *b, const struct boot_state *state)
{
	const struct range parts[] = {
	    {FAKE_ELF_GPA, FAKE_ELF_LEN},
	    {FAKE_ELF_DATA, FAKE_ELF_LEN + FAKE_ELF_ZEROS},
	    {state->boot_params, sizeof(*b) + 2 * sizeof(struct segue_pv_device)},
	    {state->vcpu_page, PAGE},
	    {state->stack - 2 * PAGE, 2 * PAGE},
	    {b->cmdline, b->cmdline_len + 1},
	    {b->initrd, b->initrd_len},
	};
	const unsigned n = sizeof(parts) / sizeof(parts[0]);

	for (unsigned i = 0; i < n; i++) {
		CU_ASSERT(parts[i].gpa + parts[i].len <= b->free);
		for (unsigned j = 0; j < i; j++)
			CU_ASSERT(parts[i].gpa / PAGE >
				  (parts[j].gpa + parts[j].len - 1) / PAGE);
	}
}

static void test_load(void)
{
	struct fake_elf elf = fake_elf();
	struct ram *ram = make(4 * MIB);
	struct boot_state state;
	struct segue_pv_boot b;
	struct segue_pv_device devices[2];
	struct error err = {0};
	int initrd = memfd_create("initrd", 0);

	CU_ASSERT_EQUAL(write(initrd, "INITRD", 6), 6);
	memset(ram_base(ram), 0xee, 4 * MIB); /* of what ran before a reset */
	CU_ASSERT_EQUAL(boot(ram, &elf, initrd, "root=/dev/vda", &state, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.text, "");
	check_image(ram, &elf);
	CU_ASSERT_EQUAL(state.entry, SEGUE_PV_DIRECT + FAKE_ELF_GPA + 4);
	CU_ASSERT_EQUAL_FATAL(ram_read(ram, state.boot_params, &b, sizeof(b)), 0);
	CU_ASSERT_EQUAL(memcmp(&b.magic, "seguepv1", 8), 0);
	CU_ASSERT_EQUAL(b.version, 1);
	CU_ASSERT_EQUAL(b.vcpus, 1);
	CU_ASSERT_EQUAL(b.ram, 4 * MIB);
	CU_ASSERT_EQUAL(b.vcpu, state.vcpu_page);
	CU_ASSERT_TRUE(is_zero(ram, state.vcpu_page, PAGE));
	CU_ASSERT_TRUE(is_zero(ram, state.stack - 2 * PAGE, 2 * PAGE));
	CU_ASSERT_EQUAL(b.cmdline_len, 13);
	CU_ASSERT_STRING_EQUAL(ram_at(ram, b.cmdline, 14), "root=/dev/vda");
	CU_ASSERT_EQUAL(b.initrd_len, 6);
	CU_ASSERT_EQUAL(memcmp(ram_at(ram, b.initrd, 6), "INITRD", 6), 0);
	CU_ASSERT_EQUAL_FATAL(b.n_devices, 2);
	CU_ASSERT_EQUAL_FATAL(ram_read(ram, b.devices, devices, sizeof(devices)), 0);
	CU_ASSERT_EQUAL(devices[0].line, 9);
	CU_ASSERT_EQUAL(devices[1].address, 0x2000);
	check_apart(&b, &state);
	close(initrd);
	ram_destroy(ram);
}

/* A boot in the middle of a move: every page the loader wrote is seen to be dirty. */
static void test_dirty(void)
{
	struct fake_elf elf = fake_elf();
	struct ram *ram = make(4 * MIB);
	uint64_t words[4 * MIB / PAGE / 64] = {0};
	struct boot_state state;

	memset(ram_base(ram), 0xee, 4 * MIB);
	ram_track(ram, true);
	CU_ASSERT_EQUAL(boot(ram, &elf, -1, "cmdline", &state, NULL), 0);
	ram_harvest(ram, words);
	for (uint64_t page = 0; page < 4 * MIB / PAGE; page++) {
		const uint8_t *at = ram_base(ram) + page * PAGE;
		bool written = false;

		for (unsigned i = 0; i < PAGE; i++)
			written |= at[i] != 0xee;
		CU_ASSERT(!written || (words[page / 64] >> page % 64 & 1));
	}
	ram_destroy(ram);
}

/* With every size of memory it boots whole or says what it needs. */
static void test_no_room(void)
{
	struct fake_elf elf = fake_elf();
	struct ram *ram = make(2 * MIB);
	struct boot_state state;
	struct error err = {0};
	int initrd = memfd_create("initrd", 0);
	int r;

	elf.segments[2].p_memsz = 3 * MIB;
	CU_ASSERT_EQUAL(boot(ram, &elf, -1, "", &state, &err), -ENOSPC);
	CU_ASSERT_STRING_EQUAL(
	    err.text, "/boot/linux: needs 4 MiB of guest memory to start, there are 2");
	for (unsigned pages = 0; pages < 8; pages++) {
		err = (struct error){0};
		elf.segments[2].p_memsz = 2 * MIB - FAKE_ELF_DATA - pages * PAGE;
		r = boot(ram, &elf, -1, "", &state, &err);
		/* Boot structure, vCPU, stack and command line take five. */
		CU_ASSERT_EQUAL(r, pages < 5 ? -ENOSPC : 0);
		CU_ASSERT(r == 0 || strstr(err.text, "/boot/linux: leaves no guest memory"));
	}
	err = (struct error){0};
	CU_ASSERT_EQUAL(ftruncate(initrd, 2 * MIB), 0);
	elf = fake_elf();
	CU_ASSERT_EQUAL(boot(ram, &elf, initrd, "", &state, &err), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/boot/initrd.img: 2 MiB do not fit"));
	close(initrd);
	ram_destroy(ram);
}

static void test_cmdline(void)
{
	struct fake_elf elf = fake_elf();
	struct ram *ram = make(4 * MIB);
	struct boot_state state;
	struct error err = {0};
	char *cmdline = calloc(1, 0x10001);

	memset(cmdline, 'c', 0x10000);
	CU_ASSERT_EQUAL(boot(ram, &elf, -1, cmdline, &state, &err), -E2BIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "65535 bytes, not 65536"));
	cmdline[0xffff] = 0;
	CU_ASSERT_EQUAL(boot(ram, &elf, -1, cmdline, &state, NULL), 0);
	free(cmdline);
	ram_destroy(ram);
}

static void test_kind(void)
{
	struct fake_elf elf = fake_elf();
	struct setup_header header = fake_header();
	int fd = fake_elf_file(&elf, sizeof(elf));

	CU_ASSERT_EQUAL(boot_kind(fd), BOOT_ELF);
	CU_ASSERT_EQUAL(ftruncate(fd, 3), 0);
	CU_ASSERT_EQUAL(boot_kind(fd), BOOT_UNKNOWN);
	close(fd);
	fd = fake_kernel(&header, "x", 1);
	CU_ASSERT_EQUAL(boot_kind(fd), BOOT_BZIMAGE);
	CU_ASSERT_EQUAL(ftruncate(fd, 0x205), 0);
	CU_ASSERT_EQUAL(boot_kind(fd), BOOT_UNKNOWN);
	close(fd);
	CU_ASSERT_EQUAL(boot_kind(-1), BOOT_UNKNOWN);
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("elf", NULL, NULL);

	CU_add_test(suite, "a header is checked", test_header);
	CU_add_test(suite, "segments are checked", test_segments);
	CU_add_test(suite, "a file cut short anywhere", test_short);
	CU_add_test(suite, "kernel, initrd, command line, pages", test_load);
	CU_add_test(suite, "the loader's writes are seen", test_dirty);
	CU_add_test(suite, "what does not fit", test_no_room);
	CU_add_test(suite, "a long command line", test_cmdline);
	CU_add_test(suite, "what kind of kernel a file is", test_kind);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
