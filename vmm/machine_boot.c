/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/boot.h"
#include "vmm/machine_internal.h"

#include <errno.h>

/* Nothing of what ran before holds a vCPU back, or keeps the machine from running. */
static void boot_release(struct machine *machine)
{
	pthread_mutex_lock(&machine->run_lock);
	for (unsigned i = 0; i < machine->n_vcpus; i++)
		machine->vcpus[i].held = false;
	pthread_mutex_unlock(&machine->run_lock);
	machine_lock(machine);
	machine->over = false;
	machine_unlock(machine);
}

static void boot_devices(struct machine *machine)
{
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next)
		d->ops->reset(d);
	machine_unlock(machine);
}

static int boot_kernel(struct machine *machine, struct boot_state *ret_boot, struct error *err)
{
	if (machine->engine_ops->platform == ENGINE_PV)
		return boot_load_pv(machine->ram, &machine->boot, machine->places,
				    machine->n_places, ret_boot, err);
	return boot_load(machine->ram, &machine->boot, machine->n_vcpus, ret_boot, err);
}

int machine_boot(struct machine *machine, struct error *err)
{
	struct boot_state boot;
	int r;

	/* Once parked, also a thread that has only just begun runs nothing. */
	if (machine->state == RUN_GOING ||
	    (machine->state == RUN_STOPPING && !machine_vcpus_parked(machine)))
		return error_set(err, -EBUSY, "the guest does not stand still");
	boot_devices(machine);
	if (machine->engine_ops->halt)
		machine->engine_ops->halt(machine->engine);
	r = boot_kernel(machine, &boot, err);
	if (r < 0)
		return r;
	r = machine->engine_ops->boot(machine->engine, &boot, err);
	if (r < 0)
		return r;
	boot_release(machine);
	return machine_vcpus_start(machine, err);
}
