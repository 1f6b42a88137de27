/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <string.h>

#include "vmm/boot/boot.h"

#define MAGIC_AT 0x202u /* of a bzImage: boot.rst, "HdrS" */

enum boot_kind boot_kind(int fd)
{
	char head[MAGIC_AT + 4];

	if (boot_file_read(fd, 0, head, SELFMAG) == 0 && memcmp(head, ELFMAG, SELFMAG) == 0)
		return BOOT_ELF;
	if (boot_file_read(fd, 0, head, sizeof(head)) == 0 &&
	    memcmp(head + MAGIC_AT, "HdrS", 4) == 0)
		return BOOT_BZIMAGE;
	return BOOT_UNKNOWN;
}
