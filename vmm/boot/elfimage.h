/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_ELFIMAGE_H
#define VMM_BOOT_ELFIMAGE_H

#include <elf.h>
#include <stdint.h>

#include "proto/error.h"
#include "vmm/ram.h"

/*
 * A kernel for the paravirtual machine (guest/abi.h): a static ELF64 executable whose
 * segments are linked at DIRECT + gpa. Rules: System V ABI, chapters 4 and 5, and its
 * supplement for x86-64.
 */
#define ELF_SEGMENTS 64u

struct elf {
	Elf64_Phdr segments[ELF_SEGMENTS]; /* those to be loaded, of any size but 0 */
	unsigned n;
	uint64_t entry; /* va */
	uint64_t end;   /* gpa behind the last byte of the highest segment */
};

/* Reads and checks headers. Errors say what is wrong, not with which file. */
int elf_open(int fd, struct elf *ret_elf, struct error *err);

/* Puts the segments into RAM, straight from the file, zeros behind what the file has. */
int elf_load(const struct elf *elf, int fd, struct ram *ram, struct error *err);

#endif
