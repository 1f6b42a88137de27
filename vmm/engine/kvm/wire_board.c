/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "vmm/engine/kvm/wire.h"

/*
 * The interrupt controllers and the PIT. When a PIT's count began is a time of the host's
 * and is not sent: KVM lets a count that is set begin anew.
 */
_Static_assert(KVM_IOAPIC_NUM_PINS == 24, "redirection entries on the wire");

static void pic_put(Segue__KvmPic *to, const struct kvm_pic_state *from)
{
	segue__kvm_pic__init(to);
	to->last_irr = from->last_irr;
	to->irr = from->irr;
	to->imr = from->imr;
	to->isr = from->isr;
	to->priority_add = from->priority_add;
	to->irq_base = from->irq_base;
	to->read_reg_select = from->read_reg_select;
	to->poll = from->poll;
	to->special_mask = from->special_mask;
	to->init_state = from->init_state;
	to->auto_eoi = from->auto_eoi;
	to->rotate_on_auto_eoi = from->rotate_on_auto_eoi;
	to->special_fully_nested_mode = from->special_fully_nested_mode;
	to->init4 = from->init4;
	to->elcr = from->elcr;
	to->elcr_mask = from->elcr_mask;
}

static void pic_get(struct kvm_pic_state *to, const Segue__KvmPic *from)
{
	*to = (struct kvm_pic_state){
		.last_irr = (uint8_t)from->last_irr,
		.irr = (uint8_t)from->irr,
		.imr = (uint8_t)from->imr,
		.isr = (uint8_t)from->isr,
		.priority_add = from->priority_add & 7,
		.irq_base = (uint8_t)from->irq_base,
		.read_reg_select = (uint8_t)from->read_reg_select,
		.poll = (uint8_t)from->poll,
		.special_mask = (uint8_t)from->special_mask,
		.init_state = from->init_state & 3,
		.auto_eoi = (uint8_t)from->auto_eoi,
		.rotate_on_auto_eoi = (uint8_t)from->rotate_on_auto_eoi,
		.special_fully_nested_mode = (uint8_t)from->special_fully_nested_mode,
		.init4 = (uint8_t)from->init4,
		.elcr = (uint8_t)from->elcr,
		.elcr_mask = (uint8_t)from->elcr_mask,
	};
}

static void channel_put(Segue__KvmPitChannel *to, const struct kvm_pit_channel_state *from)
{
	segue__kvm_pit_channel__init(to);
	to->count = from->count;
	to->latched_count = from->latched_count;
	to->count_latched = from->count_latched;
	to->status_latched = from->status_latched;
	to->status = from->status;
	to->read_state = from->read_state;
	to->write_state = from->write_state;
	to->write_latch = from->write_latch;
	to->rw_mode = from->rw_mode;
	to->mode = from->mode;
	to->bcd = from->bcd;
	to->gate = from->gate;
}

static void channel_get(struct kvm_pit_channel_state *to, const Segue__KvmPitChannel *from)
{
	*to = (struct kvm_pit_channel_state){
		.count = from->count,
		.latched_count = (uint16_t)from->latched_count,
		.count_latched = (uint8_t)from->count_latched,
		.status_latched = (uint8_t)from->status_latched,
		.status = (uint8_t)from->status,
		.read_state = (uint8_t)from->read_state,
		.write_state = (uint8_t)from->write_state,
		.write_latch = (uint8_t)from->write_latch,
		.rw_mode = (uint8_t)from->rw_mode,
		.mode = (uint8_t)from->mode,
		.bcd = (uint8_t)from->bcd,
		.gate = (uint8_t)from->gate,
	};
}

static void ioapic_put(struct wire_board *board, const struct kvm_ioapic_state *from)
{
	Segue__KvmIoapic *to = &board->ioapic;

	segue__kvm_ioapic__init(to);
	to->address = from->base_address;
	to->ioregsel = from->ioregsel;
	to->id = from->id;
	to->irr = from->irr;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		board->redirection[i] = from->redirtbl[i].bits;
	to->n_redirection = KVM_IOAPIC_NUM_PINS;
	to->redirection = board->redirection;
}

static int ioapic_get(struct kvm_ioapic_state *to, const Segue__KvmIoapic *from)
{
	if (!from || from->n_redirection != KVM_IOAPIC_NUM_PINS)
		return -EPROTO;
	memset(to, 0, sizeof(*to));
	to->base_address = from->address;
	to->ioregsel = (uint8_t)from->ioregsel;
	to->id = from->id;
	to->irr = from->irr & ((1u << KVM_IOAPIC_NUM_PINS) - 1);
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		to->redirtbl[i].bits = from->redirection[i];
	return 0;
}

static void pit_put(struct wire_board *board, const struct kvm_pit_state2 *from)
{
	segue__kvm_pit__init(&board->pit);
	for (unsigned i = 0; i < 3; i++) {
		channel_put(&board->channels[i], &from->channels[i]);
		board->channel_list[i] = &board->channels[i];
	}
	board->pit.n_channels = 3;
	board->pit.channels = board->channel_list;
	board->pit.flags = from->flags;
}

static int pit_get(struct kvm_pit_state2 *to, const Segue__KvmPit *from)
{
	if (!from || from->n_channels != 3)
		return -EPROTO;
	memset(to, 0, sizeof(*to));
	for (unsigned i = 0; i < 3; i++) {
		if (from->channels[i]->count > 0x10000)
			return -EPROTO;
		channel_get(&to->channels[i], from->channels[i]);
	}
	to->flags = from->flags;
	return 0;
}

void wire_board_put(struct wire_board *board, const struct kvm_board_state *from,
		    Segue__KvmState *state)
{
	for (unsigned i = 0; i < 2; i++) {
		pic_put(&board->pics[i], &from->chips[i].chip.pic);
		board->pic_list[i] = &board->pics[i];
	}
	state->n_pics = 2;
	state->pics = board->pic_list;
	ioapic_put(board, &from->chips[KVM_IRQCHIP_IOAPIC].chip.ioapic);
	state->ioapic = &board->ioapic;
	pit_put(board, &from->pit);
	state->pit = &board->pit;
}

static int parts_get(struct kvm_board_state *to, const Segue__KvmState *state)
{
	int r;

	if (state->n_pics != 2)
		return -EPROTO;
	for (unsigned i = 0; i < 3; i++)
		to->chips[i] = (struct kvm_irqchip){.chip_id = i};
	for (unsigned i = 0; i < 2; i++)
		pic_get(&to->chips[i].chip.pic, state->pics[i]);
	r = ioapic_get(&to->chips[KVM_IRQCHIP_IOAPIC].chip.ioapic, state->ioapic);
	return r == 0 ? pit_get(&to->pit, state->pit) : r;
}

int wire_board_get(struct kvm_board_state *to, const Segue__KvmState *state, struct error *err)
{
	int r = parts_get(to, state);

	return r < 0 ? error_set(err, r, "the interrupt controllers' state is not whole") : 0;
}
