/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_MSR_H
#define VMM_ENGINE_KVM_MSR_H

/* Intel SDM volume 4; Documentation/virt/kvm/x86/msr.rst for KVM's own. */
#define MSR_TSC            0x10u
#define MSR_MCG_CAP        0x179u
#define MSR_MISC_ENABLE    0x1a0u
#define MSR_MTRR_BASE0     0x200u
#define MSR_MTRR_DEF_TYPE  0x2ffu
#define MSR_MC0_CTL        0x400u
#define MSR_TSC_DEADLINE   0x6e0u
#define MSR_KVM_WALL_CLOCK     0x11u
#define MSR_KVM_WALL_CLOCK_NEW 0x4b564d00u

#define MISC_ENABLE_FAST_STRING 1ull
#define MTRR_ENABLE        (1ull << 11)
#define MTRR_WRITE_BACK    6ull

#endif
