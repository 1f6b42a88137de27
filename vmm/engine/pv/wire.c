/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/wire.h"

#include <errno.h>
#include <string.h>

static const enum pv_at ats[] = {
	[SEGUE__PV_STATE__AT__KERNEL] = PV_AT_KERNEL,
	[SEGUE__PV_STATE__AT__USER] = PV_AT_USER,
	[SEGUE__PV_STATE__AT__BLOCK] = PV_AT_BLOCK,
	[SEGUE__PV_STATE__AT__OFF] = PV_AT_OFF,
	[SEGUE__PV_STATE__AT__PANICKED] = PV_AT_PANICKED,
	[SEGUE__PV_STATE__AT__FAILED] = PV_AT_FAILED,
	[SEGUE__PV_STATE__AT__REBOOT] = PV_AT_REBOOT,
};
#define ATS (sizeof(ats) / sizeof(ats[0]))

Segue__PvState__At wire_at_put(enum pv_at at)
{
	for (unsigned i = 0; i < ATS; i++) {
		if (ats[i] == at)
			return (Segue__PvState__At)i;
	}
	return SEGUE__PV_STATE__AT__FAILED;
}

int wire_at_get(Segue__PvState__At at, enum pv_at *ret_at)
{
	if ((unsigned)at >= ATS)
		return -EPROTO;
	*ret_at = ats[at];
	return 0;
}

int wire_xsave_get(const ProtobufCBinaryData *from, uint8_t *to, size_t size,
		   uint64_t components)
{
	size_t fits = from->len < size ? from->len : size;

	if (from->len < PV_XSAVE_LEGACY)
		return -EPROTO;
	for (size_t i = fits; i < from->len; i++) {
		if (from->data[i])
			return -EPROTO;
	}
	memset(to, 0, size);
	memcpy(to, from->data, fits);
	pv_xsave_clean(to, size, components);
	return 0;
}

static int bad(struct error *err, const char *what)
{
	return error_set(err, -EPROTO, "the processor's state has %s", what);
}

static bool is_page(const struct pv_engine *e, uint64_t gpa)
{
	return gpa % SEGUE_PV_PAGE == 0 && ram_at(e->ram, gpa, SEGUE_PV_PAGE);
}

static int context_check(const struct pv_engine *e, const Segue__PvContext *m,
			 struct error *err)
{
	if (m->id >= PV_CONTEXT_IDS || !is_page(e, m->root))
		return bad(err, "a context that cannot be");
	if (m->loaded ? m->n_regs != WIRE_REGS || m->xsave.len < PV_XSAVE_LEGACY : m->n_regs)
		return bad(err, "a context whose registers are not whole");
	return 0;
}

static bool has_context(const Segue__PvState *m, uint32_t id)
{
	for (size_t i = 0; i < m->n_contexts; i++) {
		if (m->contexts[i]->id == id)
			return true;
	}
	return false;
}

static int kernel_check(const struct pv_engine *e, const Segue__PvState *m, struct error *err)
{
	enum pv_at at;

	if (wire_at_get(m->at, &at) < 0)
		return bad(err, "an unknown place of kernel mode");
	if (m->n_regs ? m->n_regs != WIRE_REGS || m->xsave.len < PV_XSAVE_LEGACY
		      : at < PV_AT_OFF)
		return bad(err, "registers that are not whole");
	if (at == PV_AT_USER && !has_context(m, m->user))
		return bad(err, "entered a context it does not have");
	if (m->kernel_root != PV_NO_ROOT && !is_page(e, m->kernel_root))
		return bad(err, "a kernel root outside memory");
	if (m->event_entry >= SEGUE_PV_VA_END || m->trap_entry >= SEGUE_PV_VA_END)
		return bad(err, "entries that are no addresses");
	return is_page(e, m->vcpu_page) ? 0 : bad(err, "its page outside memory");
}

int wire_check(const struct pv_engine *e, const Segue__PvState *message, struct error *err)
{
	uint64_t lacking = message->xsave_components & ~pv_xsave_components();
	int r;

	if (message->abi != SEGUE_PV_VERSION)
		return error_set(err, -EPROTO, "the guest is for version %u of the "
				 "paravirtual machine, this monitor has version %u",
				 message->abi, SEGUE_PV_VERSION);
	if (lacking)
		return error_set(err, -ENOTSUP, "this host saves no processor state of "
				 "components 0x%llx, which the guest uses",
				 (unsigned long long)lacking);
	if (message->n_contexts > PV_CONTEXTS_MAX)
		return bad(err, "too many contexts");
	r = kernel_check(e, message, err);
	for (size_t i = 0; i < message->n_contexts && r == 0; i++)
		r = context_check(e, message->contexts[i], err);
	return r;
}
