/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/pv.h"

/* The guest's clock as the engine's: where it is told, when it stands and when it goes on. */
void pv_clock_write(struct pv_engine *e)
{
	struct segue_pv_vcpu *page = atomic_load(&e->page);
	const uint8_t *at = (const uint8_t *)page;

	if (!page || e->clock.frozen)
		return;
	pv_clock_publish(&e->clock, &page->clock);
	ram_mark(e->ram, (uint64_t)(at - ram_base(e->ram)), sizeof(*page));
}

int pv_clock_op_freeze(struct engine *engine, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);

	(void)err;
	pthread_mutex_lock(&e->timer.lock);
	if (!e->clock.frozen)
		pv_clock_freeze(&e->clock);
	pthread_mutex_unlock(&e->timer.lock);
	return 0;
}

void pv_clock_go(struct pv_engine *e, uint64_t elapsed_ns)
{
	pthread_mutex_lock(&e->timer.lock);
	if (e->clock.frozen)
		pv_clock_release(&e->clock, e->clock.frozen_ns + elapsed_ns);
	pv_clock_write(e);
	pthread_mutex_unlock(&e->timer.lock);
	pv_timer_check(e);
}

int pv_clock_op_release(struct engine *engine, uint64_t elapsed_ns, struct error *err)
{
	(void)err;
	pv_clock_go(pv_engine_of(engine), elapsed_ns);
	return 0;
}
