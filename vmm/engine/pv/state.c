/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/pv/wire.h"

/*
 * Saving. A call under way is either complete or is saved as what kernel mode waits for; user
 * contexts that the host has are asked for their registers, and stay as they are.
 */
struct saving {
	Segue__PvState message;
	struct segue_pv_regs regs;
	uint8_t *xsave;
	Segue__PvContext *contexts;
	Segue__PvContext **list;
	size_t n;
};

static void saving_done(struct saving *s)
{
	free(s->xsave);
	free(s->contexts);
	free(s->list);
}

static int context_put(struct pv_engine *e, struct pv_user *user, Segue__PvContext *m)
{
	segue__pv_context__init(m);
	if (user->at != PV_USER_FRESH && user->at != PV_USER_LOST &&
	    pv_user_fetch(e, user) == -ENOMEM)
		return -ENOMEM;
	m->id = user->id;
	m->root = user->space->root;
	m->loaded = user->at == PV_USER_CALL || user->at == PV_USER_STOPPED;
	m->in_call = user->at == PV_USER_CALL;
	m->lost = user->at == PV_USER_LOST;
	if (!m->loaded)
		return 0;
	m->n_regs = WIRE_REGS;
	m->regs = (uint64_t *)&user->regs;
	m->xsave.data = user->xsave;
	m->xsave.len = e->xsave_size;
	return 0;
}

static int contexts_put(struct pv_engine *e, struct saving *s)
{
	int r = 0;

	s->contexts = calloc(e->n_users + 1, sizeof(*s->contexts));
	s->list = calloc(e->n_users + 1, sizeof(*s->list));
	if (!s->contexts || !s->list)
		return -ENOMEM;
	for (unsigned i = 0; i < PV_BUCKETS; i++) {
		for (struct pv_user *u = e->users[i]; u && r == 0; u = u->next) {
			s->list[s->n] = &s->contexts[s->n];
			r = context_put(e, u, s->list[s->n++]);
		}
	}
	s->message.n_contexts = s->n;
	s->message.contexts = s->list;
	return r;
}

static int kernel_put(struct pv_engine *e, struct saving *s)
{
	struct pv_kernel *k = &e->kernel;
	Segue__PvState *m = &s->message;
	int r;

	m->at = wire_at_put(k->at);
	if (k->at == PV_AT_USER)
		m->user = k->user->id;
	m->words = k->words;
	s->xsave = calloc(1, e->xsave_size);
	if (!s->xsave)
		return -ENOMEM;
	r = pv_registers_get(e, k->context, &s->regs, s->xsave);
	if (r == 0)
		r = pv_gate_registers(e, &s->regs);
	/* One that has ended needs none. */
	if (r < 0)
		return k->at >= PV_AT_OFF ? 0 : r;
	m->n_regs = WIRE_REGS;
	m->regs = (uint64_t *)&s->regs;
	m->xsave.data = s->xsave;
	m->xsave.len = e->xsave_size;
	return 0;
}

static void clock_put(struct pv_engine *e, Segue__PvState *m)
{
	pthread_mutex_lock(&e->timer.lock);
	m->guest_ns = pv_clock_now(&e->clock);
	m->deadline = e->timer.deadline;
	pthread_mutex_unlock(&e->timer.lock);
}

static int saving_fill(struct pv_engine *e, struct saving *s)
{
	Segue__PvState *m = &s->message;
	const uint8_t *page = (const uint8_t *)atomic_load(&e->page);
	int r;

	segue__pv_state__init(m);
	if (!page || e->kernel.at == PV_AT_IO || e->kernel.at == PV_AT_PRINT)
		return -EINVAL;
	m->abi = SEGUE_PV_VERSION;
	m->vcpu_page = (uint64_t)(page - ram_base(e->ram));
	m->event_entry = e->event_entry;
	m->trap_entry = e->trap_entry;
	m->kernel_root = e->kernel_root;
	m->xsave_components = e->xsave_components;
	clock_put(e, m);
	r = kernel_put(e, s);
	return r < 0 ? r : contexts_put(e, s);
}

int pv_save(struct engine *engine, struct buffer *state, struct error *err)
{
	struct saving s = {0};
	int r = saving_fill(pv_engine_of(engine), &s);

	if (r == 0)
		r = buffer_pack(state, &s.message.base);
	saving_done(&s);
	return r < 0 ? error_system(err, r, "the processor's state") : 0;
}
