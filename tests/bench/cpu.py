# SPDX-License-Identifier: Apache-2.0
"""Processor time of other processes, with and without the guests they run."""
import os
import threading
import time


def stolen_ms():
    """Time this machine's own host has withheld its processors, all of them together."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) * 1000 / os.sysconf("SC_CLK_TCK")


def process_ns(pid):
    """All threads of PID, ended ones too (the clock clock_getcpuclockid(3) names)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def family_ns(pid):
    """PID, and all processes it has started that are still there, with theirs."""
    total, todo = 0, [pid]
    while todo:
        pid = todo.pop()
        try:
            total += process_ns(pid)
            for tid in thread_list(pid):
                with open(f"/proc/{pid}/task/{tid}/children") as children:
                    todo += map(int, children.read().split())
        except OSError:
            pass
    return total


def thread_ns(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/schedstat") as stat:
        return int(stat.read().split()[0])


def thread_list(pid):
    return [int(t) for t in os.listdir(f"/proc/{pid}/task")]


def busiest_thread(pid, seconds=0.05):
    """While nothing else goes on, the thread that runs the guest is the one that runs."""
    before = {t: thread_ns(pid, t) for t in thread_list(pid)}
    time.sleep(seconds)
    return max(before, key=lambda t: thread_ns(pid, t) - before[t])


def vcpu_thread(pid):
    """QEMU names its vCPU threads "CPU n/KVM", others "vcpu..."; else the busiest one."""
    for t in thread_list(pid):
        with open(f"/proc/{pid}/task/{t}/comm") as comm:
            name = comm.read().lower()
        if name.startswith(("cpu 0/", "vcpu")):
            return t
    return busiest_thread(pid)


class Meter:
    """Processor time a process spends on anything but its guest, from creation on. Still good
    when the process has ended, until its parent has waited for it."""

    def __init__(self, pid, vcpu=None):
        self.pid, self.vcpu = pid, vcpu
        self.all0 = process_ns(pid)
        self.vcpu0 = self.vcpu1 = thread_ns(pid, vcpu) if vcpu else 0
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()

    def _sample(self):
        """The guest's thread may end with the move, and its own time with it."""
        while self.vcpu and not self.stop.wait(0.005):
            try:
                self.vcpu1 = thread_ns(self.pid, self.vcpu)
            except OSError:
                return

    def own_ns(self):
        self.stop.set()
        self.sampler.join()
        try:
            if self.vcpu:
                self.vcpu1 = thread_ns(self.pid, self.vcpu)
        except OSError:
            pass
        return process_ns(self.pid) - self.all0 - (self.vcpu1 - self.vcpu0)
