/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile kernel file for the paravirtual machine: the input is the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/boot/boot.h"

#define RAM_BYTES (2u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_of_every_host)
{
	if (!true_of_every_host)
		abort();
}

/* What the guest is told lies in its memory, below what it may use. */
static void check(struct ram *ram, const struct boot_state *state)
{
	struct segue_pv_boot boot;

	must(ram_read(ram, state->boot_params, &boot, sizeof(boot)) == 0);
	must(boot.free <= RAM_BYTES && boot.free % SEGUE_PV_PAGE == 0);
	must(state->boot_params < boot.free && boot.vcpu < boot.free);
	must(state->stack <= boot.free && boot.cmdline + boot.cmdline_len < boot.free);
	must(boot.initrd + boot.initrd_len <= boot.free);
	must(state->entry >= SEGUE_PV_DIRECT && state->entry - SEGUE_PV_DIRECT < boot.free);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct segue_pv_device device = {.address = 1ull << 40, .size = 4096};
	static struct ram *ram;
	struct boot_files files = {.kernel = memfd_create("kernel", MFD_CLOEXEC),
				   .kernel_path = "kernel",
				   .initrd_path = "initrd",
				   .cmdline = "console=ttyS0"};
	struct boot_state state;

	if (!ram)
		must(ram_create_flat(RAM_BYTES, &ram, NULL) == 0);
	must(files.kernel >= 0 && write(files.kernel, data, size) == (ssize_t)size);
	files.initrd = files.kernel;
	boot_kind(files.kernel);
	if (boot_load_pv(ram, &files, &device, 1, &state, NULL) == 0)
		check(ram, &state);
	close(files.kernel);
	return 0;
}
