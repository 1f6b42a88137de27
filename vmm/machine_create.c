/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/boot.h"
#include "vmm/machine_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Which engine runs a guest. A kernel is made for one platform: a bzImage for a PC, which
 * takes KVM, an ELF executable for guest/abi.h. So "auto" is decided by the kernel, the same
 * way on every host the guest moves to.
 */
#define AUTO "auto"

static int kernel_kind(const Segue__Guest *guest, enum boot_kind *ret_kind, struct error *err)
{
	struct boot_files files;
	int r;

	if (!guest->kernel)
		return error_set(err, -EINVAL, "the guest names no kernel to boot");
	r = boot_files_open(&files, guest->kernel->image, NULL, NULL, err);
	if (r < 0)
		return r;
	*ret_kind = boot_kind(files.kernel);
	boot_files_close(&files);
	return 0;
}

static int kind_check(const struct engine_ops *engine, enum boot_kind kind, const char *image,
		      struct error *err)
{
	if (engine->platform == ENGINE_PV && kind == BOOT_BZIMAGE)
		return error_set(
		    err, -EINVAL,
		    "kernel %s: a bzImage, which only KVM can run: say engine: kvm, or "
		    "name a kernel made for the paravirtual engine (an ELF file)",
		    image);
	if (engine->platform == ENGINE_PC && kind == BOOT_ELF)
		return error_set(
		    err, -EINVAL,
		    "kernel %s: an ELF file, which only the paravirtual engine can "
		    "run: say engine: pv, or name the kernel's bzImage",
		    image);
	return 0;
}

/* Limits of a platform, where the guest's file could not tell which it would be. */
static int size_check(const struct engine_ops *engine, const Segue__Guest *guest,
		      struct error *err)
{
	if (engine->platform != ENGINE_PV)
		return 0;
	if (guest->cpus != 1)
		return error_set(
		    err, -EINVAL,
		    "cpu.count is %u, but the paravirtual engine, which this kernel "
		    "is for, runs one vCPU",
		    guest->cpus);
	if (guest->memory > LAYOUT_PV_RAM_MAX)
		return error_set(err, -EINVAL,
				 "the paravirtual engine gives a guest %llu GiB at most, not "
				 "%" PRIu64,
				 LAYOUT_PV_RAM_MAX >> 30, guest->memory >> 30);
	return 0;
}

static bool wants_auto(const Segue__Guest *guest)
{
	return !*guest->engine || strcmp(guest->engine, AUTO) == 0;
}

static int engine_choose(const Segue__Guest *guest, enum boot_kind kind,
			 const struct engine_ops **ret_engine, struct error *err)
{
	const char *name = guest->engine;
	const struct engine_ops *engine;
	int r;

	if (wants_auto(guest))
		name = kind == BOOT_ELF ? "pv" : "kvm";
	engine = engine_find(name);
	if (!engine)
		return error_set(err, -EINVAL, "there is no engine \"%s\"", name);
	r = kind_check(engine, kind, guest->kernel->image, err);
	if (r == 0)
		r = size_check(engine, guest, err);
	if (r == 0)
		*ret_engine = engine;
	return r;
}

static int engine_probe(const struct engine_ops *engine, const Segue__Guest *guest,
			struct error *err)
{
	int r = engine->probe(guest, err);

	if (r == 0 || !wants_auto(guest))
		return r;
	/* No other engine could: then say why none was tried. */
	if (engine->platform == ENGINE_PC)
		error_prefix(err,
			     "kernel %s needs KVM (one made for the paravirtual engine "
			     "would not)",
			     guest->kernel->image);
	return r;
}

static const char *why(const Segue__Guest *guest, enum boot_kind kind)
{
	if (!wants_auto(guest))
		return "as its file says";
	return kind == BOOT_ELF ? "auto: its kernel is made for this engine"
				: "auto: its kernel is made for a PC, and KVM runs here";
}

int machine_create(uv_loop_t *loop, const Segue__Guest *guest,
		   const struct machine_observer *observer, struct machine **ret_machine,
		   struct error *err)
{
	const struct engine_ops *engine = NULL;
	enum boot_kind kind = BOOT_UNKNOWN;
	int r = kernel_kind(guest, &kind, err);

	if (r == 0)
		r = engine_choose(guest, kind, &engine, err);
	if (r == 0)
		r = engine_probe(engine, guest, err);
	if (r == 0)
		r = machine_build(loop, guest, engine, observer, ret_machine, err);
	if (r == 0)
		(*ret_machine)->why = why(guest, kind);
	return r;
}

const char *machine_why(const struct machine *machine)
{
	return machine->why ? machine->why : "";
}
