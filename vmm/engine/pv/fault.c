/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/engine/pv/dirty.h"

/*
 * Page faults: the shadow's to repair, or the guest's to know of. And flushes.
 */
#define TRIES   16u
/* So many faults in a row at one place, and nothing that has been mapped helped. */
#define REPEATS 256u

static int access_of(uint32_t error)
{
	if (error & SEGUE_PV_PF_FETCH)
		return PROT_EXEC;
	return error & SEGUE_PV_PF_WRITE ? PROT_WRITE : PROT_READ;
}

static bool repeats(struct pv_kernel *k, const struct pv_stop *stop)
{
	if (k->fault_va != stop->trap.address || k->fault_rip != stop->rip)
		k->repeats = 0;
	k->fault_va = stop->trap.address;
	k->fault_rip = stop->rip;
	return ++k->repeats > REPEATS;
}

/* The host takes no more mappings of this domain: begin anew with fewer. */
static int carry_out(struct pv_engine *e, struct pv_shadow *shadow, const struct pv_map *maps,
		     unsigned n)
{
	struct pv_domain *domain = pv_domain_of(e, shadow);
	struct pv_map all;
	int r = n ? pv_domain_map(domain, maps, n, NULL, NULL) : 0;

	if (r != -ENOMEM)
		return r;
	pv_shadow_refused(shadow, &all);
	return pv_domain_map(domain, &all, 1, NULL, NULL) < 0 ? -EIO : -EAGAIN;
}

/* Shadow lock held. */
static enum pv_fault_verdict resolve(struct pv_engine *e, struct pv_shadow *shadow,
				     const struct pv_stop *stop, uint32_t *ret_error)
{
	int access = access_of(stop->trap.error);
	struct pv_fault fault;

	for (unsigned i = 0; i < TRIES; i++) {
		int r = pv_shadow_fault(shadow, stop->trap.address, access, &fault);

		if (r < 0)
			return carry_out(e, shadow, fault.maps, fault.n) < 0 ? PV_FAULT_STUCK
									     : PV_FAULT_DONE;
		*ret_error = fault.error;
		if (fault.answer == PV_FAULT_REFLECT)
			return PV_FAULT_GUEST;
		if (fault.answer == PV_FAULT_RELIEVE) {
			r = carry_out(e, fault.other, fault.maps, fault.n);
			if (r < 0 && r != -EAGAIN)
				return PV_FAULT_STUCK;
			continue;
		}
		r = carry_out(e, shadow, fault.maps, fault.n);
		if (r != -EAGAIN)
			return r < 0 ? PV_FAULT_STUCK : PV_FAULT_DONE;
	}
	return PV_FAULT_STUCK;
}

enum pv_fault_verdict pv_fault_resolve(struct pv_engine *e, struct pv_shadow *shadow,
				       const struct pv_stop *stop, uint32_t *ret_error)
{
	enum pv_fault_verdict verdict;

	if (repeats(&e->kernel, stop))
		return PV_FAULT_STUCK;
	pthread_mutex_lock(&e->shadow_lock);
	verdict = resolve(e, shadow, stop, ret_error);
	pthread_mutex_unlock(&e->shadow_lock);
	return verdict;
}

void pv_expect(struct pv_user *user, uint64_t va, uint32_t error)
{
	if (user->n_ahead < PV_AHEAD)
		user->ahead[user->n_ahead++] = (struct pv_ahead){.va = va, .error = error};
}

/* An order costs an exchange with the mapper, also for what is mapped already. */
static bool is_there(const struct pv_shadow *shadow, const struct pv_ahead *ahead)
{
	struct pv_leaf leaf;

	return pv_shadow_find(shadow, ahead->va, &leaf) &&
	       (leaf.prot & access_of(ahead->error)) != 0;
}

/*
 * A fault costs a signal there and back. The one that the guest's kernel has just been told of
 * is over once it has filled in its tables, and a program that is started has its first ones
 * where its registers point.
 */
void pv_fault_ahead(struct pv_engine *e, struct pv_user *user)
{
	struct pv_stop stop = {0};

	if (!user->n_ahead)
		return;
	pthread_mutex_lock(&e->shadow_lock);
	for (unsigned i = 0; i < user->n_ahead; i++) {
		if (is_there(user->space->shadow, &user->ahead[i]))
			continue;
		stop.trap.address = user->ahead[i].va;
		stop.trap.error = user->ahead[i].error;
		(void)resolve(e, user->space->shadow, &stop, &stop.trap.error);
	}
	pthread_mutex_unlock(&e->shadow_lock);
	user->n_ahead = 0;
}

int pv_flush(struct pv_engine *e, struct pv_shadow *shadow, uint64_t begin, uint64_t end)
{
	struct pv_map map;
	int r = 0;

	pthread_mutex_lock(&e->shadow_lock);
	if (pv_dirty_flush(e, shadow, begin, end, &map))
		r = pv_domain_map(pv_domain_of(e, shadow), &map, 1, NULL, NULL);
	pthread_mutex_unlock(&e->shadow_lock);
	return r;
}
