/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/* Power-on, as guest/abi.h has it. Guest time goes on: a reset does not turn it back. */
#define FLAGS_START 0x202u /* the bit that is always one, and interrupts as the host has them */

int pv_page_take(struct pv_engine *e, uint64_t gpa)
{
	struct segue_pv_vcpu *page = ram_at(e->ram, gpa, SEGUE_PV_PAGE);

	_Static_assert(sizeof(*page) <= SEGUE_PV_PAGE, "the vCPU's page is one page");
	if (!page || gpa % SEGUE_PV_PAGE)
		return -EINVAL;
	atomic_store(&e->page, page);
	return 0;
}

/* The timer's thread raises its line, and the clock is written, under this lock. */
void pv_halt(struct engine *engine)
{
	struct pv_engine *e = pv_engine_of(engine);

	pthread_mutex_lock(&e->timer.lock);
	e->timer.deadline = PV_NEVER;
	atomic_store(&e->page, NULL);
	pthread_mutex_unlock(&e->timer.lock);
}

void pv_reset(struct pv_engine *e)
{
	pv_halt(&e->engine);
	pv_spaces_drop(e);
	pv_kernel_drop(e);
	e->event_entry = e->trap_entry = 0;
	e->kernel_root = PV_NO_ROOT;
}

static int page_write(struct pv_engine *e, const struct boot_state *boot)
{
	static const uint8_t zero[SEGUE_PV_PAGE];
	const uint8_t masked = 1;
	uint64_t at = boot->vcpu_page;
	int r = ram_write(e->ram, at, zero, sizeof(zero));

	if (r == 0)
		r = ram_write(e->ram, at + offsetof(struct segue_pv_vcpu, masked), &masked, 1);
	return r < 0 ? r : pv_page_take(e, at);
}

static int boot_write(struct pv_engine *e, const struct boot_state *boot)
{
	uint32_t size;

	e->xsave_components = pv_xsave_components();
	e->xsave_size = pv_xsave_size(e->xsave_components);
	size = (uint32_t)e->xsave_size;
	return ram_write(e->ram, boot->boot_params + offsetof(struct segue_pv_boot, xsave_size),
			 &size, sizeof(size));
}

static int registers(struct pv_engine *e, const struct boot_state *boot, struct error *err)
{
	struct segue_pv_regs regs = {
		.rip = boot->entry,
		.rdi = SEGUE_PV_DIRECT + boot->boot_params,
		.rsp = SEGUE_PV_DIRECT + boot->stack,
		.rflags = FLAGS_START,
	};
	int r;

	r = pv_context_set(e->kernel.context, &regs, NULL, 0, err);
	if (r == 0)
		e->kernel.at = PV_AT_KERNEL;
	return r;
}

int pv_boot(struct engine *engine, const struct boot_state *boot, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r;

	pv_reset(e);
	r = boot_write(e, boot);
	if (r == 0)
		r = page_write(e, boot);
	if (r < 0)
		return error_system(err, r, "the guest's first pages");
	r = pv_kernel_make(e, err);
	if (r == 0)
		r = registers(e, boot, err);
	if (r < 0)
		return r;
	if (!e->booted)
		pv_clock_go(e, 0);
	e->booted = true;
	pthread_mutex_lock(&e->timer.lock);
	pv_clock_write(e);
	pthread_mutex_unlock(&e->timer.lock);
	return 0;
}
