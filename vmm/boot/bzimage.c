/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/bzimage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vmm/boot/files.h"
#include "vmm/layout.h"

#define HEADER_AT       0x1f1u
#define HEADER_MAGIC    0x53726448u /* "HdrS" */
#define HEADER_BASE     0x202u      /* the byte at 0x201 counts from here */
#define BOOT_FLAG       0xaa55u
#define PROTOCOL_MIN    0x020cu /* 2.12: xloadflags */
#define SECTOR          512u
#define ENTRY_64        0x200u
#define CMDLINE_DEFAULT 255u

/* The last field the loader relies on. */
#define HEADER_NEEDED (offsetof(struct setup_header, init_size) + sizeof(uint32_t))

static int header_read(int fd, struct setup_header *header, struct error *err)
{
	unsigned len;
	int r = boot_file_read(fd, HEADER_AT, header, sizeof(*header));

	if (r == -ENODATA)
		return error_set(err, -EINVAL, "too short for a Linux kernel");
	if (r < 0)
		return error_system(err, r, "cannot be read");
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC)
		return error_set(err, -EINVAL, "not a Linux kernel in bzImage form");
	/* The second byte of the jump instruction at 0x200 tells where the header ends. */
	len = HEADER_BASE + (header->jump >> 8) - HEADER_AT;
	if (len < HEADER_NEEDED)
		return error_set(err, -EINVAL, "its setup header ends early, after %u bytes",
				 len);
	if (len < sizeof(*header))
		memset((uint8_t *)header + len, 0, sizeof(*header) - len);
	return 0;
}

static int header_check(const struct setup_header *header, struct error *err)
{
	if (header->version < PROTOCOL_MIN)
		return error_set(err, -EINVAL, "boot protocol %u.%u is older than 2.12",
				 header->version >> 8, header->version & 0xff);
	if (!(header->loadflags & LOADED_HIGH))
		return error_set(err, -EINVAL, "a zImage; only a bzImage can be started");
	if (!(header->xloadflags & XLF_KERNEL_64))
		return error_set(err, -EINVAL, "not a 64-bit kernel");
	if (header->kernel_alignment & (header->kernel_alignment - 1))
		return error_set(err, -EINVAL, "alignment 0x%x is not a power of two",
				 header->kernel_alignment);
	return 0;
}

static int image_code(int fd, struct bzimage *image, struct error *err)
{
	const struct setup_header *header = &image->header;
	uint64_t sectors = header->setup_sects ? header->setup_sects : 4;
	uint64_t said = (uint64_t)header->syssize * 16;
	int64_t size = boot_file_size(fd);

	if (size < 0)
		return error_system(err, (int)size, "cannot be read");
	image->code_offset = (sectors + 1) * SECTOR;
	if ((uint64_t)size < image->code_offset + ENTRY_64)
		return error_set(err, -EINVAL, "ends before its protected-mode code");
	image->code_len = (uint64_t)size - image->code_offset;
	/* The size is told in paragraphs; the last one may be cut short. */
	if (said >= image->code_len + 16)
		return error_set(err, -EINVAL,
				 "cut short: %" PRIu64 " bytes of code of %" PRIu64,
				 image->code_len, said);
	/* What follows is a signature, of no interest here. */
	if (said && said < image->code_len)
		image->code_len = said;
	return 0;
}

static int image_place(struct bzimage *image, struct error *err)
{
	const struct setup_header *header = &image->header;
	uint64_t load = header->pref_address ? header->pref_address : LAYOUT_KERNEL;
	uint64_t align = header->kernel_alignment;

	if (load < LAYOUT_KERNEL || load >= RAM_HOLE)
		return error_set(err, -EINVAL, "wants to be at 0x%" PRIx64, load);
	/* A relocatable kernel would move itself to the next multiple. */
	if (header->relocatable_kernel && align)
		load = (load + align - 1) & ~(align - 1);
	image->load = load;
	image->need = header->init_size > image->code_len ? header->init_size : image->code_len;
	image->initrd_top = (uint64_t)header->initrd_addr_max + 1;
	image->cmdline_max = header->cmdline_size ? header->cmdline_size : CMDLINE_DEFAULT;
	return 0;
}

int bzimage_open(int fd, struct bzimage *ret_image, struct error *err)
{
	struct bzimage image = {0};
	int r = header_read(fd, &image.header, err);

	if (r == 0)
		r = header_check(&image.header, err);
	if (r == 0)
		r = image_code(fd, &image, err);
	if (r == 0)
		r = image_place(&image, err);
	if (r == 0)
		*ret_image = image;
	return r;
}

/* Straight from the file into guest memory. */
static int load_at(int fd, uint64_t offset, uint64_t len, struct ram *ram, uint64_t gpa,
		   struct error *err)
{
	void *to = ram_at(ram, gpa, len);
	int r;

	if (!to)
		return error_set(err, -ENOSPC, "does not fit into the guest's memory");
	r = boot_file_read(fd, offset, to, len);
	ram_mark(ram, gpa, len);
	if (r < 0)
		return error_system(err, r, "cannot be read");
	return 0;
}

int bzimage_load(const struct bzimage *image, int fd, struct ram *ram, uint64_t *ret_entry,
		 struct error *err)
{
	int r;

	if (!ram_at(ram, image->load, image->need))
		return error_set(err, -ENOSPC,
				 "needs %" PRIu64 " MiB of guest memory to start, there are "
				 "%" PRIu64,
				 (image->load + image->need + (1u << 20) - 1) >> 20,
				 ram_size(ram) >> 20);
	r = load_at(fd, image->code_offset, image->code_len, ram, image->load, err);
	if (r == 0)
		*ret_entry = image->load + ENTRY_64;
	return r;
}

static uint64_t low_end(const struct ram *ram)
{
	const struct ram_slot *slots;

	return ram_slots(ram, &slots) ? slots[0].size : 0;
}

int bzimage_load_initrd(const struct bzimage *image, int fd, struct ram *ram, uint64_t *ret_gpa,
			uint64_t *ret_len, struct error *err)
{
	uint64_t bottom = image->load + image->need;
	uint64_t top = low_end(ram) < image->initrd_top ? low_end(ram) : image->initrd_top;
	int64_t size = boot_file_size(fd);
	uint64_t len = (uint64_t)size, gpa;
	int r;

	if (size < 0)
		return error_system(err, (int)size, "cannot be read");
	if (top < bottom || len > top - bottom)
		return error_set(err, -ENOSPC,
				 "%" PRIu64
				 " MiB do not fit into the guest's memory beside its "
				 "kernel",
				 len >> 20);
	gpa = (top - len) & ~(uint64_t)(RAM_PAGE - 1);
	if (gpa < bottom)
		return error_set(err, -ENOSPC, "does not fit beside the kernel");
	r = load_at(fd, 0, len, ram, gpa, err);
	if (r < 0)
		return r;
	*ret_gpa = gpa;
	*ret_len = len;
	return 0;
}
