/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_WIRE_H
#define VMM_ENGINE_KVM_WIRE_H

#include "vmm/engine/kvm/vcpu_state.h"

/*
 * KVM's structures to and from the messages of proto/kvm.proto. Pure. Towards the wire a
 * message points into the structures below, which hold what has no place elsewhere. From
 * the wire nothing is believed: counts, lengths and widths are checked, -EPROTO.
 */
struct wire_cpu {
	Segue__KvmVcpu message;
	Segue__KvmSegment segments[8];
	Segue__KvmSegment *segment_list[8];
	Segue__KvmTable gdt, idt;
	Segue__KvmEvents events;
	uint64_t debug[6];
	uint32_t msr_index[KVM_MSRS_MAX];
	uint64_t msr_value[KVM_MSRS_MAX];
};

/* CPU's message points into STATE as well. */
void wire_cpu_put(struct wire_cpu *cpu, struct kvm_cpu_state *state, bool has_pdptrs);
/* STATE comes from kvm_cpu_state_new() with its xsave_size. */
int wire_cpu_get(struct kvm_cpu_state *state, const Segue__KvmVcpu *message, struct error *err);

struct wire_board {
	Segue__KvmPic pics[2];
	Segue__KvmPic *pic_list[2];
	Segue__KvmIoapic ioapic;
	uint64_t redirection[24];
	Segue__KvmPit pit;
	Segue__KvmPitChannel channels[3];
	Segue__KvmPitChannel *channel_list[3];
};

/* Sets STATE's pics, ioapic and pit. */
void wire_board_put(struct wire_board *board, const struct kvm_board_state *from,
		    Segue__KvmState *state);
int wire_board_get(struct kvm_board_state *to, const Segue__KvmState *state, struct error *err);

#endif
