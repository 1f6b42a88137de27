# SPDX-License-Identifier: Apache-2.0
"""The three who run the same program on the same files: this machine, Segue, user-mode Linux."""
import os
import signal
import subprocess
import time

import lib
from seguepair import Side

MEMORY_MIB = 512


def _cmdline(cases):
    return f"panic=-1 segue.run=/programs/pv-run,{','.join(cases)}"


def _start(argv, reader, role):
    """A session of its own, whose output READER gets."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(theirs)
    reader.add(role, ours)
    return process


def _end(process):
    """All of its session: a guest's processes are this machine's."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Native:
    """In namespaces and a chroot of the guest's files, which cost a program nothing."""
    name = "native"
    extra = ("mem-stream-huge", "mem-random-huge")

    def __init__(self, files, _work):
        self.files, self.process = files, None

    def start(self, reader, cases):
        """Begins to measure CASES; when that was, ns of the monotonic clock."""
        begin = time.monotonic_ns()
        tree = self.files.tree
        script = (f"mount --rbind /dev {tree}/dev && mount -t tmpfs shm {tree}/dev/shm && "
                  f"exec chroot {tree} /programs/pv-run \"$@\"")
        self.process = _start(["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid",
                               "--fork", "--kill-child", "sh", "-c", script, "sh", *cases],
                              reader, self.name)
        return begin

    def stop(self):
        _end(self.process)


class Segue:
    name = "segue"
    extra = ()

    def __init__(self, files, work):
        self.files, self.work, self.side, self.runs = files, work, None, 0

    def start(self, reader, cases):
        self.runs += 1
        directory = os.path.join(self.work, f"segue-{self.runs}")
        os.mkdir(directory, 0o755)
        guest = lib.write_guest(
            os.path.join(directory, "g.yaml"), "g", "", memory_mib=MEMORY_MIB, engine="pv",
            kernel={"image": self.files.kernel, "initrd": self.files.initrd,
                    "cmdline": f"console=ttyS0 {_cmdline(cases)}"})
        begin = time.monotonic_ns()
        self.side = Side(self.name, lambda argv: argv, directory, guest, reader)
        return begin

    def stop(self):
        try:
            self.side.monitor.wait_end(5)
        except TimeoutError:
            self.side.monitor.kill()


class Uml:
    name = "user-mode-linux"
    extra = ()

    def __init__(self, files, work):
        self.files, self.work, self.process = files, work, None

    def start(self, reader, cases):
        begin = time.monotonic_ns()
        self.process = _start(
            [self.files.uml, f"mem={MEMORY_MIB}M", f"initrd={self.files.initrd}",
             f"uml_dir={self.work}", "con=null", "ssl=null", "con0=null,fd:1",
             *_cmdline(cases).split()], reader, self.name)
        return begin

    def stop(self):
        _end(self.process)
