/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/msr.h"
#include "vmm/engine/kvm/vcpu_state.h"

/*
 * Power-on, and the 64-bit entry of the Linux boot protocol
 * (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): paging on and identity
 * mapped, flat segments, interrupts off, RSI at the boot parameters.
 */
#define CR0_PE  (1ull << 0)
#define CR0_MP  (1ull << 1)
#define CR0_ET  (1ull << 4)
#define CR0_NE  (1ull << 5)
#define CR0_PG  (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

#define BOOT_CS 0x10
#define BOOT_DS 0x18
/* Segment types: SDM volume 3, 3.4.5.1 and 3.5. */
#define TYPE_DATA 3  /* read, write, accessed */
#define TYPE_CODE 11 /* execute, read, accessed */
#define TYPE_TSS  11 /* 64-bit, busy: what VM entry asks for in long mode */

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1,
		.s = 1, .g = 1, .l = code, .db = !code,
	};
}

void kvm_boot_sregs(struct kvm_sregs2 *sregs, const struct boot_state *boot)
{
	struct kvm_segment data = flat(BOOT_DS, TYPE_DATA, false);

	sregs->cs = flat(BOOT_CS, TYPE_CODE, true);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){.limit = 0x67, .type = TYPE_TSS, .present = 1};
	sregs->gdt = (struct kvm_dtable){.base = boot->gdt, .limit = 4 * 8 - 1};
	sregs->idt = (struct kvm_dtable){0};
	sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG;
	sregs->cr3 = boot->page_table;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
}

void kvm_boot_regs(struct kvm_regs *regs, const struct boot_state *boot)
{
	memset(regs, 0, sizeof(*regs));
	regs->rip = boot->entry;
	regs->rsi = boot->boot_params;
	regs->rflags = 2; /* the bit that is always one */
}

/*
 * What firmware would have done on every processor before an operating system sees it:
 * memory is write-back, and string instructions are fast (Linux stops using them when the
 * bit says no). A KVM without these registers has nothing to prepare.
 */
static void firmware_msrs(const struct kvm_engine *e, unsigned index)
{
	uint64_t value;

	(void)kvm_msr_write(e, index, MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK);
	if (kvm_msr_read(e, index, MSR_MISC_ENABLE, &value) == 0)
		(void)kvm_msr_write(e, index, MSR_MISC_ENABLE, value | MISC_ENABLE_FAST_STRING);
}

static int boot_processor(struct kvm_engine *e, const struct boot_state *boot,
			  struct error *err)
{
	struct kvm_cpu_state *state = kvm_cpu_state_new(e);
	int r;

	if (!state)
		return error_system(err, -ENOMEM, "the boot processor's state");
	memcpy(state, e->power_on[0],
	       sizeof(*state) + e->xsave_size - sizeof(struct kvm_xsave));
	kvm_boot_sregs(&state->sregs, boot);
	kvm_boot_regs(&state->regs, boot);
	state->mp.mp_state = KVM_MP_STATE_RUNNABLE;
	r = kvm_cpu_restore(e, 0, state, err);
	free(state);
	return r;
}

/* The TSC and kvmclock go on: a reset does not turn time back. */
int kvm_boot(struct engine *engine, const struct boot_state *boot, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	int r = kvm_board_restore(e, e->board_power_on, err);

	if (r == 0)
		r = boot_processor(e, boot, err);
	for (unsigned i = 1; r == 0 && i < e->n_cpus; i++)
		r = kvm_cpu_restore(e, i, e->power_on[i], err);
	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++)
		firmware_msrs(e, i);
	return r;
}
