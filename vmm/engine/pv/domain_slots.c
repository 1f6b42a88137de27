/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/engine/pv/domain_internal.h"

int pv_slots_take(struct pv_slots *slots, uint32_t *ret_slot)
{
	uint32_t *grown;

	if (slots->n_free) {
		*ret_slot = slots->free[--slots->n_free];
		return 0;
	}
	if (slots->fresh == slots->max)
		return -EAGAIN;
	/* Room for all of them to come back: giving cannot fail. */
	if (slots->fresh == slots->room) {
		uint32_t room = slots->room ? 2 * slots->room : 16;

		grown = realloc(slots->free, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		slots->free = grown;
		slots->room = room;
	}
	*ret_slot = slots->fresh++;
	return 0;
}

void pv_slots_give(struct pv_slots *slots, uint32_t slot)
{
	slots->free[slots->n_free++] = slot;
}

void pv_slots_done(struct pv_slots *slots)
{
	free(slots->free);
	slots->free = NULL;
}
