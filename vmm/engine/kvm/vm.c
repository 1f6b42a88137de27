/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/engine/kvm/kvm.h"
#include "vmm/engine/kvm/vcpu_state.h"
#include "vmm/layout.h"

/*
 * The machine's processors-to-be, memory slots and interrupt controllers.
 */
int kvm_slot_set(struct kvm_engine *e, unsigned slot, uint32_t flags)
{
	const struct ram_slot *slots;
	struct kvm_userspace_memory_region region = {.slot = slot, .flags = flags};

	ram_slots(e->ram, &slots);
	region.guest_phys_addr = slots[slot].gpa;
	region.memory_size = slots[slot].size;
	region.userspace_addr = (uintptr_t)ram_base(e->ram) + slots[slot].offset;
	return kvm_ioctl(e->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int memory_create(struct kvm_engine *e, struct error *err)
{
	const struct ram_slot *slots;
	unsigned n = ram_slots(e->ram, &slots);

	for (unsigned i = 0; i < n; i++) {
		int r = kvm_slot_set(e, i, 0);

		if (r < 0)
			return error_system(err, r, "KVM does not take the guest's memory");
	}
	return 0;
}

/*
 * Intel processors without unrestricted guest mode run real mode in a TSS and a page
 * table of KVM's own; both need a guest physical address, before the first vCPU is made
 * (api.rst, KVM_SET_TSS_ADDR and KVM_SET_IDENTITY_MAP_ADDR).
 */
static int private_pages(struct kvm_engine *e, struct error *err)
{
	uint64_t identity = LAYOUT_KVM_IDENTITY;
	int r = kvm_ioctl(e->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);

	if (r >= 0)
		r = kvm_ioctl_value(e->vm, KVM_SET_TSS_ADDR, LAYOUT_KVM_IDENTITY + 0x1000);
	return r < 0 ? error_system(err, r, "KVM does not place its pages") : 0;
}

/* SPEAKER_DUMMY: KVM answers port 0x61 too, by which guests time the PIT's channel 2. */
static int controllers_create(struct kvm_engine *e, struct error *err)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	int r = kvm_ioctl(e->vm, KVM_CREATE_IRQCHIP, NULL);

	if (r >= 0)
		r = kvm_ioctl(e->vm, KVM_CREATE_PIT2, &pit);
	return r < 0 ? error_system(err, r, "KVM does not make the interrupt controllers") : 0;
}

static int enable(struct kvm_engine *e, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap request = {.cap = cap, .args = {arg}};

	return kvm_ioctl(e->vm, KVM_ENABLE_CAP, &request);
}

static bool can(const struct kvm_engine *e, unsigned long cap)
{
	return kvm_ioctl_value(e->vm, KVM_CHECK_EXTENSION, cap) > 0;
}

/*
 * Bits of the dirty log are cleared by CLEAR_DIRTY_LOG alone, so that reading is cheap and
 * write protection follows in small steps. INITIALLY_SET stays off: start() promises that
 * everything is clean.
 */
static int capabilities(struct kvm_engine *e, struct error *err)
{
	int r = enable(e, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);

	if (r < 0)
		return error_system(err, r, "KVM does not track written pages");
	e->has_sregs2 = can(e, KVM_CAP_SREGS2);
	e->has_tsc_control = can(e, KVM_CAP_TSC_CONTROL);
	/* Without it a triple fault not yet reported when the guest moves is met again. */
	e->has_triple_fault = can(e, KVM_CAP_X86_TRIPLE_FAULT_EVENT) &&
			      enable(e, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1) >= 0;
	return 0;
}

/* KVM_CAP_XSAVE2 says 0 on kernels that know only the fixed 4 KiB. */
static void xsave_size(struct kvm_engine *e)
{
	int size = kvm_ioctl_value(e->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	e->xsave_size = sizeof(struct kvm_xsave);
	if (size > 0 && (size_t)size > e->xsave_size)
		e->xsave_size = (size_t)size;
}

static int vm_create(struct kvm_engine *e, int kvm, struct error *err)
{
	int r;

	e->vm = kvm_ioctl(kvm, KVM_CREATE_VM, NULL);
	if (e->vm < 0)
		return error_system(err, e->vm, "KVM does not make a machine");
	xsave_size(e);
	r = capabilities(e, err);
	if (r == 0)
		r = private_pages(e, err);
	if (r == 0)
		r = controllers_create(e, err);
	if (r == 0)
		r = memory_create(e, err);
	if (r == 0)
		r = kvm_cpus_create(e, kvm, err);
	return r;
}

static int guest_take(struct kvm_engine *e, const Segue__Guest *guest, struct error *err)
{
	if (!guest->cpus || guest->cpus > KVM_VCPUS_MAX)
		return error_set(err, -EINVAL, "%u vCPUs: must be 1 to %u", guest->cpus,
				 KVM_VCPUS_MAX);
	e->n_cpus = guest->cpus;
	snprintf(e->guest, sizeof(e->guest), "%s", guest->name);
	snprintf(e->cpu_model, sizeof(e->cpu_model), "%s", guest->cpu_model);
	return 0;
}

static int build(struct kvm_engine *e, const struct engine_config *config, struct error *err)
{
	int kvm, r;

	r = guest_take(e, config->guest, err);
	if (r < 0)
		return r;
	r = kvm_kick_prepare(err);
	if (r < 0)
		return r;
	kvm = kvm_open(err);
	if (kvm < 0)
		return kvm;
	r = kvm_host_cpuid(kvm, &e->host, err);
	if (r == 0)
		r = cpumodel_make(&e->host, e->cpu_model, e->n_cpus, &e->cpuid, err);
	if (r == 0)
		r = vm_create(e, kvm, err);
	close(kvm);
	return r;
}

int kvm_create(const struct engine_config *config, struct engine **ret_engine,
	       struct error *err)
{
	struct kvm_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return error_system(err, -ENOMEM, "the KVM engine");
	e->engine.ops = &engine_kvm;
	e->ram = config->ram;
	e->vm = -1;
	for (unsigned i = 0; i < KVM_VCPUS_MAX; i++)
		e->cpus[i].fd = -1;
	r = build(e, config, err);
	if (r < 0) {
		kvm_destroy(&e->engine);
		return r;
	}
	*ret_engine = &e->engine;
	return 0;
}

static void cpu_destroy(struct kvm_engine *e, struct kvm_cpu *cpu)
{
	if (cpu->run)
		munmap(cpu->run, e->run_size);
	if (cpu->fd >= 0)
		close(cpu->fd);
}

void kvm_destroy(struct engine *engine)
{
	struct kvm_engine *e = kvm_engine_of(engine);

	if (!e)
		return;
	for (unsigned i = 0; i < KVM_VCPUS_MAX; i++) {
		cpu_destroy(e, &e->cpus[i]);
		free(e->power_on[i]);
	}
	free(e->board_power_on);
	for (unsigned i = 0; i < RAM_SLOTS; i++)
		free(e->dirty.bitmap[i]);
	if (e->vm >= 0)
		close(e->vm);
	kvm_contract_done(e);
	free(e);
}

int kvm_set_irq(struct engine *engine, unsigned gsi, bool level)
{
	struct kvm_irq_level line = {.irq = gsi, .level = level};

	return kvm_ioctl(kvm_engine_of(engine)->vm, KVM_IRQ_LINE, &line);
}

/* KVM answers 0 when the guest blocks the message; that is the guest's affair. */
int kvm_signal_msi(struct engine *engine, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	int r = kvm_ioctl(kvm_engine_of(engine)->vm, KVM_SIGNAL_MSI, &msi);

	return r < 0 ? r : 0;
}

static int notify(struct engine *engine, uint64_t gpa, unsigned len, int64_t value, int fd,
		  uint32_t flags)
{
	struct kvm_ioeventfd request = {.addr = gpa, .len = len, .fd = fd, .flags = flags};

	if (value != NOTIFY_ANY) {
		request.datamatch = (uint64_t)value;
		request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	}
	return kvm_ioctl(kvm_engine_of(engine)->vm, KVM_IOEVENTFD, &request);
}

int kvm_notify_add(struct engine *engine, uint64_t gpa, unsigned len, int64_t value, int eventfd)
{
	return notify(engine, gpa, len, value, eventfd, 0);
}

int kvm_notify_remove(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		      int eventfd)
{
	return notify(engine, gpa, len, value, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
