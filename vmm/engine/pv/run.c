/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "vmm/engine/pv/pv.h"
#include "vmm/layout.h"

/*
 * The vCPU's loop: what is done next follows from where kernel mode is, by a table. Each
 * step runs guest code once, or waits once, and leaves kernel mode where it then is.
 */
struct vcpu *pv_vcpu(struct engine *engine, unsigned index)
{
	return index == 0 ? &pv_engine_of(engine)->vcpu : NULL;
}

void pv_fail(struct pv_engine *e, const char *format, ...)
{
	struct pv_kernel *k = &e->kernel;
	va_list args;

	va_start(args, format);
	vsnprintf(k->words, sizeof(k->words), format, args);
	va_end(args);
	k->at = PV_AT_FAILED;
}

static void block_step(struct pv_engine *e)
{
	if (pv_block(e))
		pv_kernel_result(e, 0);
}

static void (*const steps[PV_AT_COUNT])(struct pv_engine *e) = {
	[PV_AT_KERNEL] = pv_kernel_step,
	[PV_AT_USER] = pv_user_step,
	[PV_AT_BLOCK] = block_step,
};

static bool out_access(struct pv_engine *e, struct vcpu_exit *exit)
{
	struct pv_kernel *k = &e->kernel;

	exit->kind = k->ports ? VCPU_EXIT_PIO : VCPU_EXIT_MMIO;
	exit->address = k->address;
	exit->data = k->data;
	exit->len = k->len;
	exit->count = 1;
	exit->write = k->write;
	return true;
}

static bool out_print(struct pv_engine *e, struct vcpu_exit *exit)
{
	struct pv_kernel *k = &e->kernel;

	if (!pv_print_next(e))
		return false;
	exit->kind = VCPU_EXIT_PIO;
	exit->address = LAYOUT_COM1;
	exit->data = k->text;
	exit->len = 1;
	exit->count = k->chunk;
	exit->write = true;
	return true;
}

static bool out_nowhere(struct pv_engine *e, struct vcpu_exit *exit)
{
	(void)e;
	exit->kind = VCPU_EXIT_FAILED;
	error_set(&exit->error, -EINVAL, "no guest has been booted");
	return true;
}

static bool out_off(struct pv_engine *e, struct vcpu_exit *exit)
{
	(void)e;
	exit->kind = VCPU_EXIT_OFF;
	return true;
}

static bool out_reboot(struct pv_engine *e, struct vcpu_exit *exit)
{
	(void)e;
	exit->kind = VCPU_EXIT_SHUTDOWN;
	return true;
}

static bool out_panicked(struct pv_engine *e, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_PANICKED;
	error_set(&exit->error, -EIO, "the guest's kernel panicked%s%s",
		  *e->kernel.words ? ": " : "", e->kernel.words);
	return true;
}

static bool out_failed(struct pv_engine *e, struct vcpu_exit *exit)
{
	exit->kind = VCPU_EXIT_FAILED;
	error_set(&exit->error, -EIO, "the guest cannot go on: %s", e->kernel.words);
	return true;
}

/* What the monitor is needed for; false: after all it is not. */
static bool (*const outs[PV_AT_COUNT])(struct pv_engine *e, struct vcpu_exit *exit) = {
	[PV_AT_IO] = out_access,	[PV_AT_PRINT] = out_print,
	[PV_AT_NOWHERE] = out_nowhere,	[PV_AT_OFF] = out_off,
	[PV_AT_REBOOT] = out_reboot,	[PV_AT_PANICKED] = out_panicked,
	[PV_AT_FAILED] = out_failed,
};

void pv_vcpu_run(struct vcpu *vcpu, struct vcpu_exit *ret_exit)
{
	struct pv_engine *e = pv_engine_of(vcpu->engine);
	struct pv_kernel *k = &e->kernel;

	ret_exit->error = (struct error){0};
	if (k->at == PV_AT_IO)
		pv_io_settle(e);
	pv_users_fetch(e);
	for (;;) {
		if (outs[k->at]) {
			if (outs[k->at](e, ret_exit))
				return;
			continue;
		}
		if (pv_kick_taken(e)) {
			ret_exit->kind = VCPU_EXIT_KICKED;
			return;
		}
		steps[k->at](e);
	}
}

/* Text that is left counts as the next access of the same instruction. */
bool pv_vcpu_settle(struct vcpu *vcpu)
{
	struct pv_engine *e = pv_engine_of(vcpu->engine);
	struct pv_kernel *k = &e->kernel;

	if (k->at == PV_AT_IO)
		pv_io_settle(e);
	if (k->at == PV_AT_PRINT && k->text_len)
		return false;
	if (k->at == PV_AT_PRINT)
		pv_kernel_result(e, 0);
	return true;
}
