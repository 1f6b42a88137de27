/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

/*
 * Switches learn where a guest has gone from what it sends; the first announcement may be
 * lost while links settle, so it is repeated with growing pauses.
 */
static const uint64_t announce_pause_ms[] = {50, 150, 250, 350, 450};

static void announce_round(struct machine *machine)
{
	machine_lock(machine);
	for (struct device *d = machine->devices; d; d = d->next) {
		if (d->ops->announce)
			d->ops->announce(d, machine->announce_round);
	}
	machine_unlock(machine);
}

static void announce_next(uv_timer_t *timer)
{
	struct machine *machine = timer->data;
	unsigned round = machine->announce_round;

	/* A guest that stands still again may be running elsewhere. */
	if (!machine_running(machine))
		return;
	announce_round(machine);
	machine->announce_round = round + 1;
	if (round < sizeof(announce_pause_ms) / sizeof(announce_pause_ms[0]))
		uv_timer_start(timer, announce_next, announce_pause_ms[round], 0);
}

void machine_announce(struct machine *machine)
{
	machine->announce_round = 0;
	announce_next(&machine->announce_timer);
}
