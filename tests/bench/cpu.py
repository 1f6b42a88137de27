# SPDX-License-Identifier: Apache-2.0
"""Processor time of other processes, with and without the guests they run."""
import os
import time


def process_ns(pid):
    """All threads of PID, ended ones too (the clock clock_getcpuclockid(3) names)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def thread_ns(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/schedstat") as stat:
        return int(stat.read().split()[0])


def threads(pid):
    return [int(t) for t in os.listdir(f"/proc/{pid}/task")]


def busiest_thread(pid, seconds=0.05):
    """While nothing else goes on, the thread that runs the guest is the one that runs."""
    before = {t: thread_ns(pid, t) for t in threads(pid)}
    time.sleep(seconds)
    return max(before, key=lambda t: thread_ns(pid, t) - before[t])


def vcpu_thread(pid):
    """QEMU names its vCPU threads "CPU n/KVM", others "vcpu..."; else the busiest one."""
    for t in threads(pid):
        with open(f"/proc/{pid}/task/{t}/comm") as comm:
            name = comm.read().lower()
        if name.startswith(("cpu 0/", "vcpu")):
            return t
    return busiest_thread(pid)


class Meter:
    """Processor time a process spends on anything but its guest, from creation on."""

    def __init__(self, pid, vcpu=None):
        self.pid, self.vcpu = pid, vcpu
        self.all0 = process_ns(pid)
        self.vcpu0 = thread_ns(pid, vcpu) if vcpu else 0

    def own_ns(self):
        guest = thread_ns(self.pid, self.vcpu) - self.vcpu0 if self.vcpu else 0
        return process_ns(self.pid) - self.all0 - guest
