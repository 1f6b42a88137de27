/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/engine/kvm/kvm.h"

/*
 * Can this host run guests with KVM? Every way in which it cannot has one line of its own,
 * with what to do about it.
 */
#define KVM_DEVICE "/dev/kvm"

static const struct {
	unsigned cap;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "USER_MEMORY"},
	{KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR"},
	{KVM_CAP_EXT_CPUID, "EXT_CPUID"},
	{KVM_CAP_IRQCHIP, "IRQCHIP"},
	{KVM_CAP_PIT2, "PIT2"},
	{KVM_CAP_PIT_STATE2, "PIT_STATE2"},
	{KVM_CAP_IOEVENTFD, "IOEVENTFD"},
	{KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI"},
	{KVM_CAP_MP_STATE, "MP_STATE"},
	{KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS"},
	{KVM_CAP_DEBUGREGS, "DEBUGREGS"},
	{KVM_CAP_XSAVE, "XSAVE"},
	{KVM_CAP_XCRS, "XCRS"},
	{KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK"},
	{KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ"},
	{KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
	{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "MANUAL_DIRTY_LOG_PROTECT2"},
};

int kvm_open(struct error *err)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		return error_set(err, -ENOENT,
				 KVM_DEVICE " does not exist: load kvm_intel or kvm_amd, turn on "
				 "virtualization in the firmware, or, in a virtual machine, have "
				 "its host allow nested virtualization");
	case EACCES:
	case EPERM:
		return error_set(err, -EACCES,
				 "no permission to open " KVM_DEVICE ": add the user to the group "
				 "kvm (`usermod -aG kvm USER`) and log in again");
	case ENODEV:
	case ENXIO:
		return error_set(err, -ENODEV,
				 KVM_DEVICE " has no processor behind it: turn on virtualization in "
				 "the firmware, or check the kernel's log for why kvm_intel or "
				 "kvm_amd did not load");
	default:
		return error_system(err, -errno, "cannot open " KVM_DEVICE);
	}
}

static int version_check(int kvm, struct error *err)
{
	int version = kvm_ioctl(kvm, KVM_GET_API_VERSION, NULL);

	if (version == KVM_API_VERSION)
		return 0;
	return error_set(err, -ENOTSUP, KVM_DEVICE " speaks version %d, not %d: use the "
			 "kernel's own KVM modules", version, KVM_API_VERSION);
}

static int caps_check(int kvm, struct error *err)
{
	char missing[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (kvm_ioctl_value(kvm, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		len += (size_t)snprintf(missing + len, sizeof(missing) - len, "%s%s",
					len ? ", " : "", needed[i].name);
		if (len >= sizeof(missing))
			break;
	}
	if (!len)
		return 0;
	return error_set(err, -ENOTSUP, "KVM here lacks %s: a kernel of 5.10 or later has all "
			 "that is needed", missing);
}

static void bits_add(struct cpuid_table *table, uint32_t function, uint32_t ecx)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, function, 0);

	if (e)
		e->ecx |= ecx;
}

/*
 * KVM_GET_SUPPORTED_CPUID leaves three bits to its caller (api.rst there): X2APIC comes
 * with an in-kernel interrupt controller, TSC_DEADLINE with a capability, and HYPERVISOR
 * is what we are.
 */
static void bits_complete(int kvm, struct cpuid_table *table)
{
	bits_add(table, 1, 1u << 31 | 1u << 21);
	if (kvm_ioctl_value(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		bits_add(table, 1, 1u << 24);
}

int kvm_host_cpuid(int kvm, struct cpuid_table *ret_table, struct error *err)
{
	struct kvm_cpuid2 *list;
	int r;

	list = calloc(1, sizeof(*list) + sizeof(ret_table->entries));
	if (!list)
		return error_system(err, -ENOMEM, "the host's CPU features");
	list->nent = CPUID_ENTRIES_MAX;
	r = kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, list);
	if (r >= 0) {
		ret_table->count = list->nent;
		memcpy(ret_table->entries, list->entries,
		       list->nent * sizeof(list->entries[0]));
	}
	free(list);
	if (r < 0)
		return error_system(err, r, "KVM does not tell the host's CPU features");
	bits_complete(kvm, ret_table);
	return 0;
}

int kvm_probe(const Segue__Guest *guest, struct error *err)
{
	int kvm = kvm_open(err);
	int r;

	if (kvm < 0)
		return kvm;
	r = version_check(kvm, err);
	if (r == 0)
		r = caps_check(kvm, err);
	if (r == 0 && !(guest && guest->allow_emulation))
		r = kvm_speed_probe(kvm, err);
	close(kvm);
	return r;
}
