/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "vmm/engine/kvm/wire.h"

/*
 * One vCPU. Several of KVM's structures are runs of 64-bit registers in the order that
 * proto/kvm.proto gives; the assertions hold the kernel's layout to it.
 */
#define REGS     18u
#define SEGMENTS 8u
#define CONTROL  7u
#define PDPTRS   4u
#define DEBUG    6u

_Static_assert(sizeof(struct kvm_regs) == REGS * 8, "rax .. rflags");
_Static_assert(offsetof(struct kvm_regs, rflags) == 17 * 8, "rflags is last");
_Static_assert(offsetof(struct kvm_regs, r8) == 8 * 8, "r8 follows rbp");
_Static_assert(offsetof(struct kvm_sregs2, ldt) == 7 * sizeof(struct kvm_segment), "cs .. ldt");
_Static_assert(offsetof(struct kvm_sregs2, apic_base) ==
	       offsetof(struct kvm_sregs2, cr0) + 6 * 8, "cr0 .. apic_base");
_Static_assert(offsetof(struct kvm_debugregs, dr7) == 5 * 8, "db0 .. dr7");

static void segment_put(Segue__KvmSegment *to, const struct kvm_segment *from)
{
	segue__kvm_segment__init(to);
	to->address = from->base;
	to->limit = from->limit;
	to->selector = from->selector;
	to->rights = (uint32_t)(from->type & 15) | (uint32_t)(from->s & 1) << 4 |
		     (uint32_t)(from->dpl & 3) << 5 | (uint32_t)(from->present & 1) << 7 |
		     (uint32_t)(from->avl & 1) << 12 | (uint32_t)(from->l & 1) << 13 |
		     (uint32_t)(from->db & 1) << 14 | (uint32_t)(from->g & 1) << 15 |
		     (uint32_t)(from->unusable & 1) << 16;
}

static void segment_get(struct kvm_segment *to, const Segue__KvmSegment *from)
{
	uint32_t rights = from->rights;

	*to = (struct kvm_segment){
		.base = from->address,
		.limit = from->limit,
		.selector = (uint16_t)from->selector,
		.type = rights & 15,
		.s = rights >> 4 & 1,
		.dpl = rights >> 5 & 3,
		.present = rights >> 7 & 1,
		.avl = rights >> 12 & 1,
		.l = rights >> 13 & 1,
		.db = rights >> 14 & 1,
		.g = rights >> 15 & 1,
		.unusable = rights >> 16 & 1,
	};
}

static void table_put(Segue__KvmTable *to, const struct kvm_dtable *from)
{
	segue__kvm_table__init(to);
	to->address = from->base;
	to->limit = from->limit;
}

static void table_get(struct kvm_dtable *to, const Segue__KvmTable *from)
{
	*to = (struct kvm_dtable){.base = from->address, .limit = (uint16_t)from->limit};
}

static void events_put(Segue__KvmEvents *to, const struct kvm_vcpu_events *from)
{
	segue__kvm_events__init(to);
	to->exception_injected = from->exception.injected;
	to->exception_vector = from->exception.nr;
	to->exception_has_error = from->exception.has_error_code;
	to->exception_error = from->exception.error_code;
	to->interrupt_injected = from->interrupt.injected;
	to->interrupt_vector = from->interrupt.nr;
	to->interrupt_soft = from->interrupt.soft;
	to->interrupt_shadow = from->interrupt.shadow;
	to->nmi_injected = from->nmi.injected;
	to->nmi_pending = from->nmi.pending;
	to->nmi_masked = from->nmi.masked;
	to->sipi_vector = from->sipi_vector;
	to->smm = from->smi.smm;
	to->smi_pending = from->smi.pending;
	to->smm_inside_nmi = from->smi.smm_inside_nmi;
	to->latched_init = from->smi.latched_init;
	to->triple_fault = from->triple_fault.pending;
}

/*
 * SMM's fields are given to KVM only when one of them is set: a KVM built without SMM
 * refuses them otherwise.
 */
static void events_get(struct kvm_vcpu_events *to, const Segue__KvmEvents *from)
{
	memset(to, 0, sizeof(*to));
	to->exception.injected = (uint8_t)from->exception_injected;
	to->exception.nr = (uint8_t)from->exception_vector;
	to->exception.has_error_code = (uint8_t)from->exception_has_error;
	to->exception.error_code = from->exception_error;
	to->interrupt.injected = (uint8_t)from->interrupt_injected;
	to->interrupt.nr = (uint8_t)from->interrupt_vector;
	to->interrupt.soft = (uint8_t)from->interrupt_soft;
	to->interrupt.shadow = (uint8_t)from->interrupt_shadow;
	to->nmi.injected = (uint8_t)from->nmi_injected;
	to->nmi.pending = (uint8_t)from->nmi_pending;
	to->nmi.masked = (uint8_t)from->nmi_masked;
	to->sipi_vector = from->sipi_vector;
	to->smi.smm = (uint8_t)from->smm;
	to->smi.pending = (uint8_t)from->smi_pending;
	to->smi.smm_inside_nmi = (uint8_t)from->smm_inside_nmi;
	to->smi.latched_init = (uint8_t)from->latched_init;
	to->triple_fault.pending = (uint8_t)from->triple_fault;
	if (from->smm || from->smi_pending || from->smm_inside_nmi || from->latched_init)
		to->flags |= KVM_VCPUEVENT_VALID_SMM;
	to->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
}

static void sregs_put(struct wire_cpu *cpu, struct kvm_sregs2 *from, bool has_pdptrs)
{
	const struct kvm_segment *segments = &from->cs;
	Segue__KvmVcpu *m = &cpu->message;

	for (unsigned i = 0; i < SEGMENTS; i++) {
		segment_put(&cpu->segments[i], &segments[i]);
		cpu->segment_list[i] = &cpu->segments[i];
	}
	m->n_segments = SEGMENTS;
	m->segments = cpu->segment_list;
	table_put(&cpu->gdt, &from->gdt);
	table_put(&cpu->idt, &from->idt);
	m->gdt = &cpu->gdt;
	m->idt = &cpu->idt;
	m->n_control = CONTROL;
	m->control = (uint64_t *)&from->cr0;
	if (has_pdptrs && (from->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)) {
		m->n_pdptrs = PDPTRS;
		m->pdptrs = (uint64_t *)from->pdptrs;
	}
}

static void msrs_put(struct wire_cpu *cpu, const struct kvm_cpu_state *from)
{
	for (unsigned i = 0; i < from->n_msrs; i++) {
		cpu->msr_index[i] = from->msrs[i].index;
		cpu->msr_value[i] = from->msrs[i].data;
	}
	cpu->message.n_msr_index = cpu->message.n_msr_value = from->n_msrs;
	cpu->message.msr_index = cpu->msr_index;
	cpu->message.msr_value = cpu->msr_value;
}

void wire_cpu_put(struct wire_cpu *cpu, struct kvm_cpu_state *state, bool has_pdptrs)
{
	Segue__KvmVcpu *m = &cpu->message;

	segue__kvm_vcpu__init(m);
	m->mp_state = state->mp.mp_state;
	m->n_regs = REGS;
	m->regs = (uint64_t *)&state->regs;
	sregs_put(cpu, &state->sregs, has_pdptrs);
	events_put(&cpu->events, &state->events);
	m->events = &cpu->events;
	memcpy(cpu->debug, &state->debug, sizeof(cpu->debug));
	m->n_debug = DEBUG;
	m->debug = cpu->debug;
	m->xcr0 = state->xcrs.nr_xcrs ? state->xcrs.xcrs[0].value : 0;
	m->xsave.data = (uint8_t *)&state->xsave;
	m->xsave.len = state->xsave_size;
	m->lapic.data = (uint8_t *)state->lapic.regs;
	m->lapic.len = sizeof(state->lapic.regs);
	msrs_put(cpu, state);
}

static int sregs_get(struct kvm_sregs2 *to, const Segue__KvmVcpu *m)
{
	struct kvm_segment *segments = &to->cs;

	if (m->n_segments != SEGMENTS || m->n_control != CONTROL || !m->gdt || !m->idt)
		return -EPROTO;
	if (m->n_pdptrs && m->n_pdptrs != PDPTRS)
		return -EPROTO;
	for (unsigned i = 0; i < SEGMENTS; i++)
		segment_get(&segments[i], m->segments[i]);
	table_get(&to->gdt, m->gdt);
	table_get(&to->idt, m->idt);
	memcpy(&to->cr0, m->control, CONTROL * sizeof(uint64_t));
	if (m->n_pdptrs) {
		to->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(to->pdptrs, m->pdptrs, PDPTRS * sizeof(uint64_t));
	}
	return 0;
}

static int msrs_get(struct kvm_cpu_state *to, const Segue__KvmVcpu *m)
{
	if (m->n_msr_index != m->n_msr_value || m->n_msr_index > KVM_MSRS_MAX)
		return -EPROTO;
	to->n_msrs = (unsigned)m->n_msr_index;
	for (unsigned i = 0; i < to->n_msrs; i++)
		to->msrs[i] = (struct kvm_msr_entry){.index = m->msr_index[i],
						     .data = m->msr_value[i]};
	return 0;
}

/* Areas of another size are fine as long as what does not fit here is empty. */
static int xsave_get(struct kvm_cpu_state *to, const ProtobufCBinaryData *from)
{
	size_t fits = from->len < to->xsave_size ? from->len : to->xsave_size;

	for (size_t i = fits; i < from->len; i++) {
		if (from->data[i])
			return -EPROTO;
	}
	memset(&to->xsave, 0, to->xsave_size);
	if (fits)
		memcpy(&to->xsave, from->data, fits);
	return 0;
}

static int parts_get(struct kvm_cpu_state *to, const Segue__KvmVcpu *m)
{
	int r;

	if (m->n_regs != REGS || m->n_debug != DEBUG || !m->events ||
	    m->lapic.len != sizeof(to->lapic.regs))
		return -EPROTO;
	to->mp.mp_state = m->mp_state;
	memcpy(&to->regs, m->regs, sizeof(to->regs));
	memcpy(&to->debug, m->debug, DEBUG * sizeof(uint64_t));
	memcpy(to->lapic.regs, m->lapic.data, sizeof(to->lapic.regs));
	events_get(&to->events, m->events);
	to->xcrs.nr_xcrs = m->xcr0 ? 1 : 0;
	to->xcrs.xcrs[0].value = m->xcr0;
	r = sregs_get(&to->sregs, m);
	if (r == 0)
		r = xsave_get(to, &m->xsave);
	if (r == 0)
		r = msrs_get(to, m);
	return r;
}

int wire_cpu_get(struct kvm_cpu_state *state, const Segue__KvmVcpu *message, struct error *err)
{
	int r = parts_get(state, message);

	return r < 0 ? error_set(err, r, "a vCPU's state is not whole") : 0;
}
