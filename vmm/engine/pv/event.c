/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "vmm/engine/pv/pv.h"

/*
 * Events, and making the vCPU's thread look at them.
 *
 * None is lost: who raises a line sets its bit first and takes the run lock then; the
 * vCPU's thread says under the run lock where it goes, and looks at the bits after that,
 * still under it. One of the two sees the other.
 */
#define NS_PER_SEC 1000000000ull

static struct segue_pv_vcpu *page_of(struct pv_engine *e)
{
	return atomic_load(&e->page);
}

static void page_mark(struct pv_engine *e, const struct segue_pv_vcpu *page)
{
	uint64_t gpa = (uint64_t)((const uint8_t *)page - ram_base(e->ram));

	ram_mark(e->ram, gpa, sizeof(page->pending) + sizeof(page->masked));
}

uint64_t pv_pending(struct pv_engine *e)
{
	struct segue_pv_vcpu *page = page_of(e);

	return page ? __atomic_load_n(&page->pending, __ATOMIC_SEQ_CST) : 0;
}

bool pv_masked(struct pv_engine *e)
{
	struct segue_pv_vcpu *page = page_of(e);

	return !page || __atomic_load_n(&page->masked, __ATOMIC_SEQ_CST) || !e->event_entry;
}

void pv_mask(struct pv_engine *e)
{
	struct segue_pv_vcpu *page = page_of(e);

	__atomic_store_n(&page->masked, 1, __ATOMIC_SEQ_CST);
	page_mark(e, page);
}

/* Run lock held: stops the guest code that runs, or wakes who waits for it. */
static void stop_running(struct pv_engine *e)
{
	if (e->run.context)
		pv_context_kick(e->run.context);
	if (e->run.at == PV_IN_BLOCK)
		pthread_cond_signal(&e->run.cond);
}

/* Kernel mode with events masked may have entered user mode by the gate. */
static bool wanted(struct pv_engine *e)
{
	return e->run.at != PV_IN_KERNEL || !pv_masked(e) ||
	       pv_gate_inside(atomic_load(&e->gate)) >= 0;
}

void pv_raise(struct pv_engine *e, unsigned line)
{
	struct segue_pv_vcpu *page = page_of(e);
	uint64_t bit = 1ull << line;

	if (!page || __atomic_fetch_or(&page->pending, bit, __ATOMIC_SEQ_CST) & bit)
		return;
	page_mark(e, page);
	pthread_mutex_lock(&e->run.lock);
	if (wanted(e))
		stop_running(e);
	pthread_mutex_unlock(&e->run.lock);
}

static void lower(struct pv_engine *e, unsigned line)
{
	struct segue_pv_vcpu *page = page_of(e);

	if (!page)
		return;
	__atomic_fetch_and(&page->pending, ~(1ull << line), __ATOMIC_SEQ_CST);
	page_mark(e, page);
}

int pv_set_irq(struct engine *engine, unsigned gsi, bool level)
{
	struct pv_engine *e = pv_engine_of(engine);

	if (gsi >= PV_LINES)
		return -EINVAL;
	if (level)
		pv_raise(e, gsi);
	else
		lower(e, gsi);
	return 0;
}

int pv_signal_msi(struct engine *engine, uint64_t address, uint32_t data)
{
	(void)engine;
	(void)address;
	(void)data;
	return -ENOTSUP;
}

void pv_vcpu_kick(struct vcpu *vcpu)
{
	struct pv_engine *e = pv_engine_of(vcpu->engine);

	pthread_mutex_lock(&e->run.lock);
	e->run.kicked = true;
	stop_running(e);
	pthread_mutex_unlock(&e->run.lock);
}

bool pv_kick_taken(struct pv_engine *e)
{
	bool kicked;

	pthread_mutex_lock(&e->run.lock);
	kicked = e->run.kicked;
	e->run.kicked = false;
	pthread_mutex_unlock(&e->run.lock);
	return kicked;
}

/*
 * Whether guest code may start: not when somebody waits for the vCPU's thread, nor when an
 * event is there that this mode is to be told of.
 */
bool pv_run_begin(struct pv_engine *e, enum pv_run_at at, struct pv_context *context)
{
	bool go;

	pthread_mutex_lock(&e->run.lock);
	e->run.at = at;
	go = !e->run.kicked && !(pv_pending(e) && wanted(e));
	if (go)
		e->run.context = context;
	else
		e->run.at = PV_IN_MONITOR;
	pthread_mutex_unlock(&e->run.lock);
	return go;
}

void pv_run_end(struct pv_engine *e)
{
	pthread_mutex_lock(&e->run.lock);
	e->run.at = PV_IN_MONITOR;
	e->run.context = NULL;
	pthread_mutex_unlock(&e->run.lock);
}

/* The timer's deadline is kept here as well, so that its thread is not waited for. */
bool pv_block(struct pv_engine *e)
{
	uint64_t until = pv_timer_until(e);
	struct timespec at = {.tv_sec = (time_t)(until / NS_PER_SEC),
			      .tv_nsec = (long)(until % NS_PER_SEC)};

	pthread_mutex_lock(&e->run.lock);
	e->run.at = PV_IN_BLOCK;
	if (!e->run.kicked && !pv_pending(e))
		pthread_cond_timedwait(&e->run.cond, &e->run.lock, &at);
	e->run.at = PV_IN_MONITOR;
	pthread_mutex_unlock(&e->run.lock);
	pv_timer_check(e);
	return pv_pending(e) != 0;
}
