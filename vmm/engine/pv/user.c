/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/*
 * User mode: ENTER_USER, from its action to its reason, and GET_USER. What is asked for and
 * what is told stand in struct segue_pv_user of the vCPU's page, which the guest may write at
 * any time: everything is read once.
 */
#define AT(field) (offsetof(struct segue_pv_vcpu, user) + offsetof(struct segue_pv_user, field))

static struct segue_pv_user *asked(struct pv_engine *e)
{
	return &atomic_load(&e->page)->user;
}

static void told(struct pv_engine *e, size_t from, size_t to)
{
	const uint8_t *page = (const uint8_t *)atomic_load(&e->page);

	ram_mark(e->ram, (uint64_t)(page - ram_base(e->ram)) + from, to - from);
}

/* ---- what to do first ---- */

static int act_continue(struct pv_engine *e, struct pv_user *user)
{
	(void)e;
	return user->at == PV_USER_FRESH ? -EINVAL : 0;
}

static int act_return(struct pv_engine *e, struct pv_user *user)
{
	uint64_t value = asked(e)->value;

	if (user->at != PV_USER_CALL)
		return -EINVAL;
	if (user->there)
		pv_context_return(user->context, (int64_t)value);
	user->regs.rax = value;
	user->at = PV_USER_STOPPED;
	return 0;
}

static int act_load(struct pv_engine *e, struct pv_user *user)
{
	struct segue_pv_user *u = asked(e);
	struct segue_pv_regs regs = u->regs;

	return pv_user_load(e, user, &regs, u->has_xsave ? u->xsave : NULL);
}

static int (*const acts[])(struct pv_engine *e, struct pv_user *user) = {
	[SEGUE_PV_CONTINUE] = act_continue,
	[SEGUE_PV_RETURN] = act_return,
	[SEGUE_PV_LOAD] = act_load,
};

void pv_user_acted(struct pv_engine *e)
{
	asked(e)->action = SEGUE_PV_CONTINUE;
	told(e, AT(action), AT(has_xsave));
}

int64_t pv_call_enter_user(struct pv_engine *e, const uint64_t *args)
{
	struct pv_user *user = pv_user_find(e, args[0]);
	uint32_t action = __atomic_load_n(&asked(e)->action, __ATOMIC_RELAXED);
	int r;

	if (!user || action >= sizeof(acts) / sizeof(acts[0]))
		return -EINVAL;
	pv_gate_recall_user(e, user);
	r = acts[action](e, user);
	if (r < 0)
		return r;
	if (action != SEGUE_PV_CONTINUE)
		pv_user_acted(e);
	e->kernel.user = user;
	e->kernel.at = PV_AT_USER;
	return 0;
}

/* ---- why it came back ---- */

static void tell_call(struct pv_engine *e, struct pv_user *user, const struct pv_stop *stop)
{
	struct segue_pv_user *u = asked(e);

	user->at = PV_USER_CALL;
	u->number = stop->number;
	memcpy(u->arguments, stop->arguments, sizeof(u->arguments));
	u->rip = stop->rip;
	told(e, AT(number), AT(trap));
	pv_kernel_result(e, SEGUE_PV_SYSCALL);
}

static void tell_trap(struct pv_engine *e, const struct segue_pv_trap *trap, uint64_t rip)
{
	struct segue_pv_user *u = asked(e);

	u->trap = *trap;
	u->rip = rip;
	told(e, AT(rip), AT(regs));
	pv_kernel_result(e, SEGUE_PV_TRAP);
}

static void tell_lost(struct pv_engine *e)
{
	const struct segue_pv_trap trap = {.vector = SEGUE_PV_VECTOR_LOST};

	tell_trap(e, &trap, 0);
}

/* ---- running it ---- */

static void on_call(struct pv_engine *e, const struct pv_stop *stop)
{
	struct pv_user *user = e->kernel.user;

	tell_call(e, user, stop);
	pv_gate_lend_user(e, user);
}

static void on_trap(struct pv_engine *e, const struct pv_stop *stop)
{
	struct pv_user *user = e->kernel.user;
	struct segue_pv_trap trap = stop->trap;
	enum pv_fault_verdict verdict = PV_FAULT_GUEST;

	if (trap.vector == SEGUE_PV_VECTOR_PF)
		verdict = pv_fault_resolve(e, user->space->shadow, stop, &trap.error);
	if (verdict == PV_FAULT_GUEST) {
		if (trap.vector == SEGUE_PV_VECTOR_PF)
			pv_expect(user, trap.address, trap.error);
		tell_trap(e, &trap, stop->rip);
	} else if (verdict == PV_FAULT_STUCK) {
		pv_user_gone(e, user);
		tell_lost(e);
	}
}

static void on_kick(struct pv_engine *e, const struct pv_stop *stop)
{
	(void)e;
	(void)stop;
}

static void on_lost(struct pv_engine *e, const struct pv_stop *stop)
{
	(void)stop;
	pv_user_gone(e, e->kernel.user);
	tell_lost(e);
}

static void (*const on_stop[])(struct pv_engine *e, const struct pv_stop *stop) = {
	[PV_STOP_SYSCALL] = on_call,
	[PV_STOP_TRAP] = on_trap,
	[PV_STOP_KICKED] = on_kick,
	[PV_STOP_LOST] = on_lost,
};

static void cannot_enter(struct pv_engine *e, const struct pv_user *user, int r)
{
	if (user->at == PV_USER_LOST || r == -EIO)
		tell_lost(e);
	else
		pv_kernel_result(e, r);
}

void pv_user_step(struct pv_engine *e)
{
	struct pv_user *user = e->kernel.user;
	struct pv_stop stop;
	int r = pv_user_enter(e, user);

	if (r < 0) {
		cannot_enter(e, user, r);
		return;
	}
	pv_fault_ahead(e, user);
	if (!pv_run_begin(e, PV_IN_USER, user->context)) {
		if (pv_pending(e))
			pv_kernel_result(e, SEGUE_PV_EVENT);
		return;
	}
	user->here = false;
	user->at = PV_USER_STOPPED;
	pv_context_run(user->context, &stop);
	pv_run_end(e);
	on_stop[stop.kind](e, &stop);
}

void pv_user_collect(struct pv_engine *e)
{
	struct pv_stop stop;

	pv_context_collect(e->kernel.user->context, &stop);
	if (e->kernel.at == PV_AT_USER)
		on_stop[stop.kind](e, &stop);
}

int64_t pv_call_get_user(struct pv_engine *e, const uint64_t *args)
{
	struct pv_user *user = pv_user_find(e, args[0]);
	struct segue_pv_user *u = asked(e);
	int r;

	if (!user)
		return -EINVAL;
	r = pv_user_fetch(e, user);
	if (r < 0)
		return r == -ENOMEM ? r : -EINVAL;
	u->regs = user->regs;
	memcpy(u->xsave, user->xsave, e->xsave_size);
	u->has_xsave = 1;
	told(e, AT(action), sizeof(struct segue_pv_vcpu));
	return 0;
}
