/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <errno.h>

#include "vmm/devices/ged.h"
#include "vmm/devices/panic.h"
#include "vmm/devices/pci.h"
#include "vmm/devices/power.h"
#include "vmm/devices/serial.h"
#include "vmm/virtio/devices.h"

/* What a PC has besides its serial port. */
static int pc_add(struct machine *machine, struct error *err)
{
	int r = ged_add(machine, &machine->ged, err);

	if (r == 0)
		r = power_add(machine, err);
	if (r == 0)
		r = panic_add(machine, err);
	if (r < 0)
		return r;
	r = pci_host_add(machine);
	return r < 0 ? error_system(err, r, "PCI host bridge") : 0;
}

static int board_add(struct machine *machine, struct error *err)
{
	int r = serial_add(machine, machine->serial_console, err);

	/* A paravirtual machine ends by a hypercall, and its button is a line. */
	if (r < 0 || machine->engine_ops->platform == ENGINE_PV)
		return r;
	return pc_add(machine, err);
}

static int disks_add(struct machine *machine, struct error *err)
{
	const Segue__Guest *guest = machine->guest;
	int r = 0;

	for (unsigned i = 0; i < guest->n_disks && r == 0; i++)
		r = virtio_blk_add(machine, guest->disks[i], i, err);
	return r;
}

static int nets_add(struct machine *machine, struct error *err)
{
	const Segue__Guest *guest = machine->guest;
	int r = 0;

	for (unsigned i = 0; i < guest->n_nets && r == 0; i++)
		r = virtio_net_add(machine, guest->nets[i], i, err);
	return r;
}

/* The order gives each its slot on the bus: it is part of what a move keeps. */
int machine_devices_add(struct machine *machine, struct error *err)
{
	const Segue__Guest *guest = machine->guest;
	int r = board_add(machine, err);

	if (r == 0)
		r = disks_add(machine, err);
	if (r == 0)
		r = nets_add(machine, err);
	if (r == 0 && guest->console)
		r = virtio_console_add(machine, machine->virtio_console, err);
	if (r == 0 && guest->entropy)
		r = virtio_rng_add(machine, err);
	if (r == 0 && guest->balloon)
		r = virtio_balloon_add(machine, &machine->balloon, err);
	return r;
}

/* Last built, first gone: functions leave the bus before its bridge does. */
void machine_devices_destroy(struct machine *machine)
{
	while (machine->devices) {
		struct device **at = &machine->devices;
		struct device *last;

		while ((*at)->next)
			at = &(*at)->next;
		last = *at;
		*at = NULL;
		last->ops->destroy(last);
	}
}

void machine_power_button(struct machine *machine)
{
	machine_lock(machine);
	if (machine->ged)
		ged_raise(machine->ged, GED_POWER_BUTTON);
	else
		machine->engine_ops->set_irq(machine->engine, SEGUE_PV_LINE_POWER, true);
	machine_unlock(machine);
}
