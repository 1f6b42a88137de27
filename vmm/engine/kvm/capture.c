/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/vcpu_state.h"

struct kvm_cpu_state *kvm_cpu_state_new(const struct kvm_engine *e)
{
	size_t more = e->xsave_size - sizeof(struct kvm_xsave);
	struct kvm_cpu_state *state = calloc(1, sizeof(*state) + more);

	if (state)
		state->xsave_size = e->xsave_size;
	return state;
}

int kvm_sregs_get(int fd, bool two, struct kvm_sregs2 *sregs)
{
	struct kvm_sregs old;
	int r;

	if (two)
		return kvm_ioctl(fd, KVM_GET_SREGS2, sregs);
	r = kvm_ioctl(fd, KVM_GET_SREGS, &old);
	if (r < 0)
		return r;
	memset(sregs, 0, sizeof(*sregs));
	memcpy(sregs, &old, offsetof(struct kvm_sregs2, flags));
	return 0;
}

_Static_assert(offsetof(struct kvm_sregs2, flags) == offsetof(struct kvm_sregs, interrupt_bitmap),
	       "kvm_sregs and kvm_sregs2 begin alike");

static int xsave_get(const struct kvm_engine *e, int fd, struct kvm_cpu_state *state)
{
	if (e->xsave_size > sizeof(struct kvm_xsave))
		return kvm_ioctl(fd, KVM_GET_XSAVE2, &state->xsave);
	return kvm_ioctl(fd, KVM_GET_XSAVE, &state->xsave);
}

/*
 * The MP state comes first: asking for it makes KVM act on a pending INIT or SIPI, which
 * changes registers.
 */
int kvm_cpu_capture(struct kvm_engine *e, unsigned index, struct kvm_cpu_state *state,
		    struct error *err)
{
	int fd = e->cpus[index].fd;
	int r = kvm_ioctl(fd, KVM_GET_MP_STATE, &state->mp);

	if (r >= 0)
		r = kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, &state->events);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_GET_REGS, &state->regs);
	if (r >= 0)
		r = kvm_sregs_get(fd, e->has_sregs2, &state->sregs);
	if (r >= 0)
		r = xsave_get(e, fd, state);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_GET_XCRS, &state->xcrs);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_GET_DEBUGREGS, &state->debug);
	if (r >= 0)
		r = kvm_ioctl(fd, KVM_GET_LAPIC, &state->lapic);
	if (r < 0)
		return error_system(err, r, "cannot read the state of vCPU %u", index);
	return kvm_msrs_get(e, index, state, err);
}

int kvm_board_capture(struct kvm_engine *e, struct kvm_board_state *state, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < 3; i++) {
		state->chips[i].chip_id = i;
		r = kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &state->chips[i]);
	}
	if (r >= 0)
		r = kvm_ioctl(e->vm, KVM_GET_PIT2, &state->pit);
	if (r < 0)
		return error_system(err, r, "cannot read the interrupt controllers' state");
	return 0;
}
