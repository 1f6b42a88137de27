# SPDX-License-Identifier: Apache-2.0
"""Programs in a paravirtual guest, beside the machine itself and beside user-mode Linux."""
import os
import re
import shutil
import statistics
import sys
import tempfile

from beat import Reader
from pv_cases import BLACKOUT, BOOT, BOOT_LIMIT_MS, CASES, HUGE, NATIVE, TRACKING, UML
from pv_image import Files
from pv_moves import bench_moves
from pv_sides import Native, Segue, Uml

SAYS = {"boot": "guest: first program", "boot-ready": "ready on"}  # tools/guest/init
LIMIT_S = 240
QUIET_LOAD = 0.5


def _values(text):
    return {name: float(value) for name, value in
            re.findall(r"^pv-bench: (\S+) ([-+0-9.e]+)\r?$", text, re.MULTILINE)}


def _clock_off(reader, got):
    """How much faster than this machine's clock the side's own went, in parts of a million."""
    begin, end = (reader.when(f"pv-bench: {word}") for word in ("clock-begin", "clock-end"))
    return ((got["clock-end"] - got["clock-begin"]) / (end - begin) - 1) * 1e6


def once(side, cases):
    """{case: value} of one run of SIDE, its start included."""
    reader = Reader()
    try:
        begin = side.start(reader, [*cases, *(e for e in side.extra if _base(e) in cases)])
        text = reader.wait_for("pv-bench: end", seconds=LIMIT_S)
        got = _values(text)
        for case, words in SAYS.items():
            if at := reader.when(words):
                got[case] = (at - begin) / 1e6
        print(f"  {side.name}: its clock was {_clock_off(reader, got):+.0f} ppm off ours",
              file=sys.stderr, flush=True)
        return got
    finally:
        side.stop()
        reader.close()


def _base(huge):
    return next(c for c, h in HUGE.items() if h == huge)


def measure(sides, cases, runs):
    """{side: {case: median}}; the sides take turns, every second round backwards."""
    results = {side.name: [] for side in sides}
    for run in range(runs):
        print(f"  round {run + 1} of {runs}", file=sys.stderr, flush=True)
        for side in sides if run % 2 == 0 else sides[::-1]:
            try:
                results[side.name].append(once(side, cases))
            except (RuntimeError, TimeoutError) as error:
                print(f"  {side.name}: {error}", file=sys.stderr, flush=True)
    return {name: {case: statistics.median(r[case] for r in each) for case in each[0]}
            if each else {} for name, each in results.items()}


# ---- telling ----

def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def verdict(name, case, ours, peers):
    """What was wanted, and whether it is so."""
    if name in BOOT:
        wanted, reached = f"< {BOOT_LIMIT_MS} ms", ours and ours < BOOT_LIMIT_MS
    elif case.wanted:
        peer = peers.get(case.peer)
        wanted = f"{case.wanted:g} x {'native' if case.peer == NATIVE else 'UML'}"
        reached = ours and peer and case.speed(ours, peer) >= case.wanted
    else:
        return "", ""
    return wanted, "yes" if reached else "NO"


def line(name, case, medians):
    got = {side: values.get(name) for side, values in medians.items()}
    ours = got.pop("segue")
    speeds = [f"{case.speed(ours, got[p]):.2f}" if ours and got.get(p) else "-"
              for p in (NATIVE, UML)]
    wanted = verdict(name, case, ours, got)
    values = [number(each) for each in (got.get(NATIVE), ours, got.get(UML))]
    return [name, case.what, case.unit, *values, *speeds, *wanted]


def huge_lines(medians):
    for case, huge in HUGE.items():
        if huge in medians[NATIVE] and case in medians["segue"]:
            yield (f"  native with huge pages, {case}: {number(medians[NATIVE][huge])} "
                   f"{CASES[case].unit}; ours is "
                   f"{CASES[case].speed(medians['segue'][case], medians[NATIVE][huge]):.2f} of that")


def columns(lines):
    widths = [max(len(each[i]) for each in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(v.ljust(w) if i < 3 else v.rjust(w)
                               for i, (v, w) in enumerate(zip(each, widths))).rstrip()
                     for each in lines)


def table(chosen, medians):
    lines = [["case", "what", "unit", "native", "segue", "UML", "x native", "x UML", "wanted",
              "reached"]]
    lines += [line(name, case, medians) for name, case in chosen.items()]
    return "\n".join(["== pv: programs in a guest without hardware virtualization "
                      "(x: times as fast as)", columns(lines), *huge_lines(medians)])


def rows(report, chosen, medians):
    for name, case in chosen.items():
        ours = medians["segue"].get(name)
        for peer in (NATIVE, UML):
            if name in medians[peer]:
                report.row("pv", name, case.unit, case.better, ours, medians[peer][name], peer)
        if HUGE.get(name) in medians[NATIVE]:
            report.row("pv", name, case.unit, case.better, ours, medians[NATIVE][HUGE[name]],
                       "native, huge pages")


# ---- all of it ----

def bench_programs(report, files, work, wanted, runs):
    chosen = {name: case for name, case in {**CASES, **BOOT}.items() if name in wanted}
    sides = [kind(files, work) for kind in (Native, Segue, Uml)]
    medians = measure(sides, [c for c in chosen if c in CASES], runs)
    print(table(chosen, medians), flush=True)
    rows(report, chosen, medians)


def bench_pv(report, build, runs, wanted):
    """Measures those of pv_cases.EVERYTHING that are WANTED."""
    if (load := os.getloadavg()[0]) > QUIET_LOAD:
        print(f"== pv: this machine is busy with other things (load {load:.1f}): "
              "expect figures that say little", flush=True)
    work = tempfile.mkdtemp(prefix="segue-bench-pv-")
    os.chmod(work, 0o755)
    try:
        files = Files(work, build)
        if set(wanted) & {*CASES, *BOOT}:
            bench_programs(report, files, work, wanted, runs)
        if set(wanted) & {*TRACKING, *BLACKOUT}:
            bench_moves(report, files, wanted, runs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
