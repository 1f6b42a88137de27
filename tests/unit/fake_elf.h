/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_FAKE_ELF_H
#define TESTS_UNIT_FAKE_ELF_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/abi.h"

/*
 * A file that a loader takes for a kernel of the paravirtual machine: code in one segment,
 * data and zeros behind it in another. A test spoils what it likes before it is written.
 */
#define FAKE_ELF_GPA   0x1000u /* of the code */
#define FAKE_ELF_DATA  0x5000u /* gpa of the data */
#define FAKE_ELF_ZEROS 0x2345u /* bytes behind them */
#define FAKE_ELF_LEN   16u     /* bytes of each in the file */

struct fake_elf {
	Elf64_Ehdr header;
	Elf64_Phdr segments[3];
	uint8_t code[FAKE_ELF_LEN], data[FAKE_ELF_LEN];
};

static inline struct fake_elf fake_elf(void)
{
	struct fake_elf elf = {
	    .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				   EV_CURRENT},
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_entry = SEGUE_PV_DIRECT + FAKE_ELF_GPA + 4,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 3},
	    .segments = {{.p_type = PT_LOAD,
			  .p_flags = PF_R | PF_X,
			  .p_offset = offsetof(struct fake_elf, code),
			  .p_vaddr = SEGUE_PV_DIRECT + FAKE_ELF_GPA,
			  .p_filesz = FAKE_ELF_LEN,
			  .p_memsz = FAKE_ELF_LEN},
			 {.p_type = PT_NOTE, .p_offset = UINT64_MAX, .p_filesz = UINT64_MAX},
			 {.p_type = PT_LOAD,
			  .p_flags = PF_R | PF_W,
			  .p_offset = offsetof(struct fake_elf, data),
			  .p_vaddr = SEGUE_PV_DIRECT + FAKE_ELF_DATA,
			  .p_filesz = FAKE_ELF_LEN,
			  .p_memsz = FAKE_ELF_LEN + FAKE_ELF_ZEROS}},
	    .code = "CODECODECODECOD",
	    .data = "DATADATADATADAT",
	};

	return elf;
}

/* LEN bytes of it; a descriptor, or -1. */
static inline int fake_elf_file(const struct fake_elf *elf, size_t len)
{
	int fd = memfd_create("fake-elf", 0);

	return fd >= 0 && write(fd, elf, len) == (ssize_t)len ? fd : -1;
}

#endif
