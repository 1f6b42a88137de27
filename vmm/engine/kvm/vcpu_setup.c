/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/engine/kvm/kvm.h"
#include "vmm/engine/kvm/vcpu_state.h"

/*
 * Making the vCPUs: descriptor, shared page, CPUID, machine-check banks; and the picture
 * of all of them at power-on, which is what a reset restores.
 */
#define MCE_BANKS  10u
#define MCG_CTL_P  (1ull << 8)
#define MCG_SER_P  (1ull << 24)

static int cpu_create(struct kvm_engine *e, unsigned index, struct error *err)
{
	struct kvm_cpu *cpu = &e->cpus[index];

	cpu->vcpu = (struct vcpu){.engine = &e->engine, .index = index};
	cpu->fd = kvm_ioctl_value(e->vm, KVM_CREATE_VCPU, index);
	if (cpu->fd < 0)
		return error_system(err, cpu->fd, "KVM does not make vCPU %u", index);
	cpu->run = mmap(NULL, e->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED) {
		cpu->run = NULL;
		return error_system(err, -errno, "cannot map vCPU %u", index);
	}
	return 0;
}

/*
 * A bank count of our own: KVM's default is 32, each of four MSRs that would be saved
 * with every move. A host that does not take it keeps its default; both work.
 */
static void machine_check(const struct kvm_cpu *cpu)
{
	uint64_t cap = MCE_BANKS | MCG_CTL_P | MCG_SER_P;

	(void)kvm_ioctl(cpu->fd, KVM_X86_SETUP_MCE, &cap);
}

static int cpuid_set_one(struct kvm_engine *e, unsigned index)
{
	struct cpuid_table table = e->cpuid;
	struct kvm_cpuid2 *request;
	int r;

	request = calloc(1, sizeof(*request) + sizeof(table.entries));
	if (!request)
		return -ENOMEM;
	cpumodel_personalise(&table, index);
	request->nent = table.count;
	memcpy(request->entries, table.entries, table.count * sizeof(table.entries[0]));
	r = kvm_ioctl(e->cpus[index].fd, KVM_SET_CPUID2, request);
	free(request);
	return r;
}

int kvm_cpuid_set(struct kvm_engine *e, struct error *err)
{
	for (unsigned i = 0; i < e->n_cpus; i++) {
		int r = cpuid_set_one(e, i);

		if (r < 0)
			return error_system(err, r, "KVM refuses the CPU model");
	}
	return kvm_contract_make(e, err);
}

static bool has_tsc_offset(const struct kvm_engine *e)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
	};

	return kvm_ioctl(e->cpus[0].fd, KVM_HAS_DEVICE_ATTR, &attr) == 0;
}

static int power_on_capture(struct kvm_engine *e, struct error *err)
{
	int r;

	e->board_power_on = calloc(1, sizeof(*e->board_power_on));
	if (!e->board_power_on)
		return error_system(err, -ENOMEM, "the power-on state");
	r = kvm_board_capture(e, e->board_power_on, err);
	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++) {
		e->power_on[i] = kvm_cpu_state_new(e);
		if (!e->power_on[i])
			return error_system(err, -ENOMEM, "the power-on state");
		r = kvm_cpu_capture(e, i, e->power_on[i], err);
	}
	return r;
}

static int tsc_rate_get(struct kvm_engine *e, struct error *err)
{
	int khz = kvm_ioctl(e->cpus[0].fd, KVM_GET_TSC_KHZ, NULL);

	if (khz <= 0)
		return error_system(err, khz ? khz : -EIO, "KVM does not tell the TSC's rate");
	e->tsc_khz = (uint64_t)khz;
	return 0;
}

static int run_size_get(struct kvm_engine *e, int kvm, struct error *err)
{
	int size = kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	if (size < (int)sizeof(struct kvm_run))
		return error_set(err, -EIO, "KVM's vCPU page is too small");
	e->run_size = (size_t)size;
	return 0;
}

int kvm_cpus_create(struct kvm_engine *e, int kvm, struct error *err)
{
	int r = run_size_get(e, kvm, err);

	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++)
		r = cpu_create(e, i, err);
	if (r == 0)
		r = kvm_cpuid_set(e, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < e->n_cpus; i++)
		machine_check(&e->cpus[i]);
	e->has_tsc_offset = has_tsc_offset(e);
	r = tsc_rate_get(e, err);
	if (r == 0)
		r = kvm_msrs_find(e, kvm, err);
	if (r == 0)
		r = power_on_capture(e, err);
	return r;
}
