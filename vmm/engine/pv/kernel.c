/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/engine/pv/pv.h"

/* The kernel's domain, and running it until it needs something. */
static int direct_map(struct pv_engine *e, struct error *err)
{
	struct pv_map map = {
		.op = PV_MAP,
		.prot = PROT_READ | PROT_WRITE | PROT_EXEC,
		.va = SEGUE_PV_DIRECT,
		.pages = ram_size(e->ram) / RAM_PAGE,
	};

	return pv_domain_map(e->kernel.domain, &map, 1, NULL, err);
}

static int build(struct pv_engine *e, struct error *err)
{
	struct pv_kernel *k = &e->kernel;
	int r = pv_domain_create_kernel(e->host, &k->domain, err);

	if (r == 0)
		r = direct_map(e, err);
	if (r == 0)
		r = pv_shadow_create(e->shadows, e->kernel_root, PV_KERNEL,
				     SEGUE_PV_DIRECT + ram_size(e->ram), SEGUE_PV_VA_END, NULL,
				     &k->shadow);
	if (r == 0)
		pv_shadow_limit(k->shadow, pv_shadow_usual.maps - PV_DIRECT_MAPS);
	if (r == 0)
		r = pv_dirty_join_kernel(e, err);
	if (r == 0)
		r = pv_context_create(k->domain, &k->context, err);
	if (r == 0)
		atomic_store(&e->gate, pv_domain_gate(k->domain));
	return r < 0 ? error_system(err, r, "the guest kernel's process") : 0;
}

int pv_kernel_make(struct pv_engine *e, struct error *err)
{
	int r;

	pthread_mutex_lock(&e->shadow_lock);
	r = build(e, err);
	pthread_mutex_unlock(&e->shadow_lock);
	if (r < 0)
		pv_kernel_drop(e);
	return r;
}

int pv_kernel_ahead(struct pv_engine *e, struct error *err)
{
	int r;

	if (e->kernel.domain)
		return 0;
	r = pv_kernel_make(e, err);
	e->kernel.ahead = r == 0;
	return r;
}

void pv_kernel_drop(struct pv_engine *e)
{
	struct pv_kernel *k = &e->kernel;
	struct pv_map map;

	pthread_mutex_lock(&e->shadow_lock);
	pv_dirty_forget(e);
	if (k->shadow)
		(void)pv_shadow_flush(k->shadow, 0, SEGUE_PV_VA_END, &map);
	pv_shadow_destroy(k->shadow);
	pv_domain_destroy(k->domain);
	*k = (struct pv_kernel){.at = PV_AT_NOWHERE};
	pthread_mutex_unlock(&e->shadow_lock);
}

/* After a load kernel mode stands in a call that this host's context knows nothing of. */
void pv_kernel_result(struct pv_engine *e, int64_t result)
{
	struct pv_kernel *k = &e->kernel;
	struct segue_pv_regs regs;
	int r;

	k->at = PV_AT_KERNEL;
	if (k->in_call) {
		pv_context_return(k->context, result);
		return;
	}
	r = pv_context_get(k->context, &regs, NULL, NULL, NULL);
	regs.rax = (uint64_t)result;
	if (r == 0)
		r = pv_context_set(k->context, &regs, NULL, 0, NULL);
	if (r < 0)
		pv_fail(e, "the process of its kernel has ended");
}

static bool in_direct_map(const struct pv_engine *e, uint64_t va)
{
	return va >= SEGUE_PV_DIRECT && va - SEGUE_PV_DIRECT < ram_size(e->ram);
}

static void page_fault(struct pv_engine *e, const struct pv_stop *stop)
{
	struct segue_pv_trap trap = stop->trap;
	enum pv_fault_verdict verdict;

	verdict = pv_fault_resolve(e, e->kernel.shadow, stop, &trap.error);
	if (verdict != PV_FAULT_STUCK && in_direct_map(e, trap.address))
		verdict = pv_dirty_fault(e, stop) ? PV_FAULT_DONE : PV_FAULT_STUCK;
	if (verdict == PV_FAULT_GUEST)
		pv_interrupt(e, stop, &trap);
	else if (verdict == PV_FAULT_STUCK)
		pv_fail(e, "this host has no memory for address 0x%llx of its kernel, used at "
			"instruction 0x%llx", (unsigned long long)trap.address,
			(unsigned long long)stop->rip);
}

static void trap(struct pv_engine *e, const struct pv_stop *stop)
{
	if (stop->trap.vector == SEGUE_PV_VECTOR_PF)
		page_fault(e, stop);
	else
		pv_interrupt(e, stop, &stop->trap);
}

static void lost(struct pv_engine *e, const struct pv_stop *stop)
{
	(void)stop;
	pv_fail(e, "the process of its kernel has ended, or did not stop when told to");
}

/* The loop looks around before anything else. */
static void kicked(struct pv_engine *e, const struct pv_stop *stop)
{
	(void)e;
	(void)stop;
}

static void (*const on_stop[])(struct pv_engine *e, const struct pv_stop *stop) = {
	[PV_STOP_SYSCALL] = pv_call,
	[PV_STOP_TRAP] = trap,
	[PV_STOP_KICKED] = kicked,
	[PV_STOP_LOST] = lost,
};

void pv_kernel_step(struct pv_engine *e)
{
	struct pv_kernel *k = &e->kernel;
	struct pv_stop stop;

	if (!pv_run_begin(e, PV_IN_KERNEL, k->context)) {
		if (pv_pending(e) && !pv_masked(e))
			pv_interrupt(e, NULL, NULL);
		return;
	}
	pv_context_run(k->context, &stop);
	pv_run_end(e);
	if (pv_gate_stopped(e, &stop))
		return;
	k->in_call = stop.kind == PV_STOP_SYSCALL;
	on_stop[stop.kind](e, &stop);
}
