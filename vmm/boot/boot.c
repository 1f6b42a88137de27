/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/boot.h"

#include <errno.h>
#include <string.h>

#include "vmm/boot/acpi.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/params.h"
#include "vmm/boot/tables.h"
#include "vmm/layout.h"

static int boot_cmdline(struct ram *ram, const struct bzimage *image, const char *cmdline,
			struct error *err)
{
	uint64_t len = strlen(cmdline);
	uint64_t max = LAYOUT_CMDLINE_MAX - 1;

	if (image->cmdline_max < max)
		max = image->cmdline_max;
	if (len > max)
		return error_set(err, -E2BIG, "takes a command line of %zu bytes, not %zu",
				 (size_t)max, (size_t)len);
	if (ram_write(ram, LAYOUT_CMDLINE, cmdline, len + 1) < 0)
		return error_set(err, -ENOSPC, "no guest memory for the command line");
	return 0;
}

static int boot_kernel(struct ram *ram, const struct boot_files *files, struct bzimage *image,
		       uint64_t *ret_entry, struct error *err)
{
	int r = bzimage_open(files->kernel, image, err);

	if (r == 0)
		r = bzimage_load(image, files->kernel, ram, ret_entry, err);
	if (r == 0)
		r = boot_cmdline(ram, image, files->cmdline, err);
	if (r < 0)
		error_prefix(err, "%s", files->kernel_path);
	return r;
}

static int boot_initrd(struct ram *ram, const struct boot_files *files,
		       const struct bzimage *image, uint64_t *ret_gpa, uint64_t *ret_len,
		       struct error *err)
{
	int r;

	if (files->initrd < 0)
		return 0;
	r = bzimage_load_initrd(image, files->initrd, ram, ret_gpa, ret_len, err);
	if (r < 0)
		error_prefix(err, "%s", files->initrd_path);
	return r;
}

static int boot_tables(struct ram *ram, unsigned cpus, const struct bzimage *image,
		       uint64_t initrd, uint64_t initrd_len, struct error *err)
{
	int r = tables_gdt(ram);

	if (r == 0)
		r = tables_pages(ram);
	if (r == 0)
		r = tables_firmware(ram);
	if (r == 0)
		r = acpi_write(ram, cpus);
	if (r == 0)
		r = params_write(ram, image, initrd, initrd_len);
	if (r < 0)
		return error_system(err, r, "cannot write the tables a guest starts with");
	return 0;
}

int boot_load(struct ram *ram, const struct boot_files *files, unsigned cpus,
	      struct boot_state *ret_boot, struct error *err)
{
	struct bzimage image;
	uint64_t entry, initrd = 0, initrd_len = 0;
	int r = boot_kernel(ram, files, &image, &entry, err);

	if (r == 0)
		r = boot_initrd(ram, files, &image, &initrd, &initrd_len, err);
	if (r == 0)
		r = boot_tables(ram, cpus, &image, initrd, initrd_len, err);
	if (r < 0)
		return r;
	*ret_boot = (struct boot_state){
	    .entry = entry,
	    .boot_params = LAYOUT_BOOT_PARAMS,
	    .page_table = LAYOUT_PAGE_TABLE,
	    .gdt = LAYOUT_GDT,
	};
	return 0;
}
