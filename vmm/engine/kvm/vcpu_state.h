/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_VCPU_STATE_H
#define VMM_ENGINE_KVM_VCPU_STATE_H

#include "kvm.pb-c.h"
#include "vmm/engine/kvm/kvm.h"

/*
 * Everything of one vCPU but its clock, and of the interrupt controllers, as KVM hands it
 * out. Taken once at power-on, which makes a reset a matter of putting that back, and at
 * every save.
 */
struct kvm_cpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	unsigned n_msrs;
	struct kvm_msr_entry msrs[KVM_MSRS_MAX];
	size_t xsave_size;
	struct kvm_xsave xsave; /* may be longer than the type: last */
};

struct kvm_board_state {
	struct kvm_irqchip chips[3]; /* by chip id: PIC master, slave, IOAPIC */
	struct kvm_pit_state2 pit;
};

/* Zeroed, with room for this host's XSAVE area; free() it. */
struct kvm_cpu_state *kvm_cpu_state_new(const struct kvm_engine *e);

/* capture.c, restore.c: all vCPUs parked and settled. */
int kvm_cpu_capture(struct kvm_engine *e, unsigned index, struct kvm_cpu_state *state,
		    struct error *err);
int kvm_cpu_restore(struct kvm_engine *e, unsigned index, const struct kvm_cpu_state *state,
		    struct error *err);
int kvm_board_capture(struct kvm_engine *e, struct kvm_board_state *state, struct error *err);
int kvm_board_restore(struct kvm_engine *e, const struct kvm_board_state *state,
		      struct error *err);

/* msr.c */
int kvm_msrs_find(struct kvm_engine *e, int kvm, struct error *err);
int kvm_msrs_get(struct kvm_engine *e, unsigned index, struct kvm_cpu_state *state,
		 struct error *err);
int kvm_msrs_set(struct kvm_engine *e, unsigned index, const struct kvm_cpu_state *state,
		 struct error *err);

#endif
