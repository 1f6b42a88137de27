/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/msr.h"
#include "vmm/engine/kvm/vcpu_state.h"

/*
 * Model-specific registers. Which ones there are is asked of KVM and then tried on vCPU 0:
 * the list also has registers that this host, or this CPU model, does not have.
 */
#define BATCH 256u /* MAX_IO_MSRS: the most one ioctl takes */

struct batch {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[BATCH];
};

int kvm_msr_read(const struct kvm_engine *e, unsigned index, uint32_t msr, uint64_t *ret_value)
{
	struct batch batch = {.head.nmsrs = 1, .entries[0].index = msr};
	int r = kvm_ioctl(e->cpus[index].fd, KVM_GET_MSRS, &batch);

	if (r != 1)
		return r < 0 ? r : -ENOENT;
	*ret_value = batch.entries[0].data;
	return 0;
}

int kvm_msr_write(const struct kvm_engine *e, unsigned index, uint32_t msr, uint64_t value)
{
	struct batch batch = {.head.nmsrs = 1, .entries[0] = {.index = msr, .data = value}};
	int r = kvm_ioctl(e->cpus[index].fd, KVM_SET_MSRS, &batch);

	if (r != 1)
		return r < 0 ? r : -ENOENT;
	return 0;
}

/* The clock's registers go their own way, see clock.c. */
static bool msr_is_clock(uint32_t msr)
{
	return msr == MSR_TSC || msr == MSR_TSC_DEADLINE;
}

/*
 * The synthetic registers of Hyper-V and Xen, which guests here are not told of. Some are
 * clocks of their own, and none is worth its time in a blackout.
 */
static bool msr_is_foreign(uint32_t msr)
{
	return msr >= 0x40000000 && msr < 0x40001000;
}

static void msr_try(struct kvm_engine *e, uint32_t msr)
{
	uint64_t value;

	if (e->n_msrs == KVM_MSRS_MAX || msr_is_clock(msr) || msr_is_foreign(msr))
		return;
	for (unsigned i = 0; i < e->n_msrs; i++) {
		if (e->msrs[i] == msr)
			return;
	}
	if (kvm_msr_read(e, 0, msr, &value) == 0)
		e->msrs[e->n_msrs++] = msr;
}

/* Registers KVM has but leaves out of its list. */
static void msr_try_unlisted(struct kvm_engine *e)
{
	static const uint32_t fixed_mtrrs[] = {
		0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
	};
	uint64_t banks;

	for (unsigned i = 0; i < sizeof(fixed_mtrrs) / sizeof(fixed_mtrrs[0]); i++)
		msr_try(e, fixed_mtrrs[i]);
	for (uint32_t msr = MSR_MTRR_BASE0; msr < MSR_MTRR_BASE0 + 16; msr++)
		msr_try(e, msr);
	msr_try(e, MSR_MTRR_DEF_TYPE);
	if (kvm_msr_read(e, 0, MSR_MCG_CAP, &banks) < 0)
		return;
	for (uint32_t i = 0; i < (banks & 0xff) * 4; i++)
		msr_try(e, MSR_MC0_CTL + i);
}

int kvm_msrs_find(struct kvm_engine *e, int kvm, struct error *err)
{
	struct kvm_msr_list *list;
	int r;

	list = calloc(1, sizeof(*list) + KVM_MSRS_MAX * sizeof(list->indices[0]));
	if (!list)
		return error_system(err, -ENOMEM, "the list of MSRs");
	list->nmsrs = KVM_MSRS_MAX;
	r = kvm_ioctl(kvm, KVM_GET_MSR_INDEX_LIST, list);
	for (unsigned i = 0; r >= 0 && i < list->nmsrs; i++)
		msr_try(e, list->indices[i]);
	free(list);
	if (r < 0)
		return error_system(err, r, "KVM does not list its MSRs");
	msr_try_unlisted(e);
	return 0;
}

int kvm_msrs_get(struct kvm_engine *e, unsigned index, struct kvm_cpu_state *state,
		 struct error *err)
{
	struct batch batch;

	for (unsigned done = 0; done < e->n_msrs; done += batch.head.nmsrs) {
		unsigned n = e->n_msrs - done < BATCH ? e->n_msrs - done : BATCH;
		int r;

		memset(&batch, 0, sizeof(batch.head) + n * sizeof(batch.entries[0]));
		batch.head.nmsrs = n;
		for (unsigned i = 0; i < n; i++)
			batch.entries[i].index = e->msrs[done + i];
		r = kvm_ioctl(e->cpus[index].fd, KVM_GET_MSRS, &batch);
		if (r != (int)n)
			return error_set(err, -EIO, "vCPU %u: cannot read MSR 0x%x", index,
					 e->msrs[done + (r < 0 ? 0u : (unsigned)r)]);
		memcpy(&state->msrs[done], batch.entries, n * sizeof(batch.entries[0]));
	}
	state->n_msrs = e->n_msrs;
	return 0;
}

/*
 * One that KVM does not take, which is no loss when it reads as it should anyway (it
 * tells of the host, or cannot be written), or does not exist and was zero.
 */
static int msr_excuse(const struct kvm_engine *e, unsigned index,
		      const struct kvm_msr_entry *entry, struct error *err)
{
	uint64_t value = 0;

	(void)kvm_msr_read(e, index, entry->index, &value);
	if (value == entry->data)
		return 0;
	return error_set(err, -ENOTSUP,
			 "vCPU %u: KVM here does not take 0x%llx for MSR 0x%x", index,
			 (unsigned long long)entry->data, entry->index);
}

static int msrs_set_batch(struct kvm_engine *e, unsigned index,
			  const struct kvm_msr_entry *entries, unsigned n, struct error *err)
{
	struct batch batch;

	for (unsigned done = 0; done < n;) {
		int r;

		memset(&batch.head, 0, sizeof(batch.head));
		batch.head.nmsrs = n - done;
		memcpy(batch.entries, &entries[done], (n - done) * sizeof(entries[0]));
		r = kvm_ioctl(e->cpus[index].fd, KVM_SET_MSRS, &batch);
		if (r < 0)
			return error_system(err, r, "vCPU %u: cannot set MSRs", index);
		done += (unsigned)r;
		if (done == n)
			break;
		r = msr_excuse(e, index, &entries[done], err);
		if (r < 0)
			return r;
		done++;
	}
	return 0;
}

int kvm_msrs_set(struct kvm_engine *e, unsigned index, const struct kvm_cpu_state *state,
		 struct error *err)
{
	int r = 0;

	for (unsigned done = 0; r == 0 && done < state->n_msrs; done += BATCH) {
		unsigned n = state->n_msrs - done < BATCH ? state->n_msrs - done : BATCH;

		r = msrs_set_batch(e, index, &state->msrs[done], n, err);
	}
	return r;
}
