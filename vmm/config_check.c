/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/paths.h"
#include "proto/suggest.h"
#include "proto/units.h"
#include "vmm/config.h"
#include "vmm/config_devices.h"
#include "vmm/layout.h"

static int check_word(const struct config_where *where, const char *key, const char *word,
		      const char *const *words, size_t n, struct error *err)
{
	const char *near;

	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return 0;
	near = suggest(word, words, n);
	return config_where_error(where, err, key, "unknown \"%.64s\"; %s \"%s\"%s", word,
				  near ? "did you mean" : "use", near ? near : words[0],
				  near ? "?" : "");
}

static int check_name(const struct config_file *file, const struct config_where *where,
		      Segue__Guest *guest, struct error *err)
{
	if (!file->name)
		return config_where_error(where, err, "name", "missing; every guest needs one");
	if (!paths_name_valid(file->name))
		return config_where_error(
		    where, err, "name",
		    "\"%.80s\" will not do: 1 to 63 of a-z, 0-9 and -, not "
		    "beginning with -",
		    file->name);
	return config_copy(&guest->name, file->name, err);
}

static int check_engine(const struct config_file *file, const struct config_where *where,
			Segue__Guest *guest, struct error *err)
{
	static const char *const engines[] = {"auto", "kvm", "pv"};
	const char *engine = file->engine ? file->engine : engines[0];
	int r = check_word(where, "engine", engine, engines, 3, err);

	return r < 0 ? r : config_copy(&guest->engine, engine, err);
}

static int check_cpu(const struct config_file *file, const struct config_where *where,
		     Segue__Guest *guest, struct error *err)
{
	static const char *const models[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "host"};
	const char *model = file->cpu.model ? file->cpu.model : models[0];
	const char *count = file->cpu.count ? file->cpu.count : "1";
	int r = check_word(where, "cpu.model", model, models, 4, err);

	if (r < 0)
		return r;
	if (strspn(count, "0123456789") != strlen(count) || strlen(count) < 1 ||
	    strlen(count) > 4 || !atoi(count) || (unsigned)atoi(count) > CONFIG_CPUS_MAX)
		return config_where_error(where, err, "cpu.count", "\"%s\" is not 1 to %u",
					  count, CONFIG_CPUS_MAX);
	guest->cpus = (uint32_t)atoi(count);
	return config_copy(&guest->cpu_model, model, err);
}

/* What the paravirtual engine cannot give. Under "auto" the machine finds out. */
static int check_pv(const struct config_file *file, const struct config_where *where,
		    const Segue__Guest *guest, struct error *err)
{
	if (strcmp(guest->engine, "pv") != 0)
		return 0;
	if (guest->cpus != 1)
		return config_where_error(where, err, "cpu.count",
					  "%u, but engine pv runs one vCPU", guest->cpus);
	if (file->cpu.model && strcmp(file->cpu.model, "host") != 0)
		return config_where_error(
		    where, err, "cpu.model",
		    "engine pv shows the host's processor: only \"host\"");
	if (guest->memory > LAYOUT_PV_RAM_MAX)
		return config_where_error(where, err, "memory",
					  "%s is more than the %lluG that engine pv can give",
					  file->memory, LAYOUT_PV_RAM_MAX >> 30);
	return 0;
}

static int check_memory(const struct config_file *file, const struct config_where *where,
			Segue__Guest *guest, struct error *err)
{
	uint64_t size;
	int r;

	if (!file->memory)
		return config_where_error(where, err, "memory",
					  "missing; for example \"512M\"");
	r = units_parse_size(file->memory, &size);
	if (r == -EINVAL)
		return config_where_error(
		    where, err, "memory",
		    "\"%.40s\" is not a size; for example \"512M\" or \"4G\"", file->memory);
	if (r < 0 || size < CONFIG_MEMORY_MIN || size > CONFIG_MEMORY_MAX)
		return config_where_error(where, err, "memory", "%.40s is not 4M to 1T",
					  file->memory);
	if (size % CONFIG_MEMORY_STEP)
		return config_where_error(
		    where, err, "memory",
		    "%.40s is not a multiple of 2M; the next is %" PRIu64 "M", file->memory,
		    (uint64_t)(size / CONFIG_MEMORY_STEP + 1) * 2);
	guest->memory = size;
	return 0;
}

static int check_kernel(const struct config_file *file, const struct config_where *where,
			const char *dir, Segue__Guest *guest, struct error *err)
{
	const struct config_kernel *k = &file->kernel;
	Segue__Kernel *kernel = malloc(sizeof(*kernel));
	int r;

	if (!kernel)
		return error_set(err, -ENOMEM, "out of memory");
	segue__kernel__init(kernel);
	guest->kernel = kernel;
	if (!k->image || !*k->image)
		return config_where_error(where, err, "kernel.image",
					  "missing; the path of a bzImage or, for engine "
					  "pv, an ELF file");
	r = config_copy_path(&kernel->image, dir, k->image, err);
	if (!r && k->initrd && *k->initrd)
		r = config_copy_path(&kernel->initrd, dir, k->initrd, err);
	if (!r && k->cmdline)
		r = config_copy(&kernel->cmdline, k->cmdline, err);
	return r;
}

static void check_switches(const struct config_file *file, Segue__Guest *guest)
{
	guest->console = file->console != CONFIG_FALSE;
	guest->entropy = file->entropy != CONFIG_FALSE;
	guest->balloon = file->balloon != CONFIG_FALSE;
	guest->allow_emulation = file->allow_emulation == CONFIG_TRUE;
}

int config_check(const struct config_file *file, const struct config_where *where,
		 const char *dir, Segue__Guest *guest, struct error *err)
{
	int r = check_name(file, where, guest, err);

	if (!r)
		r = check_engine(file, where, guest, err);
	if (!r)
		r = check_cpu(file, where, guest, err);
	if (!r)
		r = check_memory(file, where, guest, err);
	if (!r)
		r = check_pv(file, where, guest, err);
	if (!r)
		r = check_kernel(file, where, dir, guest, err);
	if (!r)
		r = config_check_disks(file, where, dir, guest, err);
	if (!r)
		r = config_check_nets(file, where, guest, err);
	check_switches(file, guest);
	return r;
}
