# SPDX-License-Identifier: Apache-2.0
"""Guests of the paravirtual engine that move there and back between two hosts.

At each move all of the guest's memory at the destination is compared with that of the paused
source, by the hash that both monitors make of it and log (SEGUE_TEST_DIGEST). With --figures it
is not, and the blackouts told are those of the product.
"""
import os
import shutil
import statistics
import sys

import lib
from lib import Skip, check, say

sys.path.insert(0, os.path.join(lib.ROOT, "tools"))
from lablib import guest_kernel, image  # noqa: E402  pylint: disable=wrong-import-position

# How the hosts of a pair find out which pages were written; old: as a host with an old kernel
# does, which has no gate either; own: as they choose.
PAIRS = {"uffd": ("uffd", "uffd"), "mprotect": ("mprotect", "mprotect"),
         "mixed": ("uffd", "old"), "own": (None, None)}
# How long the blackout is, is the benchmark's question; a busy machine shall not fail a test.
PATIENT = ("--downtime", "5s")


def option(name, fallback):
    for word in sys.argv[1:]:
        if word.startswith(f"--{name}="):
            return word.split("=", 1)[1]
    return fallback


def wanted_moves(fallback):
    return int(option("moves", os.environ.get("SEGUE_TEST_MOVES", fallback)))


def brief():
    return os.environ.get("SEGUE_TEST_BRIEF") == "1"


def comparing():
    """Without --figures: hashing all memory takes its time in the blackout."""
    return "--figures" not in sys.argv


def environment(dirty=None, **more):
    env = {**({"SEGUE_TEST_DIGEST": "1"} if comparing() else {}), **more}
    if dirty == "old":
        env.update(SEGUE_PV_DIRTY="mprotect", SEGUE_PV_GATE="closed")
    elif dirty:
        env["SEGUE_PV_DIRTY"] = dirty
    return env


def need_linux(*programs):
    """The kernel of tools/guest-kernel; without it, or one of PROGRAMS, the test is skipped."""
    for path in (lib.VMM, lib.SEGUE, *programs):
        if not os.path.exists(path):
            raise Skip(f"{path} is not built")
    kernel = guest_kernel.cached()
    if not kernel:
        raise Skip("no kernel: run tools/guest-kernel")
    return kernel


def linux(case, kernel, cmdline, packages=(), add=(), memory_mib=256, **more):
    """The file of a guest with PACKAGES and the programs ADD in its initial file system."""
    mine, initrd = (os.path.join(case.dir, name) for name in ("kernel", "initrd"))
    if not os.path.exists(initrd):
        shutil.copyfile(kernel, mine)  # the cache may not be everybody's to read
        image.initramfs(initrd, guest_kernel.NoModules, packages=packages, add=add)
    return case.guest(memory_mib=memory_mib, engine="pv", kernel={
        "image": mine, "initrd": initrd, "cmdline": f"console=ttyS0 {cmdline}"}, **more)


KERNEL_COMPLAINS = ("Kernel panic", "WARNING:", "BUG:", "Oops", "EXT4-fs error")


def check_good(*hosts, complaints=("FAILED", *KERNEL_COMPLAINS)):
    """Neither the guest's programs nor its kernel complained."""
    for host in hosts:
        text = host.serial()
        for bad in complaints:
            check(bad not in text, f"{bad}: ...{text[max(text.find(bad) - 200, 0):][:600]!r}")


def check_same_memory(source, target):
    if not comparing():
        return
    check(source.digest() is not None, "the source told no digest of its memory")
    check(source.digest() == target.digest(),
          f"memory differs: {source.digest()} left, {target.digest()} arrived")


class End:
    """One of the two hosts, and how its monitors of the guest are started."""

    def __init__(self, host, path, dirty, listen="127.0.0.1:0", **options):
        self.host, self.path, self.dirty, self.listen = host, path, dirty, listen
        self.options = options

    def run(self):
        return self.host.run(self.path, env=environment(self.dirty), **self.options)

    def receive(self):
        return self.host.receive(self.path, listen=self.listen, env=environment(self.dirty),
                                 **self.options)


class Traveller:
    """A guest that runs at the first of two ends."""

    def __init__(self, here, there):
        self.here, self.there = here, there
        self.monitor = here.run()
        self.count, self.blackouts, self.totals = 0, [], []

    @property
    def host(self):
        return self.here.host

    def move(self, alive, how=PATIENT):
        """To the other end. ALIVE(host, since) waits for a sign of life there: something new
        after SINCE characters on its serial port, or however else the guest shows it."""
        target = self.there.receive()
        since = len(self.there.host.serial())
        done = self.host.move(target.listen, *how, ok=False)
        check(done.returncode == 0 and done.json["outcome"] == "moved",
              f"exit {done.returncode}: {done.stderr.strip()} {done.json}")
        check_same_memory(self.monitor, target)
        self._note(done.json["progress"])
        source, self.monitor = self.monitor, target
        self.here, self.there = self.there, self.here
        alive(self.host, since)
        source.wait_end()

    def _note(self, progress):
        self.count += 1
        if "blackout" not in progress:
            # The destination was slow, comparing all memory on a busy machine: the source had
            # to ask whether it runs the guest, and cannot tell for how long nobody did.
            return
        self.blackouts.append(int(progress["blackout"]["total"]) / 1000)
        self.totals.append(int(progress["elapsed_us"]) / 1000)

    def summary(self):
        say(f"{self.here.dirty or 'own'} and {self.there.dirty or 'own'}: {self.count} moves, "
            f"blackout {spread(self.blackouts)}; in all {spread(self.totals)}")


def spread(values):
    if not values:
        return "not known"
    return f"median {statistics.median(values):.1f} ms, longest {max(values):.1f}"
