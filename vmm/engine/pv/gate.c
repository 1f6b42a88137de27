/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>

#include "vmm/engine/pv/pv.h"

/*
 * The gate as the engine sees it: which user contexts are lent to kernel mode, and what
 * becomes of one that kernel mode had entered when it was stopped. That counts as the
 * hypercall ENTER_USER, begun and under way: so there is nothing of the gate in a guest's
 * state, and a move may happen anywhere in it.
 */
#define AT(field) (offsetof(struct segue_pv_vcpu, user) + offsetof(struct segue_pv_user, field))
_Static_assert(offsetof(struct segue_pv_vcpu, pending) == 0 &&
	       offsetof(struct segue_pv_vcpu, user) == 128 && AT(action) == 128 &&
	       AT(value) == 136 && AT(number) == 144 && AT(arguments) == 152 &&
	       AT(rip) == 200 && SEGUE_PV_ENTER_USER == 0x5e9007 &&
	       SEGUE_PV_RETURN == 1 && SEGUE_PV_CONTINUE == 0 && SEGUE_PV_SYSCALL == 1,
	       "numbers in shim.S");

static uint32_t place_of(const struct pv_user *user)
{
	return user->id % PV_GATE_PLACES;
}

/* ---- lending ---- */

void pv_gate_lend_user(struct pv_engine *e, struct pv_user *user)
{
	struct pv_user **place = &e->lent[place_of(user)];
	const uint8_t *page = (const uint8_t *)atomic_load(&e->page);

	if (user->at != PV_USER_CALL || !user->there || !e->kernel.in_call)
		return;
	if (*place)
		pv_gate_recall_user(e, *place);
	if (pv_gate_lend(e->kernel.context, user->context, user->id,
			 SEGUE_PV_DIRECT + (uint64_t)(page - ram_base(e->ram))))
		*place = user;
}

void pv_gate_recall_user(struct pv_engine *e, struct pv_user *user)
{
	struct pv_user **place = &e->lent[place_of(user)];

	if (*place != user)
		return;
	*place = NULL;
	pv_gate_recall(e->kernel.domain, user->context, place_of(user));
}

/* ---- kernel mode stopped inside ---- */

/* Out of the gate, as if by its return. */
static int return_from_gate(struct pv_engine *e, struct segue_pv_regs *regs)
{
	int r = pv_stack_read(e, regs->rsp, &regs->rip);

	regs->rsp += sizeof(regs->rip);
	return r;
}

static int set_returned(struct pv_engine *e, struct segue_pv_regs *regs)
{
	int r = return_from_gate(e, regs);

	return r == 0 ? pv_context_set(e->kernel.context, regs, NULL, 0, NULL) : r;
}

/* It stopped elsewhere, and yet says that it is inside: its context has no state to go by. */
static void nonsense(struct pv_engine *e, struct pv_user *user)
{
	pv_gate_clear(e->kernel.domain);
	if (user)
		pv_user_gone(e, user);
}

/* In a hypercall only RET_REGS' .rip is of use, and the rest costs a signal. */
static bool in_gate(struct pv_engine *e, const struct pv_stop *stop,
		    struct segue_pv_regs *ret_regs)
{
	*ret_regs = (struct segue_pv_regs){.rip = stop->rip};
	if (stop->kind == PV_STOP_SYSCALL)
		return (uint32_t)stop->number == SEGUE_PV_ENTER_USER &&
		       pv_gate_place(stop->rip) == PV_GATE_CALLED;
	return pv_context_get(e->kernel.context, ret_regs, NULL, NULL, NULL) == 0 &&
	       pv_gate_place(ret_regs->rip) == PV_GATE_BEGUN;
}

static void take_over(struct pv_engine *e, struct pv_user *user, struct segue_pv_regs *regs,
		      bool in_call)
{
	struct pv_kernel *k = &e->kernel;
	bool answered = pv_gate_leave(k->domain, regs, user->context, place_of(user));

	e->lent[place_of(user)] = NULL;
	user->at = PV_USER_STOPPED;
	pv_user_acted(e);
	k->in_call = in_call;
	k->repeats = 0;
	k->user = user;
	k->at = PV_AT_USER;
	if (!in_call && set_returned(e, regs) < 0)
		pv_fail(e, "its stack cannot be read at its return from user mode");
	if (answered)
		pv_user_collect(e);
}

bool pv_gate_stopped(struct pv_engine *e, const struct pv_stop *stop)
{
	int place = pv_gate_inside(pv_domain_gate(e->kernel.domain));
	struct pv_user *user = place >= 0 ? e->lent[place] : NULL;
	struct segue_pv_regs regs;

	if (place < 0 || stop->kind == PV_STOP_LOST)
		return false;
	if (!user || !in_gate(e, stop, &regs)) {
		nonsense(e, user);
		return false;
	}
	take_over(e, user, &regs, stop->kind == PV_STOP_SYSCALL);
	return true;
}

/* ---- registers that leave this host, or this moment ---- */

int pv_gate_registers(struct pv_engine *e, struct segue_pv_regs *regs)
{
	const struct pv_gate *gate = pv_domain_gate(e->kernel.domain);

	switch (pv_gate_place(regs->rip)) {
	case PV_GATE_OUTSIDE:
		return 0;
	case PV_GATE_BEGUN:
		regs->rdi = gate ? pv_gate_asked(gate) : regs->rdi;
		/* fall through */
	case PV_GATE_CALLING:
		regs->rip = SEGUE_PV_GATE;
		return 0;
	case PV_GATE_DONE:
		regs->rax = SEGUE_PV_SYSCALL;
		/* fall through */
	case PV_GATE_CALLED:
		return return_from_gate(e, regs);
	}
	return 0;
}
