/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/elfimage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/boot/files.h"

/* The highest address segments may end at; sums below it do not overflow. */
#define VA_TOP SEGUE_PV_VA_END

static int header_check(const Elf64_Ehdr *header, struct error *err)
{
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return error_set(err, -EINVAL, "not an ELF file");
	if (header->e_ident[EI_CLASS] != ELFCLASS64 ||
	    header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_machine != EM_X86_64)
		return error_set(err, -EINVAL, "an ELF file, but not for x86-64");
	if (header->e_ident[EI_VERSION] != EV_CURRENT || header->e_version != EV_CURRENT)
		return error_set(err, -EINVAL, "of an unknown version of ELF");
	if (header->e_type != ET_EXEC)
		return error_set(err, -EINVAL,
				 "an ELF file of type %u; a kernel is a static executable "
				 "with addresses of its own (type %u)",
				 header->e_type, ET_EXEC);
	if (header->e_phentsize != sizeof(Elf64_Phdr))
		return error_set(err, -EINVAL, "its program headers have %u bytes, not %zu",
				 header->e_phentsize, sizeof(Elf64_Phdr));
	if (!header->e_phnum || header->e_phnum > ELF_SEGMENTS)
		return error_set(err, -EINVAL,
				 "it has %u program headers; 1 to %u can be taken",
				 header->e_phnum, ELF_SEGMENTS);
	return 0;
}

static int header_read(int fd, Elf64_Ehdr *header, struct error *err)
{
	int r = boot_file_read(fd, 0, header, sizeof(*header));

	if (r == -ENODATA)
		return error_set(err, -EINVAL, "too short for an ELF file");
	if (r < 0)
		return error_system(err, r, "cannot be read");
	return header_check(header, err);
}

static int segments_read(int fd, const Elf64_Ehdr *header, uint64_t size, Elf64_Phdr *headers,
			 struct error *err)
{
	uint64_t len = header->e_phnum * sizeof(*headers);
	int r;

	if (header->e_phoff > size || len > size - header->e_phoff)
		return error_set(err, -EINVAL, "cut short: its program headers are missing");
	r = boot_file_read(fd, header->e_phoff, headers, len);
	return r < 0 ? error_system(err, r, "cannot be read") : 0;
}

static int segment_check(const Elf64_Phdr *segment, uint64_t size, struct error *err)
{
	if (segment->p_offset > size || segment->p_filesz > size - segment->p_offset)
		return error_set(err, -EINVAL,
				 "cut short: a segment at 0x%" PRIx64 " is missing",
				 segment->p_offset);
	if (segment->p_filesz > segment->p_memsz)
		return error_set(err, -EINVAL, "a segment has more bytes than room for them");
	if (segment->p_vaddr < SEGUE_PV_DIRECT || segment->p_vaddr > VA_TOP ||
	    segment->p_memsz > VA_TOP - segment->p_vaddr)
		return error_set(err, -EINVAL,
				 "a segment is linked at 0x%" PRIx64
				 ": not a kernel for the paravirtual engine, whose addresses "
				 "begin at 0x%llx",
				 segment->p_vaddr, SEGUE_PV_DIRECT);
	return 0;
}

static bool entry_inside(const struct elf *elf)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if ((segment->p_flags & PF_X) && elf->entry >= segment->p_vaddr &&
		    elf->entry - segment->p_vaddr < segment->p_memsz)
			return true;
	}
	return false;
}

static int segments_take(struct elf *elf, const Elf64_Phdr *headers, unsigned n, uint64_t size,
			 struct error *err)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t end;
		int r;

		if (headers[i].p_type == PT_INTERP)
			return error_set(err, -EINVAL,
					 "linked dynamically; a kernel is static");
		if (headers[i].p_type != PT_LOAD || !headers[i].p_memsz)
			continue;
		r = segment_check(&headers[i], size, err);
		if (r < 0)
			return r;
		elf->segments[elf->n++] = headers[i];
		end = headers[i].p_vaddr - SEGUE_PV_DIRECT + headers[i].p_memsz;
		if (end > elf->end)
			elf->end = end;
	}
	if (!entry_inside(elf))
		return error_set(err, -EINVAL,
				 "its entry point 0x%" PRIx64 " is in none of its code",
				 elf->entry);
	return 0;
}

int elf_open(int fd, struct elf *ret_elf, struct error *err)
{
	Elf64_Phdr headers[ELF_SEGMENTS];
	Elf64_Ehdr header;
	struct elf elf = {0};
	int64_t size = boot_file_size(fd);
	int r;

	if (size < 0)
		return error_system(err, (int)size, "cannot be read");
	r = header_read(fd, &header, err);
	if (r == 0)
		r = segments_read(fd, &header, (uint64_t)size, headers, err);
	if (r < 0)
		return r;
	elf.entry = header.e_entry;
	r = segments_take(&elf, headers, header.e_phnum, (uint64_t)size, err);
	if (r == 0)
		*ret_elf = elf;
	return r;
}

static int segment_load(const Elf64_Phdr *segment, int fd, struct ram *ram, struct error *err)
{
	uint64_t gpa = segment->p_vaddr - SEGUE_PV_DIRECT;
	uint8_t *to = ram_at(ram, gpa, segment->p_memsz);
	int r;

	if (!to)
		return error_set(err, -ENOSPC, "does not fit into the guest's memory");
	r = boot_file_read(fd, segment->p_offset, to, segment->p_filesz);
	memset(to + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
	ram_mark(ram, gpa, segment->p_memsz);
	return r < 0 ? error_system(err, r, "cannot be read") : 0;
}

int elf_load(const struct elf *elf, int fd, struct ram *ram, struct error *err)
{
	int r = 0;

	if (elf->end > ram_size(ram))
		return error_set(err, -ENOSPC,
				 "needs %" PRIu64 " MiB of guest memory to start, there are "
				 "%" PRIu64,
				 (elf->end + (1u << 20) - 1) >> 20, ram_size(ram) >> 20);
	for (unsigned i = 0; i < elf->n && r == 0; i++)
		r = segment_load(&elf->segments[i], fd, ram, err);
	return r;
}
