# SPDX-License-Identifier: Apache-2.0
"""Processes that others leave behind become children of this one, which ends them at its end.

A monitor goes into the background by having its parent end. Whatever interrupts a quickstart,
and whenever, no such process is forgotten: it need not have told anybody that it exists.
"""
import ctypes
import os
import signal

PR_SET_CHILD_SUBREAPER = 36


def adopt():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def children():
    return [int(pid) for pid in os.listdir("/proc")
            if pid.isdigit() and _parent(pid) == os.getpid()]


def reap(known):
    """Reap those children that have ended, as far as none of KNOWN processes has."""
    try:
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in known:
                return
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        pass


def end():
    """Kill and reap every child, and theirs, which then become ours."""
    while found := children():
        for pid in found:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
