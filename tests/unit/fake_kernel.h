/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_FAKE_KERNEL_H
#define TESTS_UNIT_FAKE_KERNEL_H

#include <asm/bootparam.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file that a loader takes for a bzImage, with code of the test's own at its entry. */
#define FAKE_SECTORS 1u
#define FAKE_CODE    ((1u + FAKE_SECTORS) * 512u) /* in the file */
#define FAKE_ENTRY   0x200u                       /* in the code */
#define FAKE_PREF    0x1000000u
#define FAKE_INIT    0x100000u

static inline struct setup_header fake_header(void)
{
	return (struct setup_header){
	    .setup_sects = FAKE_SECTORS,
	    .boot_flag = 0xaa55,
	    .jump = 0x6aeb, /* to 0x26c, where the header ends */
	    .header = 0x53726448,
	    .version = 0x020f,
	    .loadflags = LOADED_HIGH,
	    .initrd_addr_max = 0x7fffffff,
	    .kernel_alignment = 0x200000,
	    .relocatable_kernel = 1,
	    .xloadflags = XLF_KERNEL_64,
	    .cmdline_size = 2047,
	    .pref_address = FAKE_PREF,
	    .init_size = FAKE_INIT,
	};
}

/* A descriptor, or -1. */
static inline int fake_kernel(const struct setup_header *header, const void *code, size_t len)
{
	uint8_t file[FAKE_CODE + FAKE_ENTRY + 4096] = {0};
	int fd = memfd_create("fake-kernel", 0);
	size_t size = FAKE_CODE + FAKE_ENTRY + len;

	memcpy(file + 0x1f1, header, sizeof(*header));
	memcpy(file + FAKE_CODE + FAKE_ENTRY, code, len);
	if (fd >= 0 && write(fd, file, size) == (ssize_t)size)
		return fd;
	return -1;
}

#endif
