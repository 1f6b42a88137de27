# SPDX-License-Identifier: Apache-2.0
"""What a monitor has under it: processes, and the memory they take besides the guest's RAM."""
import os
import re

from lib import wait_until


def parents():
    """pid -> (parent, start time) of every process that has not ended; when whoever inherited
    one takes note of its end is not the monitor's business."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin1") as stat:
                words = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if words[0] != "Z":
            found[int(pid)] = (int(words[1]), int(words[19]))
    return found


def descendants(pid):
    """(pid, start time) of everything PID has brought about that is still its own."""
    everyone = parents()
    children = {}
    for child, (parent, _) in everyone.items():
        children.setdefault(parent, []).append(child)
    wanted, found = [pid], set()
    while wanted:
        for child in children.get(wanted.pop(), ()):
            found.add((child, everyone[child][1]))
            wanted.append(child)
    return found


def left_over(seen):
    everyone = parents()
    return {pid for pid, start in seen if everyone.get(pid, (0, 0))[1] == start}


def _kib(path, pattern):
    try:
        with open(path, encoding="latin1") as file:
            return sum(map(int, re.findall(pattern, file.read(), re.MULTILINE)))
    except OSError:  # it has ended
        return 0


def _engine_files_kib(pid):
    """What its files in memory that are not guest RAM take."""
    kib, fds = 0, f"/proc/{pid}/fd"
    for fd in os.listdir(fds):
        if "memfd:segue-pv" in os.readlink(os.path.join(fds, fd)):
            kib += os.stat(os.path.join(fds, fd)).st_blocks // 2
    return kib


def memory_kib(pid):
    """KiB that a monitor and all its processes take besides guest RAM: what they have for
    themselves, their part of files, and the host's page tables for them."""
    every = [pid, *(child for child, _ in descendants(pid))]
    return _engine_files_kib(pid) + sum(
        _kib(f"/proc/{each}/smaps_rollup", r"^Pss_(?:Anon|File): +(\d+)") +
        _kib(f"/proc/{each}/status", r"^VmPTE:\s+(\d+)") for each in every)


class Watch:
    """What a monitor has under it, looked at now and then while it runs."""

    def __init__(self, monitor):
        self.monitor, self.seen, self.most = monitor, set(), 0

    def look(self):
        now = descendants(self.monitor.pid)
        self.seen |= now
        self.most = max(self.most, len(now))

    def check_gone(self):
        wait_until("end of every process of the guest", lambda: not left_over(self.seen), 5)
