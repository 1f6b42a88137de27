# SPDX-License-Identifier: Apache-2.0
"""What moves cost a paravirtual guest: being tracked, and the blackout."""
import functools
import shutil
import statistics
import sys
import tempfile
import time

import cpu
import lib
import net
from beat import Reader
from memory import MIB
from pv_cases import BLACKOUT, TRACKING
from seguepair import NAME, Pair

MEMORY = 256 * MIB
SETTLE_S = 1.0          # after the start, and before a move
QUIET_S = 4             # before and after a move that only shall be under way, and
TRACKED_S = 8           # that move
# All of 64 MiB each second, and a blackout that it never comes to.
ENDLESS = ("--bandwidth", "64M", "--compression", "none", "--downtime", "100us")
MOVE_LIMIT_S = 60.0


def pair_of(files):
    class PvPair(Pair):
        """Two monitors with a paravirtual guest of FILES."""
        options = ("--if-unconverged", "keep-trying")

        @staticmethod
        def write_guest(path, memory_mib, cmdline):
            kernel = {"image": files.kernel, "initrd": files.initrd,
                      "cmdline": f"console=ttyS0 panic=-1 {cmdline}"}
            return lib.write_guest(path, NAME, "", memory_mib=memory_mib, engine="pv",
                                   kernel=kernel)
    return PvPair


class Scene:
    """A running guest that does what CASE says, and somewhere to move it to."""

    def __init__(self, files, case):
        self.case, self.workdir = case, tempfile.mkdtemp(prefix="segue-bench-")
        self.reader = Reader()
        self.pair = None
        self.files = files

    def __enter__(self):
        self.pair = pair_of(self.files)(net.link("loopback"), self.workdir, None, MEMORY,
                                        f"segue.run=/programs/{self.case.command}", self.reader)
        self.reader.wait_for("ready on")
        time.sleep(SETTLE_S)
        self.pair.prepare(None)
        time.sleep(SETTLE_S)
        return self

    def __exit__(self, *_):
        if self.pair:
            self.pair.close()
        self.reader.close()
        shutil.rmtree(self.workdir, ignore_errors=True)


class Phase:
    """What the guest writes from now on: pages a second, and a second of its processor's."""

    def __init__(self, scene):
        self.scene, self.pid = scene, scene.pair.source.pid
        self.begin, self.used = time.monotonic_ns(), self._used_ns()

    def _used_ns(self):
        """Guest code runs in the monitor's children; the monitor's own part is left out."""
        return cpu.family_ns(self.pid) - cpu.process_ns(self.pid)

    def end(self):
        end, used = time.monotonic_ns(), self._used_ns() - self.used
        told = [list(map(int, line.split()[-2:])) for at, line in self.scene.reader.lines()
                if self.begin <= at < end and "pv-bench: written " in line]
        if len(told) < 2:
            raise RuntimeError(f"the guest was silent for {(end - self.begin) / 1e9:.1f} s")
        (first, since), (last, until) = told[0], told[-1]
        rate = (last - first) / (until - since)
        return rate, rate * (end - self.begin) / used


def slowdown(files, case):
    """Per cent; what is written before and after a move that is given up, and during it."""
    with Scene(files, case) as scene:
        scene.pair.options = (*scene.pair.options, *ENDLESS)
        before = Phase(scene)
        time.sleep(QUIET_S)
        before, during = before.end(), Phase(scene)
        if scene.pair.move(TRACKED_S) is not None:
            raise RuntimeError("the move ended: its bandwidth is too high to measure tracking")
        during, after = during.end(), Phase(scene)
        time.sleep(QUIET_S)
        after = after.end()
        wall, used = ((1 - 2 * d / (b + a)) * 100 for b, d, a in zip(before, during, after))
        return {"slowdown": wall, "per processor second": used}


def blackout(files, case):
    """ms, as the monitor tells it and as the guest's heartbeat does."""
    with Scene(files, case) as scene:
        begin = time.monotonic_ns()
        quiet = scene.reader.longest_gap(begin - int(SETTLE_S * 1e9 / 2), begin)
        if scene.pair.move(MOVE_LIMIT_S) is None:
            raise RuntimeError("the move did not end")
        lib.wait_until("the guest at the destination", lambda:
                       scene.reader.first_after("destination", begin), 10)
        told = int(scene.pair.result["progress"]["blackout"]["total"]) / 1000
        return {"told by the monitor": told,
                "between heartbeats": scene.reader.hand_over(begin) / 1e6,
                "longest between heartbeats without a move": quiet / 1e6}


def _repeat(name, runs, once):
    """Medians of RUNS; None if all of them went wrong."""
    found = []
    for _ in range(runs):
        try:
            found.append(once())
        except (RuntimeError, TimeoutError) as error:
            print(f"  {name}: {error}", file=sys.stderr, flush=True)
            continue
        shown = ", ".join(f"{k} {v:.1f}" for k, v in found[-1].items())
        print(f"  {name}: {shown}", file=sys.stderr, flush=True)
    return {key: statistics.median(f[key] for f in found) for key in found[0]} if found else None


def _tell(case, value, words=""):
    reached = "yes" if value < case.limit else "NO"
    print(f"{case.what}: {value:.1f} {case.unit}; wanted below {case.limit:g}: {reached}{words}",
          flush=True)


def _bench(report, name, case, runs, once):
    """Every key of what ONCE gives is a row; the first is what the limit is for."""
    got = _repeat(name, runs, once)
    if not got:
        print(f"{case.what}: no run of {runs} ended well", flush=True)
        report.row("pv", name, case.unit, "lower", None, case.limit, "wanted")
        return
    (_, value), *others = got.items()
    more = "; ".join(f"{key} {other:.1f}" for key, other in others)
    _tell(case, value, more and f" ({more})")
    report.row("pv", name, case.unit, "lower", value, case.limit, "wanted")
    for key, other in others:
        report.row("pv", f"{name}, {key}", case.unit, "lower", other, case.limit, "wanted")


def bench_moves(report, files, wanted, runs):
    print("== pv: moves of a guest without hardware virtualization, loopback", flush=True)
    for cases, once in ((TRACKING, slowdown), (BLACKOUT, blackout)):
        for name, case in cases.items():
            if name in wanted:
                _bench(report, name, case, runs, functools.partial(once, files, case))
