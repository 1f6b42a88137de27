/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/* Registers of contexts: between the host, the guest's area for them, and where they are kept. */
static int room_for_xsave(struct pv_engine *e, struct pv_user *user)
{
	if (user->xsave)
		return 0;
	user->xsave = malloc(e->xsave_size);
	if (!user->xsave)
		return -ENOMEM;
	pv_xsave_initial(user->xsave, e->xsave_size);
	return 0;
}

/* Of the host's image the guest has the part that its area holds. */
int pv_registers_get(struct pv_engine *e, struct pv_context *context,
		     struct segue_pv_regs *regs, uint8_t *xsave)
{
	size_t len = e->xsave_host;
	int r = pv_context_get(context, regs, e->scratch, &len, NULL);

	if (r < 0)
		return r;
	if (len > e->xsave_size)
		len = e->xsave_size;
	memset(xsave, 0, e->xsave_size);
	memcpy(xsave, e->scratch, len);
	pv_xsave_clean(xsave, e->xsave_size, e->xsave_components);
	return 0;
}

int pv_registers_set(struct pv_engine *e, struct pv_context *context,
		     const struct segue_pv_regs *regs, const uint8_t *xsave, struct error *err)
{
	memset(e->scratch, 0, e->xsave_host);
	memcpy(e->scratch, xsave, e->xsave_size);
	return pv_context_set(context, regs, e->scratch, e->xsave_host, err);
}

int pv_user_fetch(struct pv_engine *e, struct pv_user *user)
{
	int r;

	pv_gate_recall_user(e, user);
	if (user->here)
		return 0;
	if (user->at == PV_USER_FRESH || user->at == PV_USER_LOST)
		return -EINVAL;
	r = room_for_xsave(e, user);
	if (r == 0)
		r = pv_registers_get(e, user->context, &user->regs, user->xsave);
	if (r == 0)
		user->here = true;
	else if (r != -ENOMEM)
		pv_user_gone(e, user);
	return r;
}

static void fetch_idle(struct pv_engine *e, struct pv_user *user)
{
	bool entered = e->kernel.at == PV_AT_USER && e->kernel.user == user;

	if (user->there && !user->here && !entered)
		(void)pv_user_fetch(e, user);
}

/*
 * Getting a context's registers takes a signal. Those that have not run since need none when
 * the guest is saved, where it would wait for it. Whoever kicks does not wait for this.
 */
void pv_users_fetch(struct pv_engine *e)
{
	if (!atomic_exchange(&e->fetch, false))
		return;
	for (unsigned i = 0; i < PV_BUCKETS; i++) {
		struct pv_user *user = e->users[i];

		for (; user && !atomic_load(&e->run.kicked); user = user->next)
			fetch_idle(e, user);
	}
}

int pv_user_load(struct pv_engine *e, struct pv_user *user, const struct segue_pv_regs *regs,
		 const uint8_t *xsave)
{
	int r = 0;

	if (!user->there || xsave)
		r = room_for_xsave(e, user);
	/* Floating-point state that nobody gives stays what it was, wherever it is. */
	if (r == 0 && user->there && !xsave)
		r = pv_context_set(user->context, regs, NULL, 0, NULL);
	if (r < 0)
		return r == -EIO ? -EINVAL : r;
	if (user->at == PV_USER_LOST && !xsave)
		pv_xsave_initial(user->xsave, e->xsave_size);
	if (xsave) {
		memcpy(user->xsave, xsave, e->xsave_size);
		pv_xsave_clean(user->xsave, e->xsave_size, e->xsave_components);
	}
	user->n_ahead = 0;
	pv_expect(user, regs->rip, SEGUE_PV_PF_FETCH);
	pv_expect(user, regs->rsp, SEGUE_PV_PF_WRITE);
	user->regs = *regs;
	user->here = !user->there || xsave;
	user->there = user->there && !xsave;
	user->at = PV_USER_STOPPED;
	return 0;
}
