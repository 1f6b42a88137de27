# SPDX-License-Identifier: Apache-2.0
"""What moves cost a paravirtual guest: being tracked, and the blackout."""
import functools
import shutil
import statistics
import sys
import tempfile
import time

import lib
import net
from beat import Reader
from memory import MIB
from pv_cases import BLACKOUT, TRACKING
from seguepair import NAME, Pair

MEMORY = 256 * MIB
SETTLE_S = 2.0          # after the start, and before a move
TRACKED_S = 6           # a move that only shall be under way
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


def written(reader, begin, end):
    """Pages a second that the guest told of between two times."""
    found = [float(line.split()[-1]) for at, line in reader.lines()
             if begin < at < end and "pv-bench: written " in line]
    if not found:
        raise RuntimeError("the guest does not say what it writes")
    return statistics.mean(found)


def slowdown(files, case):
    """Per cent; the rate before and after a move that is given up beside that during it."""
    with Scene(files, case) as scene:
        scene.pair.options = (*scene.pair.options, *ENDLESS)
        begin = time.monotonic_ns()
        if scene.pair.move(TRACKED_S) is not None:
            raise RuntimeError("the move ended: its bandwidth is too high to measure tracking")
        end = time.monotonic_ns()
        time.sleep(SETTLE_S)
        during = written(scene.reader, begin, end)
        quiet = [written(scene.reader, begin - int(SETTLE_S * 1e9), begin),
                 written(scene.reader, end, time.monotonic_ns())]
        return {"slowdown": (1 - during / statistics.mean(quiet)) * 100}


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
