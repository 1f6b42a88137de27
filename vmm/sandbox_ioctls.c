/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_internal.h"

#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

/* Every ioctl a monitor may make after its start, whatever runs its guest. */
const struct sandbox_ioctl sandbox_ioctls[] = {
    {TUNSETOFFLOAD, "checksum offload, as the guest's driver asks"},
    {TUNSETVNETHDRSZ, "length of virtio's header"},
    {BLKGETSIZE64, "size of a disk that is a block device"},
    {FIONBIO, "libuv: non-blocking sockets"},
    {FIONREAD, "libuv: how much is waiting"},
    {TCGETS, "libc: is the log a terminal"},
    {0, NULL},
};

/*
 * Making VMs, vCPUs, interrupt controllers and memory slots is done by then, and not in the
 * list.
 */
const struct sandbox_ioctl sandbox_ioctls_kvm[] = {
    {KVM_RUN, "the guest"},

    {KVM_GET_REGS, "saving a vCPU"},
    {KVM_SET_REGS, "loading a vCPU, boot"},
    {KVM_GET_SREGS, "saving a vCPU"},
    {KVM_SET_SREGS, "loading a vCPU, boot"},
    {KVM_GET_SREGS2, "saving a vCPU"},
    {KVM_SET_SREGS2, "loading a vCPU"},
    {KVM_GET_MSRS, "saving a vCPU"},
    {KVM_SET_MSRS, "loading a vCPU, boot"},
    {KVM_GET_XSAVE, "saving a vCPU"},
    {KVM_GET_XSAVE2, "saving a vCPU"},
    {KVM_SET_XSAVE, "loading a vCPU, boot"},
    {KVM_GET_XCRS, "saving a vCPU"},
    {KVM_SET_XCRS, "loading a vCPU, boot"},
    {KVM_GET_DEBUGREGS, "saving a vCPU"},
    {KVM_SET_DEBUGREGS, "loading a vCPU, boot"},
    {KVM_GET_LAPIC, "saving a vCPU"},
    {KVM_SET_LAPIC, "loading a vCPU, boot"},
    {KVM_GET_MP_STATE, "saving a vCPU"},
    {KVM_SET_MP_STATE, "loading a vCPU, boot"},
    {KVM_GET_VCPU_EVENTS, "saving a vCPU"},
    {KVM_SET_VCPU_EVENTS, "loading a vCPU, boot"},
    {KVM_GET_TSC_KHZ, "contract, saving a vCPU"},
    {KVM_SET_TSC_KHZ, "loading a vCPU"},
    {KVM_KVMCLOCK_CTRL, "telling the guest's watchdogs that it stood still"},
    {KVM_GET_DEVICE_ATTR, "TSC offset of a vCPU"},
    {KVM_SET_DEVICE_ATTR, "TSC offset of a vCPU"},

    {KVM_GET_CLOCK, "freezing time"},
    {KVM_SET_CLOCK, "letting it go on"},
    {KVM_GET_IRQCHIP, "saving interrupt controllers"},
    {KVM_SET_IRQCHIP, "loading interrupt controllers, boot"},
    {KVM_GET_PIT2, "saving the timer"},
    {KVM_SET_PIT2, "loading the timer, boot"},
    {KVM_IRQ_LINE, "level interrupts"},
    {KVM_SIGNAL_MSI, "message interrupts"},
    {KVM_IOEVENTFD, "doorbells that move with a BAR"},

    {KVM_SET_USER_MEMORY_REGION, "dirty log on and off"},
    {KVM_GET_DIRTY_LOG, "dirty log"},
    {KVM_CLEAR_DIRTY_LOG, "dirty log"},
    {KVM_CHECK_EXTENSION, "contract of an incoming guest"},
    {KVM_GET_SUPPORTED_CPUID, "contract of an incoming guest"},
    {0, NULL},
};

#ifndef PAGEMAP_SCAN /* Linux 6.7: struct pm_scan_arg is twelve words of 64 bits */
#define PAGEMAP_SCAN _IOWR('f', 16, uint64_t[12])
#endif

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif

/* On descriptors of domains, which come from the process that makes them. */
const struct sandbox_ioctl sandbox_ioctls_pv[] = {
    {SECCOMP_IOCTL_NOTIF_RECV, "what guest code asks for"},
    {SECCOMP_IOCTL_NOTIF_SEND, "its answer"},
    {SECCOMP_IOCTL_NOTIF_ID_VALID, "whether it still waits"},
    {SECCOMP_IOCTL_NOTIF_ADDFD, "letting the guest's kernel wait for its programs itself"},
    {SECCOMP_IOCTL_NOTIF_SET_FLAGS, "waking the other side on the same processor"},
    {UFFDIO_API, "written pages of a domain"},
    {UFFDIO_REGISTER, "written pages of a domain"},
    {UFFDIO_UNREGISTER, "written pages of a domain"},
    {UFFDIO_WRITEPROTECT, "written pages of a domain"},
    {PAGEMAP_SCAN, "written pages of a domain"},
    {0, NULL},
};
