/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "vmm/engine/kvm/msr.h"
#include "vmm/engine/kvm/vcpu_state.h"

int kvm_sregs_set(int fd, bool two, const struct kvm_sregs2 *sregs)
{
	struct kvm_sregs2 new = *sregs;
	struct kvm_sregs old;

	if (two)
		return kvm_ioctl(fd, KVM_SET_SREGS2, &new);
	memset(&old, 0, sizeof(old));
	memcpy(&old, sregs, offsetof(struct kvm_sregs2, flags));
	return kvm_ioctl(fd, KVM_SET_SREGS, &old);
}

/*
 * Which of the events' fields count is said by flags. All but the triple fault are
 * understood by every KVM this engine accepts; a payload is never asked for.
 */
static int events_set(const struct kvm_engine *e, int fd, const struct kvm_vcpu_events *from)
{
	struct kvm_vcpu_events events = *from;

	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
		       KVM_VCPUEVENT_VALID_SHADOW;
	events.flags |= from->flags & KVM_VCPUEVENT_VALID_SMM;
	if (e->has_triple_fault)
		events.flags |= from->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	return kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &events);
}

/* Processors without XSAVE have no XCR0, and KVM refuses to set any. */
static int xcrs_set(int fd, const struct kvm_xcrs *from)
{
	struct kvm_xcrs xcrs = *from;

	return xcrs.nr_xcrs ? kvm_ioctl(fd, KVM_SET_XCRS, &xcrs) : 0;
}

/*
 * KVM answers a write of its wall clock MSR by writing the time of day to the address in
 * it. The guest read that long ago, or will write the MSR again before it reads; memory
 * that has been moved stays as it was sent.
 */
#define WALL_CLOCK_SIZE 12u /* struct pvclock_wall_clock: version, seconds, nanoseconds */

struct wall_clock {
	uint64_t gpa; /* 0: the guest has not asked for it */
	uint8_t bytes[WALL_CLOCK_SIZE];
};

static void wall_clock_keep(const struct kvm_engine *e, const struct kvm_cpu_state *state,
			    struct wall_clock *ret_was)
{
	ret_was->gpa = 0;
	for (unsigned i = 0; i < state->n_msrs; i++) {
		const struct kvm_msr_entry *msr = &state->msrs[i];

		if (msr->index != MSR_KVM_WALL_CLOCK && msr->index != MSR_KVM_WALL_CLOCK_NEW)
			continue;
		if (ram_read(e->ram, msr->data, ret_was->bytes, WALL_CLOCK_SIZE) == 0)
			ret_was->gpa = msr->data;
	}
}

static int msrs_set(struct kvm_engine *e, unsigned index, const struct kvm_cpu_state *state,
		    struct error *err)
{
	struct wall_clock was;
	int r;

	wall_clock_keep(e, state, &was);
	r = kvm_msrs_set(e, index, state, err);
	if (was.gpa)
		(void)ram_write(e->ram, was.gpa, was.bytes, WALL_CLOCK_SIZE);
	return r;
}

static int registers_set(struct kvm_engine *e, int fd, const struct kvm_cpu_state *state)
{
	int r = kvm_sregs_set(fd, e->has_sregs2, &state->sregs);

	if (r >= 0)
		r = kvm_ioctl(fd, KVM_SET_REGS, (void *)&state->regs);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_SET_XSAVE, (void *)&state->xsave);
	if (r >= 0)
		r = xcrs_set(fd, &state->xcrs);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_SET_DEBUGREGS, (void *)&state->debug);
	return r;
}

/*
 * Order: SREGS has the APIC's base and mode and EFER, on which the LAPIC and some MSRs
 * depend; events refer to registers; the MP state is last, so that nothing set later wakes
 * a vCPU that sleeps.
 */
int kvm_cpu_restore(struct kvm_engine *e, unsigned index, const struct kvm_cpu_state *state,
		    struct error *err)
{
	int fd = e->cpus[index].fd;
	int r = registers_set(e, fd, state);

	if (r < 0)
		return error_system(err, r, "KVM does not take the registers of vCPU %u", index);
	r = msrs_set(e, index, state, err);
	if (r < 0)
		return r;
	r = kvm_ioctl(fd, KVM_SET_LAPIC, (void *)&state->lapic);
	if (r >= 0)
		r = events_set(e, fd, &state->events);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_SET_MP_STATE, (void *)&state->mp);
	if (r < 0)
		return error_system(err, r, "KVM does not take the state of vCPU %u", index);
	/* An access half done, or a kick meant for what ran before, is of no more meaning. */
	e->cpus[index].more = false;
	return 0;
}

int kvm_board_restore(struct kvm_engine *e, const struct kvm_board_state *state,
		      struct error *err)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = kvm_ioctl(e->vm, KVM_SET_IRQCHIP, (void *)&state->chips[i]);
	if (r >= 0)
		r = kvm_ioctl(e->vm, KVM_SET_PIT2, (void *)&state->pit);
	if (r < 0)
		return error_system(err, r, "KVM does not take the interrupt controllers' state");
	return 0;
}
