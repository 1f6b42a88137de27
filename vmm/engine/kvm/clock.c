/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/kvm.h"
#include "vmm/engine/kvm/msr.h"

/*
 * The guest's clocks: kvmclock, and a TSC a vCPU. They are read at one instant, and set so
 * that they go on from one instant: the TSCs by their offset to the host's, where the
 * kernel has that (Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET), so that
 * they keep their distances to the cycle, which is what lets KVM and the guest treat them
 * as one.
 */
#define NS_PER_MS 1000000u

/* Kernels before 5.16 have no offset: TSCs read one after the other closer than this are equal. */
#define SAME_MS 5u

static int tsc_offset(const struct kvm_engine *e, unsigned index, unsigned long request,
		      uint64_t *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	return kvm_ioctl(e->cpus[index].fd, request, &attr);
}

/* The TSC of vCPU 0 is read once; the others' distance from it is that of the offsets. */
static int tscs_read_by_offset(const struct kvm_engine *e, struct kvm_clocks *clocks)
{
	uint64_t first, offset;
	int r = tsc_offset(e, 0, KVM_GET_DEVICE_ATTR, &first);

	if (r >= 0)
		r = kvm_msr_read(e, 0, MSR_TSC, &clocks->tsc[0]);
	for (unsigned i = 1; r >= 0 && i < e->n_cpus; i++) {
		r = tsc_offset(e, i, KVM_GET_DEVICE_ATTR, &offset);
		clocks->tsc[i] = clocks->tsc[0] + (offset - first);
	}
	return r;
}

static int tscs_read_by_msr(const struct kvm_engine *e, struct kvm_clocks *clocks)
{
	int r = kvm_msr_read(e, 0, MSR_TSC, &clocks->tsc[0]);

	for (unsigned i = 1; r >= 0 && i < e->n_cpus; i++) {
		r = kvm_msr_read(e, i, MSR_TSC, &clocks->tsc[i]);
		if (clocks->tsc[i] - clocks->tsc[0] < e->tsc_khz * SAME_MS)
			clocks->tsc[i] = clocks->tsc[0];
	}
	return r;
}

/* A processor without the deadline timer has no such register, and no deadline. */
static void deadlines_read(const struct kvm_engine *e, struct kvm_clocks *clocks)
{
	for (unsigned i = 0; i < e->n_cpus; i++) {
		if (kvm_msr_read(e, i, MSR_TSC_DEADLINE, &clocks->tsc_deadline[i]) < 0)
			clocks->tsc_deadline[i] = 0;
	}
}

int kvm_clocks_read(struct kvm_engine *e, struct kvm_clocks *ret_clocks, struct error *err)
{
	struct kvm_clock_data data = {0};
	int r = kvm_ioctl(e->vm, KVM_GET_CLOCK, &data);

	if (r >= 0)
		r = e->has_tsc_offset ? tscs_read_by_offset(e, ret_clocks)
				      : tscs_read_by_msr(e, ret_clocks);
	if (r >= 0)
		r = kvm_ioctl(e->vm, KVM_GET_PIT2, &ret_clocks->pit);
	if (r < 0)
		return error_system(err, r, "KVM does not tell the guest's clocks");
	ret_clocks->kvmclock = data.clock;
	deadlines_read(e, ret_clocks);
	return 0;
}

int kvm_clock_freeze(struct engine *engine, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	int r;

	if (e->frozen)
		return 0;
	r = kvm_clocks_read(e, &e->clocks, err);
	e->frozen = r == 0;
	return r;
}

static uint64_t ticks(const struct kvm_engine *e, uint64_t ns)
{
	__extension__ typedef unsigned __int128 wide;

	return (uint64_t)((wide)ns * e->tsc_khz / NS_PER_MS);
}

/*
 * What the host's TSC reads now, at the guest's rate: vCPU 0's TSC less its offset. All
 * offsets are reckoned from this one reading, so that the TSCs stay apart by exactly what
 * they were, whatever time the calls take.
 */
static int tscs_set_by_offset(const struct kvm_engine *e, uint64_t forward)
{
	uint64_t now, was, offset;
	int r = tsc_offset(e, 0, KVM_GET_DEVICE_ATTR, &was);

	if (r >= 0)
		r = kvm_msr_read(e, 0, MSR_TSC, &now);
	for (unsigned i = 0; r >= 0 && i < e->n_cpus; i++) {
		offset = e->clocks.tsc[i] + forward - (now - was);
		r = tsc_offset(e, i, KVM_SET_DEVICE_ATTR, &offset);
	}
	return r;
}

/*
 * KVM takes values written within a second of each other, and apart by no more than that
 * time, as meant to be equal, and gives them one offset (kvm_synchronize_tsc()). So a
 * guest that resumes on its own host after a short pause keeps a TSC that went on; kvmclock,
 * which is set, tells it the time all the same.
 */
static int tscs_set_by_msr(const struct kvm_engine *e, uint64_t forward)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < e->n_cpus; i++)
		r = kvm_msr_write(e, i, MSR_TSC, e->clocks.tsc[i] + forward);
	return r;
}

static int kvmclock_set(const struct kvm_engine *e, uint64_t ns)
{
	struct kvm_clock_data data = {.clock = ns};

	return kvm_ioctl(e->vm, KVM_SET_CLOCK, &data);
}

/*
 * After the TSC, by which KVM reckons when the deadline is. Zero disarms; writing it would
 * throw away an expiry that has not been delivered in another timer mode, so it is left.
 */
static int deadlines_set(const struct kvm_engine *e)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < e->n_cpus; i++) {
		if (e->clocks.tsc_deadline[i])
			r = kvm_msr_write(e, i, MSR_TSC_DEADLINE, e->clocks.tsc_deadline[i]);
	}
	return r;
}

/*
 * Tells the guest, through kvmclock, that it stood still, so that its watchdogs do not
 * take the pause for a lock-up. EINVAL: that vCPU has no kvmclock running.
 */
static int guests_told(const struct kvm_engine *e)
{
	int r = 0;

	for (unsigned i = 0; i < e->n_cpus && (r >= 0 || r == -EINVAL); i++)
		r = kvm_ioctl(e->cpus[i].fd, KVM_KVMCLOCK_CTRL, NULL);
	return r == -EINVAL ? 0 : r;
}

/* Setting the PIT anew forgets the ticks that piled up while nobody took them. */
int kvm_clock_release(struct engine *engine, uint64_t elapsed_ns, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	uint64_t forward = ticks(e, elapsed_ns);
	int r;

	if (!e->frozen)
		return error_set(err, -EINVAL, "the guest's clocks are not frozen");
	r = e->has_tsc_offset ? tscs_set_by_offset(e, forward) : tscs_set_by_msr(e, forward);
	if (r >= 0)
		r = kvmclock_set(e, e->clocks.kvmclock + elapsed_ns);
	if (r >= 0)
		r = kvm_ioctl(e->vm, KVM_SET_PIT2, &e->clocks.pit);
	if (r >= 0)
		r = deadlines_set(e);
	if (r >= 0)
		r = guests_told(e);
	if (r < 0)
		return error_system(err, r, "KVM does not set the guest's clocks");
	e->frozen = false;
	return 0;
}

/*
 * A TSC that runs a little off: a guest whose clock is kvmclock is told the new rate and
 * keeps time; one that was promised an invariant TSC reads time off it, and tolerates what
 * KVM itself calls the same rate (its tsc_tolerance_ppm, 250).
 */
#define TOLERANCE_PPM        10000u
#define TOLERANCE_PINNED_PPM 250u

int kvm_tsc_rate_check(const struct kvm_engine *e, uint64_t khz, bool pinned, struct error *err)
{
	uint64_t diff = khz > e->tsc_khz ? khz - e->tsc_khz : e->tsc_khz - khz;
	uint64_t ppm = pinned ? TOLERANCE_PINNED_PPM : TOLERANCE_PPM;

	if (!khz || khz > UINT32_MAX)
		return error_set(err, -EPROTO, "the guest's TSC rate of %llu kHz is out of bounds",
				 (unsigned long long)khz);
	if (e->has_tsc_control || diff <= khz * ppm / 1000000)
		return 0;
	return error_set(err, -ENOTSUP,
			 "the guest's TSC runs at %llu kHz, this host's at %llu, and its processor "
			 "cannot scale it", (unsigned long long)khz,
			 (unsigned long long)e->tsc_khz);
}

int kvm_tsc_rate_set(struct kvm_engine *e, uint64_t khz, struct error *err)
{
	int r = 0;

	if (!e->has_tsc_control || khz == e->tsc_khz)
		return 0;
	for (unsigned i = 0; r >= 0 && i < e->n_cpus; i++)
		r = kvm_ioctl_value(e->cpus[i].fd, KVM_SET_TSC_KHZ, khz);
	if (r < 0)
		return error_system(err, r, "KVM does not set a TSC of %llu kHz",
				    (unsigned long long)khz);
	e->tsc_khz = khz;
	return 0;
}
