/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/pv/wire.h"

/*
 * Loading. The message is checked as a whole first: what comes from a peer may be anything.
 * User contexts get their registers here, and a place on this host when they are entered.
 */
static int context_get(struct pv_engine *e, const Segue__PvContext *m)
{
	struct pv_user *user;
	int r;

	if (pv_user_find(e, m->id))
		return -EPROTO;
	r = pv_user_create(e, m->root, m->id, &user);
	if (r < 0)
		return r;
	user->at = m->lost ? PV_USER_LOST : PV_USER_FRESH;
	if (!m->loaded)
		return 0;
	user->xsave = malloc(e->xsave_size);
	if (!user->xsave)
		return -ENOMEM;
	memcpy(&user->regs, m->regs, sizeof(user->regs));
	user->here = true;
	user->at = m->in_call ? PV_USER_CALL : PV_USER_STOPPED;
	return wire_xsave_get(&m->xsave, user->xsave, e->xsave_size, e->xsave_components);
}

static int registers_get(struct pv_engine *e, const Segue__PvState *m, struct error *err)
{
	struct segue_pv_regs regs;
	uint8_t *xsave;
	int r;

	if (!m->n_regs)
		return 0;
	xsave = malloc(e->xsave_size);
	if (!xsave)
		return -ENOMEM;
	memcpy(&regs, m->regs, sizeof(regs));
	r = wire_xsave_get(&m->xsave, xsave, e->xsave_size, e->xsave_components);
	if (r == 0)
		r = pv_registers_set(e, e->kernel.context, &regs, xsave, err);
	free(xsave);
	return r;
}

static int kernel_get(struct pv_engine *e, const Segue__PvState *m, struct error *err)
{
	struct pv_kernel *k = &e->kernel;
	int r = 0;

	e->event_entry = m->event_entry;
	e->trap_entry = m->trap_entry;
	e->kernel_root = m->kernel_root;
	if (!k->ahead)
		r = pv_kernel_make(e, err);
	else
		pv_shadow_set_root(k->shadow, e->kernel_root);
	k->ahead = false;
	if (r == 0)
		r = registers_get(e, m, err);
	if (r < 0)
		return r;
	snprintf(k->words, sizeof(k->words), "%s", m->words);
	return wire_at_get(m->at, &k->at);
}

static void clock_get(struct pv_engine *e, const Segue__PvState *m)
{
	pthread_mutex_lock(&e->timer.lock);
	e->clock.frozen = true;
	e->clock.frozen_ns = m->guest_ns;
	e->timer.deadline = m->deadline;
	pthread_mutex_unlock(&e->timer.lock);
	e->booted = true;
}

static int loading(struct pv_engine *e, const Segue__PvState *m, struct error *err)
{
	int r = 0;

	/* One that was made ahead has run nothing: it is as good as new. */
	if (!e->kernel.ahead)
		pv_reset(e);
	e->xsave_components = m->xsave_components | 3; /* x87 and SSE: no processor is without */
	e->xsave_size = pv_xsave_size(e->xsave_components);
	for (size_t i = 0; i < m->n_contexts && r == 0; i++)
		r = context_get(e, m->contexts[i]);
	if (r == 0)
		r = kernel_get(e, m, err);
	if (r == 0)
		r = pv_page_take(e, m->vcpu_page);
	if (r < 0)
		return r;
	if (e->kernel.at == PV_AT_USER)
		e->kernel.user = pv_user_find(e, m->user);
	clock_get(e, m);
	return 0;
}

int pv_load(struct engine *engine, const uint8_t *state, size_t len, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	Segue__PvState *message = segue__pv_state__unpack(NULL, len, state);
	int r;

	if (!message)
		return error_set(err, -EPROTO, "the processor's state cannot be read");
	r = wire_check(e, message, err);
	if (r == 0)
		r = loading(e, message, err);
	segue__pv_state__free_unpacked(message, NULL);
	if (r < 0)
		pv_reset(e);
	return r < 0 ? error_system(err, r, "the processor's state") : 0;
}
