/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

/* Results that mean "make the call again" to a kernel that has a signal to deliver. */
#define ERESTART_FIRST (-512)
#define ERESTART_LAST  (-516)

/* ---- what a context is in ---- */

/*
 * A context that waits for its answer and notifies anew has not had it: the host froze or
 * stopped the process, and the call that waited began again. It is where it was.
 */
static void file_again(struct pv_context *context, const struct seccomp_notif *notif)
{
	context->id = notif->id;
	context->again = true;
}

static void file_call(struct pv_context *context, const struct seccomp_notif *notif)
{
	context->state = PV_IN_SYSCALL;
	context->id = notif->id;
	context->call = notif->data;
	context->call_open = true;
	context->has_value = false;
}

static int file_stop(struct pv_context *context, const struct seccomp_notif *notif)
{
	const uint64_t *a = (const uint64_t *)notif->data.args;

	/* Out of a system call that had been told: its value is still due. */
	if (context->state == PV_RUNNING)
		context->call_open = context->has_value = false;
	context->state = PV_PARKED;
	context->id = notif->id;
	context->signal = (int)a[0];
	if (context->signal == SIGUSR2)
		atomic_store(&context->signalled, false);
	if (!pv_frame_inside(context, a[1])) {
		pv_context_kill(context);
		return -EIO;
	}
	pv_frame_take(context, a[1]);
	context->fs_base = a[2];
	context->gs_base = a[3];
	return 0;
}

int pv_context_file(struct pv_context *context, const struct seccomp_notif *notif)
{
	bool stop = pv_notif_is(notif, PV_CALL_STOP, shim_stop_ip);

	if (context->state == (stop ? PV_PARKED : PV_IN_SYSCALL)) {
		file_again(context, notif);
		return 0;
	}
	context->again = false;
	if (stop)
		return file_stop(context, notif);
	file_call(context, notif);
	return 0;
}

/*
 * The next notification of CONTEXT, and those of others that come before it: a signal from
 * outside can stop any of them. UNTIL: of pv_now_ms(), or 0: without bound.
 */
static int next_of(struct pv_context *context, uint64_t until)
{
	struct pv_domain *domain = context->domain;
	struct pv_context *other;
	struct seccomp_notif notif;
	uint64_t now;
	int r;

	for (;;) {
		now = until ? pv_now_ms() : 0;
		if (until)
			r = pv_listener_receive_within(
			    domain->listener, now < until ? (int)(until - now) : 0, &notif);
		else
			r = pv_listener_receive(domain, context, &notif);
		if (r < 0)
			return r;
		if (notif.pid == (uint32_t)context->pid)
			return pv_context_file(context, &notif);
		other = pv_context_find(domain, notif.pid);
		if (other)
			pv_context_file(other, &notif);
		else if (notif.pid == (uint32_t)domain->template)
			domain->template_id = notif.id; /* it waits anew */
	}
}

int pv_context_signal(struct pv_context *context)
{
	if (atomic_exchange(&context->signalled, true))
		return 0;
	return syscall(SYS_pidfd_send_signal, context->pidfd, SIGUSR2, NULL, 0) < 0 ? -EIO : 0;
}

int pv_context_park(struct pv_context *context, int ms)
{
	uint64_t until = pv_now_ms() + (uint64_t)ms;
	int r = 0;

	if (context->state == PV_PARKED)
		return atomic_load(&context->dead) ? -EIO : 0;
	if (pv_context_signal(context) < 0)
		return -EIO;
	while (!r && context->state != PV_PARKED)
		r = next_of(context, until);
	if (r < 0)
		pv_context_kill(context);
	return r < 0 ? -EIO : 0;
}

/* ---- going on ---- */

/*
 * A context whose wait a signal has ended makes its call again, even if the answer came before
 * it got to look: then the call would be made twice. So none is answered that a signal is on
 * its way to; that one is awaited, and the answer goes with the frame.
 */
static int resume_call(struct pv_context *context)
{
	int64_t value =
	    context->has_value ? context->value : (int64_t)(uint32_t)context->call.nr;
	int r;

	if ((value <= ERESTART_FIRST && value >= ERESTART_LAST) ||
	    atomic_load(&context->signalled))
		return pv_context_park(context, PV_STARVED_MS);
	r = pv_listener_answer(context->domain->listener, context->id, value);
	if (!r)
		context->state = PV_RUNNING;
	/* Else it waits anew, or ends. */
	return r == -ENOENT ? 0 : r;
}

static int resume_parked(struct pv_context *context)
{
	int64_t value;
	int r;

	pv_frame_settle(context);
	value = (int64_t)context->frame | (context->composed ? PV_STOP_BASES : 0);
	r = pv_listener_answer(context->domain->listener, context->id, value);
	if (!r)
		context->state = PV_RUNNING;
	return r == -ENOENT ? 0 : r; /* it waits anew; what signals it let in is its own loss */
}

static int resume(struct pv_context *context)
{
	int r = 0;

	if (context->state == PV_IN_SYSCALL)
		r = resume_call(context);
	if (!r && context->state == PV_PARKED)
		r = resume_parked(context);
	return r;
}

/* ---- stops ---- */

static bool take_kick(struct pv_context *context, struct pv_stop *stop)
{
	if (!atomic_load(&context->kicked))
		return false;
	atomic_store(&context->kicked, false);
	stop->kind = PV_STOP_KICKED;
	return true;
}

/* INT 0x80 and the like: guests have no such thing. */
static int refuse_call(struct pv_context *context, struct pv_stop *stop)
{
	int r = pv_context_park(context, PV_STARVED_MS);

	if (r < 0)
		return r;
	context->call_open = false;
	pv_frame_stop(context, stop);
	stop->kind = PV_STOP_TRAP;
	stop->trap = (struct segue_pv_trap){.vector = SEGUE_PV_VECTOR_GP};
	return 0;
}

static int tell_call(struct pv_context *context, struct pv_stop *stop)
{
	if (context->call.arch != AUDIT_ARCH_X86_64)
		return refuse_call(context, stop);
	stop->kind = PV_STOP_SYSCALL;
	stop->number = (uint32_t)context->call.nr;
	stop->rip = context->call.instruction_pointer;
	memcpy(stop->arguments, context->call.args, sizeof(stop->arguments));
	return 0;
}

/* 1: nothing to tell, go on. */
static int tell(struct pv_context *context, struct pv_stop *stop)
{
	if (context->again) {
		context->again = false;
		return take_kick(context, stop) ? 0 : 1;
	}
	if (context->state == PV_IN_SYSCALL)
		return tell_call(context, stop);
	/* The value of a call was due when it was interrupted; or a signal came late. */
	if (context->call_open || context->signal == SIGUSR2)
		return take_kick(context, stop) ? 0 : 1;
	stop->kind = PV_STOP_TRAP;
	pv_frame_stop(context, stop);
	return 0;
}

/*
 * Nobody signals it while it is answered: a kick only notes itself before .running, and what
 * it noted is seen after. In this order, and the other way round in kick().
 */
static int go_on(struct pv_context *context)
{
	int r;

	atomic_store(&context->running, false);
	r = resume(context);
	atomic_store(&context->running, true);
	if (r || !atomic_load(&context->kicked))
		return r;
	pv_watch_kicked(context->domain->host);
	return pv_context_signal(context);
}

static int run(struct pv_context *context, struct pv_stop *stop)
{
	int r;

	pv_place(context->domain->host, context->pid, &context->cpu);
	do {
		r = go_on(context);
		if (!r)
			r = next_of(context, 0);
		if (!r)
			r = tell(context, stop);
	} while (r == 1);
	return r;
}

void pv_context_run(struct pv_context *context, struct pv_stop *ret_stop)
{
	int r;

	*ret_stop = (struct pv_stop){.kind = PV_STOP_LOST};
	if (atomic_load(&context->dead) || !context->has_registers ||
	    take_kick(context, ret_stop))
		return;
	if (atomic_load(&context->domain->host->runner) != pv_this_thread())
		atomic_store(&context->domain->host->runner, pv_this_thread());
	r = run(context, ret_stop);
	atomic_store(&context->running, false);
	if (r < 0) {
		pv_context_kill(context);
		*ret_stop = (struct pv_stop){.kind = PV_STOP_LOST};
	}
}

/* What it has already stopped for is told; else it is stopped. */
static int collect(struct pv_context *context, struct pv_stop *stop)
{
	int r;

	if (context->state == PV_RUNNING) {
		atomic_store(&context->kicked_ms, pv_now_ms());
		atomic_store(&context->kicked, true);
		pv_watch_kicked(context->domain->host);
		r = pv_context_signal(context);
		if (!r)
			r = next_of(context, 0);
		if (r < 0)
			return r;
	}
	r = tell(context, stop);
	return r == 1 ? run(context, stop) : r;
}

void pv_context_collect(struct pv_context *context, struct pv_stop *ret_stop)
{
	int r = -EIO;

	*ret_stop = (struct pv_stop){.kind = PV_STOP_LOST};
	if (!atomic_load(&context->dead)) {
		atomic_store(&context->running, true);
		r = collect(context, ret_stop);
		atomic_store(&context->running, false);
	}
	if (r < 0) {
		pv_context_kill(context);
		*ret_stop = (struct pv_stop){.kind = PV_STOP_LOST};
	}
}

void pv_context_return(struct pv_context *context, int64_t value)
{
	context->value = value;
	context->has_value = true;
}

void pv_context_kick(struct pv_context *context)
{
	if (atomic_load(&context->kicked))
		return;
	atomic_store(&context->kicked_ms,
		     pv_now_ms()); /* before: what overdue() reads is new */
	if (atomic_exchange(&context->kicked, true) || !atomic_load(&context->running))
		return;
	(void)pv_context_signal(context);
	pv_watch_kicked(context->domain->host);
}
