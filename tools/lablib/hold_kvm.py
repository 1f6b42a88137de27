#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps two idle virtual machines in a host, so that KVM's first and last ones never come.

With its first machine KVM has the kernel patch its own scheduler, and with the last one patch
it back (static keys: preempt_notifier_key, kvm_has_noapic_vcpu, apic_sw_disabled). An emulated
processor may go on with what it translated in mid-patch, an INT3, and the host stands still for
good: QEMU before 8.2 reads code for translation before it guards the page.
"""
import fcntl
import os
import signal

KVM_CREATE_VM, KVM_CREATE_IRQCHIP, KVM_CREATE_VCPU = 0xAE01, 0xAE60, 0xAE41


def main():
    kvm = os.open("/dev/kvm", os.O_RDWR)
    for irqchip in True, False:
        machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
        if irqchip:
            fcntl.ioctl(machine, KVM_CREATE_IRQCHIP, 0)
        fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
