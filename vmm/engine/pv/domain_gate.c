/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

/*
 * The gate: user contexts that wait in a system call are lent to the kernel's own thread, which
 * answers them and receives what they call next, by code of the shim. It works on a block of
 * memory that kernel mode can write, so all that is read from there may be a lie; what is made
 * of it concerns that guest's contexts alone, and every wait of ours stays bounded.
 *
 * While a context is lent, nobody signals it: a wait that a signal ends may lose its answer.
 */
_Static_assert(PV_GATE_SEND == SECCOMP_IOCTL_NOTIF_SEND &&
	       PV_GATE_RECV == SECCOMP_IOCTL_NOTIF_RECV, "numbers for the assembler");
_Static_assert(sizeof(struct seccomp_notif) == 80, "the shim clears as much");
_Static_assert(offsetof(struct seccomp_notif_resp, id) == 0 &&
	       offsetof(struct seccomp_notif_resp, val) == 8 &&
	       offsetof(struct seccomp_notif_resp, error) == PV_ANSWER_LEN,
	       "what the kernel may write is identifier and value");
_Static_assert(PV_GATE_PLACES == PV_GATE_SLOTS, "a place is a slot");

static struct pv_gate_slot *slot_of(struct pv_domain *kernel, uint32_t slot)
{
	return &kernel->gate->slots[slot % PV_GATE_SLOTS];
}

/* ---- making ---- */

static bool wanted(const struct pv_host *host)
{
	const char *word = getenv("SEGUE_PV_GATE"); /* "closed": every entry by hypercall */

	/* Without the kernel's own wake-up on this processor, it is not worth it. */
	return !host->binding && !(word && !strcmp(word, "closed"));
}

int pv_gate_make(struct pv_domain *kernel)
{
	struct pv_host *host = kernel->host;
	uint64_t offset;
	int r = pv_slots_take(&host->frames, &kernel->gate_slot);

	if (r < 0)
		return r;
	offset = (uint64_t)PV_DOMAINS_MAX * PV_ORDERS_SIZE +
		 (uint64_t)kernel->gate_slot * PV_AREA_SIZE;
	kernel->gate = (struct pv_gate *)(void *)(host->areas + offset);
	kernel->gate_given = calloc(PV_GATE_SLOTS, sizeof(*kernel->gate_given));
	if (!kernel->gate_given)
		return -ENOMEM;
	memset(kernel->gate, 0, sizeof(*kernel->gate));
	for (uint32_t i = 0; i < PV_GATE_SLOTS; i++)
		kernel->gate->slots[i].context = PV_NO_CONTEXT;
	kernel->gate_open = wanted(host);
	kernel->gate->offset = (uint64_t)kernel->orders_slot * PV_ORDERS_SIZE +
			       PV_ORDERS_SIZE - PV_ANSWER_ROOM;
	/* Nothing but zeros stands behind identifier and value, ever. */
	memset((uint8_t *)kernel->orders + PV_ORDERS_SIZE - PV_ANSWER_ROOM, 0, PV_ANSWER_ROOM);
	return pv_mapper_call(kernel, SYS_mmap, PV_GATE_BLOCK, PV_AREA_SIZE,
			      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, PV_FD_AREAS, offset);
}

/* ---- lending ---- */

/* The kernel's thread gets a descriptor while it waits in a hypercall of its own. */
static int give_listener(struct pv_context *kernel, struct pv_domain *domain, uint32_t slot)
{
	struct seccomp_notif_addfd give = {
	    .id = kernel->id,
	    .flags = SECCOMP_ADDFD_FLAG_SETFD,
	    .srcfd = (uint32_t)domain->listener,
	    .newfd = PV_GATE_FD + slot,
	};
	uint64_t *given = &kernel->domain->gate_given[slot];
	int r;

	if (*given == domain->serial)
		return 0;
	*given = 0;
	do
		r = ioctl(kernel->domain->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	*given = domain->serial;
	return 0;
}

bool pv_gate_lend(struct pv_context *kernel, struct pv_context *context, uint64_t name,
		  uint64_t page)
{
	struct pv_gate *gate = kernel->domain->gate;
	struct pv_gate_slot *to;

	if (!kernel->domain->gate_open || kernel->state != PV_IN_SYSCALL || context->state != PV_IN_SYSCALL ||
	    context->has_value || atomic_load(&context->signalled) ||
	    give_listener(kernel, context->domain, name % PV_GATE_SLOTS) < 0)
		return false;
	to = slot_of(kernel->domain, (uint32_t)(name % PV_GATE_SLOTS));
	*to = (struct pv_gate_slot){
	    .context = name,
	    .id = context->id,
	    .pid = (uint64_t)context->pid,
	    .number = (uint32_t)context->call.nr,
	    .rip = context->call.instruction_pointer,
	};
	context->lent_id = context->id;
	__atomic_store_n(&gate->page, page, __ATOMIC_RELAXED);
	return true;
}

/* It waits in the call that its slot tells of. */
static void wait_in(struct pv_context *context, const struct pv_gate_slot *slot, uint64_t id)
{
	context->state = PV_IN_SYSCALL;
	context->id = id;
	context->call.nr = (int)slot->number;
	context->call.instruction_pointer = slot->rip;
	context->call_open = true;
	context->has_value = false;
}

void pv_gate_recall(struct pv_domain *kernel, struct pv_context *context, uint32_t slot)
{
	struct pv_gate_slot *from = slot_of(kernel, slot);
	uint64_t id = __atomic_load_n(&from->id, __ATOMIC_RELAXED);
	bool heard = context->id != context->lent_id; /* it waits anew in the same call */

	from->context = PV_NO_CONTEXT;
	if (heard || id != context->lent_id)
		wait_in(context, from, heard ? context->id : id);
}

/* ---- what it was at when the kernel's thread stopped ---- */

int pv_gate_inside(const struct pv_gate *gate)
{
	uint64_t inside = gate ? __atomic_load_n(&gate->inside, __ATOMIC_SEQ_CST) : 0;

	return inside && inside <= PV_GATE_SLOTS ? (int)inside - 1 : -1;
}

/* What the kernel's thread received counts as received by us. */
static void take_received(struct pv_context *context, const struct seccomp_notif *notif)
{
	struct pv_context *whose = context;

	context->state = PV_RUNNING;
	if (notif->pid != (uint32_t)context->pid)
		whose = pv_context_find(context->domain, notif->pid);
	if (whose)
		(void)pv_context_file(whose, notif);
}

/* Also where it was stopped between the kernel's word for it and its own. */
static bool sent(const struct pv_gate *gate, const struct segue_pv_regs *at)
{
	return gate->sent || (at->rip >= pv_shim_address(shim_gate_send_ip) &&
			      at->rip <= pv_shim_address(shim_gate_sent) && !at->rax);
}

/*
 * An answer that did not go out is ours to give: the host may have stopped whom it was for, whose
 * call then comes anew. Nothing is received where the last one has not been cleared away.
 */
bool pv_gate_leave(struct pv_domain *kernel, const struct segue_pv_regs *at,
		   struct pv_context *context, uint32_t slot)
{
	struct pv_gate *gate = kernel->gate;
	struct pv_gate_slot *from = slot_of(kernel, slot);
	const struct seccomp_notif notif = gate->notif;
	bool answered = true;

	if (notif.id) {
		take_received(context, &notif);
	} else if (sent(gate, at)) {
		context->state = PV_RUNNING;
	} else {
		wait_in(context, from, __atomic_load_n(&gate->id, __ATOMIC_RELAXED));
		pv_context_return(context, (int64_t)gate->value);
		answered = false;
	}
	from->context = PV_NO_CONTEXT;
	pv_gate_clear(kernel);
	return answered;
}

void pv_gate_clear(struct pv_domain *kernel)
{
	__atomic_store_n(&kernel->gate->inside, 0, __ATOMIC_SEQ_CST);
}

const struct pv_gate *pv_domain_gate(const struct pv_domain *kernel)
{
	return kernel->gate;
}

uint64_t pv_gate_asked(const struct pv_gate *gate)
{
	return gate->asked;
}

enum pv_gate_place pv_gate_place(uint64_t rip)
{
	if (rip == pv_shim_address(shim_gate_done) ||
	    rip == pv_shim_address(shim_gate_done_ret))
		return PV_GATE_DONE;
	if (rip == pv_shim_address(shim_gate_slow_ip))
		return PV_GATE_CALLED;
	if (rip >= pv_shim_address(shim_gate_asked) && rip < pv_shim_address(shim_gate_end))
		return PV_GATE_BEGUN;
	if (rip >= pv_shim_address(shim_gate) && rip < pv_shim_address(shim_gate_asked))
		return PV_GATE_CALLING;
	return PV_GATE_OUTSIDE;
}
