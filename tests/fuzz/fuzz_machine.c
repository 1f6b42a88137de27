/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fake_engine.h"
#include "tests/unit/fake_kernel.h"
#include "vmm/machine_internal.h"

/*
 * What a source sends about a machine: the first byte chooses between its state (even) and
 * its contract (odd). Whatever comes is taken or refused with words, and what was taken can
 * be saved again.
 */
static uv_loop_t loop;
static struct machine *machine;

static void build(void)
{
	struct setup_header header = fake_header();
	struct error err = {0};
	Segue__Kernel kernel = SEGUE__KERNEL__INIT;
	Segue__Guest guest = SEGUE__GUEST__INIT;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fake_kernel(&header, "code", 4));
	kernel.image = path;
	guest.engine = "fake";
	guest.cpus = 2;
	guest.memory = 64u << 20;
	guest.kernel = &kernel;
	guest.console = guest.entropy = guest.balloon = true;
	uv_loop_init(&loop);
	if (machine_build(&loop, &guest, &fake_engine_ops, NULL, &machine, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

static void reset(void)
{
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next)
		d->ops->reset(d);
	machine_unlock(machine);
}

static int load(const uint8_t *data, size_t size, struct error *err)
{
	struct buffer state = {0};
	int r = machine_load(machine, data, size, err);

	if (r == 0 && machine_save(machine, &state, NULL) < 0)
		abort();
	buffer_done(&state);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};
	int r;

	if (!size)
		return 0;
	if (!machine)
		build();
	r = data[0] & 1 ? machine_accept(machine, data + 1, size - 1, &err)
			: load(data + 1, size - 1, &err);
	if (r < 0 && !err.text[0])
		abort();
	uv_run(&loop, UV_RUN_NOWAIT);
	reset();
	return 0;
}
