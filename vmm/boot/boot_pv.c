/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/boot/elfimage.h"
#include "vmm/layout.h"

/*
 * Behind the kernel, one after the other on pages of their own: boot structure with the list
 * of devices, the vCPU's page, the first stack, command line, initrd.
 */
#define PAGE    SEGUE_PV_PAGE
#define STACK   (2 * PAGE)
#define DEVICES ((PAGE - sizeof(struct segue_pv_boot)) / sizeof(struct segue_pv_device))
#define CMDLINE LAYOUT_CMDLINE_MAX

_Static_assert(sizeof(struct segue_pv_vcpu) <= PAGE, "the vCPU's page is one");
_Static_assert(DEVICES >= LAYOUT_PV_LINES, "a page is enough for all devices");

/* The next LEN bytes of guest memory, zeroed. */
static int take(struct ram *ram, struct segue_pv_boot *boot, uint64_t len, uint64_t *ret_gpa,
		struct error *err)
{
	void *at = ram_at(ram, boot->free, len);

	if (!at)
		return error_set(err, -ENOSPC, "leaves no guest memory beside itself");
	memset(at, 0, len);
	ram_mark(ram, boot->free, len);
	*ret_gpa = boot->free;
	boot->free = (boot->free + len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	return 0;
}

static int load_kernel(struct ram *ram, const struct boot_files *files,
		       struct segue_pv_boot *boot, uint64_t *ret_entry, struct error *err)
{
	struct elf elf;
	int r = elf_open(files->kernel, &elf, err);

	if (r == 0)
		r = elf_load(&elf, files->kernel, ram, err);
	if (r < 0)
		return r;
	boot->free = (elf.end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	*ret_entry = elf.entry;
	return 0;
}

static int put_cmdline(struct ram *ram, const struct boot_files *files,
		       struct segue_pv_boot *boot, struct error *err)
{
	uint64_t len = strlen(files->cmdline);
	int r;

	if (len >= CMDLINE)
		return error_set(err, -E2BIG,
				 "takes a command line of %llu bytes, not %" PRIu64,
				 CMDLINE - 1, len);
	r = take(ram, boot, len + 1, &boot->cmdline, err);
	if (r == 0)
		r = ram_write(ram, boot->cmdline, files->cmdline, len + 1);
	boot->cmdline_len = len;
	return r;
}

/* Everything of fixed size; BOOT itself is written last. */
static int put_pages(struct ram *ram, struct segue_pv_boot *boot, struct boot_state *state,
		     const struct segue_pv_device *devices, unsigned n, struct error *err)
{
	uint64_t stack;
	int r = take(ram, boot, PAGE, &state->boot_params, err);

	if (r == 0)
		r = take(ram, boot, PAGE, &boot->vcpu, err);
	if (r == 0)
		r = take(ram, boot, STACK, &stack, err);
	if (r < 0)
		return r;
	if (n > DEVICES)
		return error_set(err, -E2BIG, "cannot be told of %u devices", n);
	state->stack = stack + STACK;
	state->vcpu_page = boot->vcpu;
	boot->devices = state->boot_params + sizeof(*boot);
	boot->n_devices = n;
	return ram_write(ram, boot->devices, devices, n * sizeof(*devices));
}

static int load_initrd(struct ram *ram, const struct boot_files *files,
		       struct segue_pv_boot *boot, struct error *err)
{
	int64_t size = files->initrd < 0 ? 0 : boot_file_size(files->initrd);
	uint64_t len = (uint64_t)size;
	void *at;
	int r;

	if (size < 0)
		return error_system(err, (int)size, "cannot be read");
	if (!len)
		return 0;
	at = ram_at(ram, boot->free, len);
	if (!at)
		return error_set(err, -ENOSPC,
				 "%" PRIu64
				 " MiB do not fit into the guest's memory beside its kernel",
				 len >> 20);
	r = boot_file_read(files->initrd, 0, at, len);
	ram_mark(ram, boot->free, len);
	boot->initrd = boot->free;
	boot->initrd_len = len;
	boot->free = (boot->free + len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	return r < 0 ? error_system(err, r, "cannot be read") : 0;
}

static int load_all(struct ram *ram, const struct boot_files *files,
		    const struct segue_pv_device *devices, unsigned n,
		    struct segue_pv_boot *boot, struct boot_state *state, struct error *err)
{
	int r = load_kernel(ram, files, boot, &state->entry, err);

	if (r == 0)
		r = put_pages(ram, boot, state, devices, n, err);
	if (r == 0)
		r = put_cmdline(ram, files, boot, err);
	if (r < 0) {
		error_prefix(err, "%s", files->kernel_path);
		return r;
	}
	r = load_initrd(ram, files, boot, err);
	if (r < 0)
		error_prefix(err, "%s", files->initrd_path);
	return r;
}

int boot_load_pv(struct ram *ram, const struct boot_files *files,
		 const struct segue_pv_device *devices, unsigned n, struct boot_state *ret_boot,
		 struct error *err)
{
	struct segue_pv_boot boot = {
	    .magic = SEGUE_PV_BOOT_MAGIC,
	    .version = SEGUE_PV_VERSION,
	    .vcpus = 1,
	    .ram = ram_size(ram),
	};
	struct boot_state state = {0};
	int r = load_all(ram, files, devices, n, &boot, &state, err);

	if (r < 0)
		return r;
	r = ram_write(ram, state.boot_params, &boot, sizeof(boot));
	if (r < 0)
		return error_system(err, r, "cannot write what a guest starts with");
	*ret_boot = state;
	return 0;
}
