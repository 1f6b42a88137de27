/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/*
 * Which of the guest's address spaces and contexts the host has processes and threads for.
 * They are made when they are to run, and taken away from those unused for longest where the
 * host gives no more: all that is kept of a context then is its registers.
 */

static void unlink_space(struct pv_engine *e, struct pv_space *space)
{
	*(space->older ? &space->older->newer : &e->oldest) = space->newer;
	*(space->newer ? &space->newer->older : &e->newest) = space->older;
	space->older = space->newer = NULL;
}

static void link_newest(struct pv_engine *e, struct pv_space *space)
{
	space->older = e->newest;
	space->newer = NULL;
	*(e->newest ? &e->newest->newer : &e->oldest) = space;
	e->newest = space;
}

static void touch(struct pv_engine *e, struct pv_space *space)
{
	if (e->newest == space)
		return;
	unlink_space(e, space);
	link_newest(e, space);
}

static void forget(struct pv_engine *e, struct pv_user *user)
{
	e->n_contexts -= user->context ? 1 : 0;
	user->context = NULL;
	user->there = false;
	if (!user->here && user->at != PV_USER_FRESH)
		user->at = PV_USER_LOST;
}

void pv_user_gone(struct pv_engine *e, struct pv_user *user)
{
	pv_gate_recall_user(e, user);
	pv_context_destroy(user->context);
	forget(e, user);
}

/* What may have been written is logged by the flush. */
static void shadow_drop(struct pv_engine *e, struct pv_space *space)
{
	struct pv_map map;

	pthread_mutex_lock(&e->shadow_lock);
	(void)pv_dirty_flush(e, space->shadow, SEGUE_PV_USER_BEGIN, SEGUE_PV_VA_END, &map);
	pv_shadow_destroy(space->shadow);
	space->shadow = NULL;
	pv_domain_destroy(space->domain);
	space->domain = NULL;
	pthread_mutex_unlock(&e->shadow_lock);
}

/* Its contexts end with the domain; those whose registers are not here are lost. */
void pv_space_discard(struct pv_engine *e, struct pv_space *space)
{
	if (!space->domain)
		return;
	for (struct pv_user *user = space->users; user; user = user->sibling) {
		pv_gate_recall_user(e, user);
		forget(e, user);
	}
	shadow_drop(e, space);
	unlink_space(e, space);
	e->n_domains--;
}

void pv_space_evict(struct pv_engine *e, struct pv_space *space)
{
	for (struct pv_user *user = space->users; user; user = user->sibling) {
		if (user->context && user->there)
			(void)pv_user_fetch(e, user);
	}
	pv_space_discard(e, space);
}

/* Makes room at the cost of another space; false: there is none left. */
static bool evict_for(struct pv_engine *e, const struct pv_space *space)
{
	struct pv_space *victim = e->oldest;

	if (victim == space && victim)
		victim = victim->newer;
	if (!victim)
		return false;
	pv_space_evict(e, victim);
	return true;
}

/* Both under the lock, so that a harvest sees a domain with its shadow or neither. */
static int space_build(struct pv_engine *e, struct pv_space *space)
{
	int r;

	pthread_mutex_lock(&e->shadow_lock);
	r = pv_domain_create(e->host, &space->domain, NULL);
	if (r == 0)
		r = pv_dirty_join(e, space->domain, NULL);
	if (r == 0)
		r = pv_shadow_create(e->shadows, space->root, PV_USER, SEGUE_PV_USER_BEGIN,
				     SEGUE_PV_VA_END, space, &space->shadow);
	if (r < 0) {
		pv_domain_destroy(space->domain);
		space->domain = NULL;
	}
	pthread_mutex_unlock(&e->shadow_lock);
	return r;
}

/* Descriptors that a domain takes, and a context. The rest of the monitor needs some, too. */
#define FDS_DOMAIN  6u
#define FDS_CONTEXT 1u

static bool has_fds(const struct pv_engine *e, unsigned more)
{
	return e->n_domains * FDS_DOMAIN + e->n_contexts * FDS_CONTEXT + more <= e->fds_max;
}

static bool has_room(const struct pv_engine *e)
{
	return e->n_domains < e->domains_max && has_fds(e, FDS_DOMAIN);
}

static int space_enter(struct pv_engine *e, struct pv_space *space)
{
	int r;

	if (space->domain) {
		touch(e, space);
		return 0;
	}
	while (!has_room(e) && evict_for(e, space))
		;
	do {
		r = space_build(e, space);
	} while (r < 0 && evict_for(e, space));
	if (r < 0)
		return -ENOMEM;
	link_newest(e, space);
	e->n_domains++;
	return 0;
}

/* At the cost of another context of the same space, where there are no other spaces. */
static bool evict_sibling(struct pv_engine *e, const struct pv_user *user)
{
	struct pv_user *victim = user->space->users;

	while (victim && (victim == user || !victim->context))
		victim = victim->sibling;
	if (!victim)
		return false;
	if (victim->there)
		(void)pv_user_fetch(e, victim);
	pv_user_gone(e, victim);
	return true;
}

static bool evict_anything(struct pv_engine *e, const struct pv_user *user)
{
	return evict_for(e, user->space) || evict_sibling(e, user);
}

static int context_enter(struct pv_engine *e, struct pv_user *user)
{
	int r;

	if (user->context)
		return 0;
	while (!has_fds(e, FDS_CONTEXT)) {
		if (!evict_anything(e, user))
			return -ENOMEM;
	}
	do {
		r = pv_context_create(user->space->domain, &user->context, NULL);
	} while (r == -EAGAIN && evict_anything(e, user));
	if (r == 0)
		e->n_contexts++;
	return r == 0 || r == -EIO ? r : -ENOMEM;
}

static int registers_enter(struct pv_engine *e, struct pv_user *user)
{
	int r;

	if (user->there)
		return 0;
	if (!user->here)
		return -EINVAL;
	r = pv_registers_set(e, user->context, &user->regs, user->xsave, NULL);
	user->there = r == 0;
	return r;
}

/*
 * A domain whose process has died takes its other contexts with it; those whose registers
 * are here go on in a new one.
 */
int pv_user_enter(struct pv_engine *e, struct pv_user *user)
{
	int r;

	for (unsigned tries = 0;; tries++) {
		r = space_enter(e, user->space);
		if (r == 0)
			r = context_enter(e, user);
		if (r == 0)
			r = registers_enter(e, user);
		if (r != -EIO || tries == 1)
			return r;
		pv_space_evict(e, user->space);
	}
}
