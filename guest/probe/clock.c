/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__extension__ typedef unsigned __int128 u128;

/* As the ABI says: again when the monitor was writing or has written meanwhile. */
uint64_t clock_ns(void)
{
	volatile const struct segue_pv_clock *c = &vcpu->clock;
	uint32_t sequence;
	uint64_t ns;

	do {
		sequence = c->sequence;
		barrier();
		ns =
		    c->base_ns + (uint64_t)((u128)(rdtsc() - c->base_tsc) * c->mul >> c->shift);
		barrier();
	} while ((sequence & 1) || sequence != c->sequence);
	return ns;
}

void set_timer(uint64_t at_ns)
{
	hv(SEGUE_PV_SET_TIMER, at_ns, 0, 0);
}
