/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_BZIMAGE_H
#define VMM_BOOT_BZIMAGE_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "proto/error.h"
#include "vmm/ram.h"

/*
 * A Linux kernel in its bzImage form, started at its 64-bit entry without firmware or the
 * file's real-mode part. Rules: the kernel's Documentation/arch/x86/boot.rst.
 */
struct bzimage {
	struct setup_header header; /* as in the file, zero behind the length it tells */
	uint64_t code_offset;       /* of the protected-mode code in the file */
	uint64_t code_len;
	uint64_t load;        /* gpa where it goes */
	uint64_t need;        /* bytes it uses there before it looks for memory */
	uint64_t initrd_top;  /* gpa an initrd must end below */
	uint64_t cmdline_max; /* longest command line, without the final zero */
};

/* Reads and checks the header. Errors say what is wrong, not with which file. */
int bzimage_open(int fd, struct bzimage *ret_image, struct error *err);

/* Puts the kernel into RAM, straight from the file; its 64-bit entry goes to *ret_entry. */
int bzimage_load(const struct bzimage *image, int fd, struct ram *ram, uint64_t *ret_entry,
		 struct error *err);

/* Puts the initrd as high as IMAGE lets it. */
int bzimage_load_initrd(const struct bzimage *image, int fd, struct ram *ram, uint64_t *ret_gpa,
			uint64_t *ret_len, struct error *err);

#endif
