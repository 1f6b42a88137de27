# SPDX-License-Identifier: Apache-2.0
"""Measures moves: the same guest, the same way, whoever moves it."""
import os
import shutil
import sys
import tempfile
import time

import cpu
import memory
import net
import qemu
from beat import Reader, calibrate_tsc_khz, check_beats
from report import median

SETTLE = 0.4        # seconds the guest runs before it is moved, and after
MOVE_LIMIT = 40.0   # seconds until a move counts as not converging
STOLEN = 0.05       # share of all processors in a move, from which on it says nothing
AGAIN = 4           # moves at most for one that does


def ms(ns):
    return ns / 1e6


def _guest_and_meters(pair):
    """Meters for both processes, neither counting its guest."""
    source = cpu.Meter(pair.source.pid, cpu.vcpu_thread(pair.source.pid))
    return source, cpu.Meter(pair.destination.pid)


def _destination_ns(meter, pid):
    everything = {t: cpu.thread_ns(pid, t) for t in cpu.thread_list(pid)}
    own = meter.own_ns()
    return own - everything.get(cpu.vcpu_thread(pid), 0)


def measure(pair, case, reader, setting):
    """One move. A dict of what was seen; total is None if it never ended."""
    reader.wait_for("stress: ready", "source")
    memory.prefill(pair.source.pid, case.memory, case.content, case.touched)
    memory.warm(2 * case.memory)
    pair.prepare(setting)
    time.sleep(SETTLE)
    resident = memory.overhead_resident(pair.source.pid, case.memory)
    source, destination = _guest_and_meters(pair)
    stolen = cpu.stolen_ms()
    begin = time.monotonic_ns()
    done = pair.move(MOVE_LIMIT)
    stolen = cpu.stolen_ms() - stolen
    if done is None:
        return {"total": None}
    while not (alive := reader.first_after("destination", begin)):
        if time.monotonic_ns() - done > 5e9:
            raise RuntimeError("the guest is not heard of at the destination")
        time.sleep(0.001)
    spent = source.own_ns() + _destination_ns(destination, pair.destination.pid)
    time.sleep(SETTLE)
    text = reader.text()
    if "FAIL" in text or check_beats(text):
        raise RuntimeError(f"the guest was damaged: {check_beats(text) or text[text.index('FAIL'):]}")
    end = time.monotonic_ns() - 50_000_000
    return {
        "total": ms(max(done, alive) - begin),
        "blackout": ms(reader.hand_over(begin)),
        "worst gap": ms(reader.longest_gap(begin, end)),
        "quiet gap": ms(reader.longest_gap(begin - 300_000_000, begin)),
        "cpu": spent / 1e9 / (case.memory / (1 << 30)),
        "resident": max(resident, memory.overhead_resident(pair.destination.pid, case.memory)) / (1 << 20),
        "wire": pair.sent_mib(),
        "stolen": stolen,
    }


def one_run(make, case, setting, where, image, tsc_khz):
    workdir = tempfile.mkdtemp(prefix="segue-bench-")
    reader = Reader()
    pair = None
    try:
        pair = make(where, workdir, image, case.memory, case.cmdline(tsc_khz), reader)
        return measure(pair, case, reader, setting)
    finally:
        if pair:
            pair.close()
        reader.close()
        shutil.rmtree(workdir, ignore_errors=True)


def contenders(settings, peers):
    """Settings that are, or may with luck turn out, the best in one figure or another."""
    kept = set()
    for key in ("total", "blackout", "cpu"):
        medians = {s: m for s in settings if (m := median(peers[s], key)) is not None}
        kept |= {s for s, m in medians.items() if m <= 1.5 * min(medians.values())}
    return [s for s in settings if s in kept]


class Runner:
    """RUNS rounds of a case, ours and each of SETTINGS (None: those worth trying on the case)
    once a round, in alternating order. Settings that two rounds have shown to be best at
    nothing are spared the others."""

    def __init__(self, image, runs, settings, ours=None, log=sys.stderr):
        self.image, self.runs, self.settings, self.ours, self.log = image, runs, settings, ours, log
        self.tsc_khz = calibrate_tsc_khz()
        self.lost = {}  # (case, who, setting): moves that did not end
        self.broken = 0  # moves that went wrong, not merely took too long

    def order(self, run, settings):
        entries = [("ours", self.ours, "")] if self.ours else []
        entries += [("peer", qemu.Pair, s) for s in settings]
        return entries if run % 2 == 0 else entries[::-1]

    def case(self, case):
        settings = case.settings() if self.settings is None else self.settings
        ours, peers = [], {s: [] for s in settings}
        where = net.link(case.link)
        try:
            for run in range(self.runs):
                for kind, make, setting in self.order(run, settings):
                    got = self._attempt(make, case, setting, where)
                    (ours if kind == "ours" else peers[setting]).append(got)
                if run == 1:
                    settings = contenders(settings, peers)
        finally:
            where.close()
        return ours, peers

    def once(self, case):
        """One of our moves on an unshaped link."""
        where = net.link(case.link)
        try:
            return self._attempt(self.ours, case, "", where)
        finally:
            where.close()

    def _attempt(self, make, case, setting, where):
        """One move; again where the machine's own host took processors away in the middle."""
        for _ in range(AGAIN):
            got = self._move(make, case, setting, where)
            if not got["total"] or got["stolen"] <= STOLEN * os.cpu_count() * got["total"]:
                break
            print(f"    {got['stolen']:.0f} ms stolen by this machine's host: again", file=self.log)
        return got

    def _move(self, make, case, setting, where):
        # A setting that lost two runs to its time limit loses the others too; don't wait.
        key = (case.name, make.name, setting)
        if self.lost.get(key, 0) >= 2:
            return {"total": None}
        try:
            got = one_run(make, case, setting, where, self.image, self.tsc_khz)
        except (RuntimeError, TimeoutError, OSError) as error:
            print(f"{case.name}, {make.name} {setting}: {error}", file=self.log)
            got = {"total": None}
            self.broken += 1
        self.lost[key] = self.lost.get(key, 0) + (got["total"] is None)
        shown = "did not end" if got["total"] is None else (
            f"{got['total']:.0f} ms, blackout {got['blackout']:.1f} ms, worst gap {got['worst gap']:.1f} ms, quiet {got['quiet gap']:.1f} ms, "
            f"cpu {got['cpu']:.3f} s/GiB")
        print(f"  {case.name}: {make.name} {setting}: {shown}", file=self.log)
        return got


def build_file(build, *names):
    path = os.path.join(build, *names)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not built: ninja -C {build}")
    return path
