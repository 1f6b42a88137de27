/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_FILES_H
#define VMM_BOOT_FILES_H

#include <stdint.h>

#include "proto/error.h"

/*
 * What a guest is started from. The files are opened once and kept: a later boot, after a
 * reset, happens inside a sandbox that opens nothing. They are read anew at every boot, so
 * that a kernel replaced in place is taken up by the next reboot.
 */
struct boot_files {
	int kernel; /* descriptor */
	int initrd; /* descriptor, -1: none */
	char *kernel_path;
	char *initrd_path;
	char *cmdline;
};

#define BOOT_FILES_NONE ((struct boot_files){.kernel = -1, .initrd = -1})

/* INITRD may be NULL or empty. The strings are copied. */
int boot_files_open(struct boot_files *files, const char *kernel, const char *initrd,
		    const char *cmdline, struct error *err);
void boot_files_close(struct boot_files *files); /* idempotent */

/* The length of regular file FD, or a negative errno. */
int64_t boot_file_size(int fd);
/* Reads exactly LEN bytes at OFFSET. 0, a negative errno, -ENODATA when the file ends early. */
int boot_file_read(int fd, uint64_t offset, void *to, uint64_t len);

#endif
