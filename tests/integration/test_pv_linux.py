#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Linux as a paravirtual guest: what programs expect of it, its ways to end, its moves.

Needs the kernel of tools/guest-kernel in the cache.
--moves=N, or SEGUE_TEST_MOVES: how many (10).
"""
import os
import re
import shutil
import statistics
import sys

import lib
from lib import Case, Guest, Skip, check, main, say, wait_until

sys.path.insert(0, os.path.join(lib.ROOT, "tools"))
from lablib import guest_kernel, image  # noqa: E402  pylint: disable=wrong-import-position

BUILD = os.environ.get("SEGUE_BUILD", os.path.join(lib.ROOT, "build"))
CHECK = os.path.join(BUILD, "tests", "integration", "linux-check")
NOBODY = 61184  # nobody else has processes under it
KERNEL = None


def needs():
    global KERNEL
    for path in (lib.VMM, lib.SEGUE, CHECK):
        if not os.path.exists(path):
            raise Skip(f"{path} is not built")
    KERNEL = guest_kernel.cached()
    if not KERNEL:
        raise Skip("no kernel: run tools/guest-kernel")


def guest(case, cmdline, **more):
    kernel, initrd = (os.path.join(case.dir, name) for name in ("kernel", "initrd"))
    if not os.path.exists(initrd):
        shutil.copyfile(KERNEL, kernel)  # the cache may not be everybody's to read
        image.initramfs(initrd, guest_kernel.NoModules, add=[CHECK])
    return case.guest(memory_mib=256, engine="pv", kernel={
        "image": kernel, "initrd": initrd, "cmdline": f"console=ttyS0 {cmdline}"}, **more)


def wait_said(host, word, seconds=60):
    wait_until(f"{word!r} from the guest", lambda: word in host.serial(), seconds)


def check_good(*hosts):
    for host in hosts:
        for bad in ("FAILED", "Kernel panic", "WARNING:", "BUG:"):
            text = host.serial()
            check(bad not in text, f"{bad}: ...{text[max(text.find(bad) - 200, 0):][:400]!r}")


# ---- one guest ----

def everything(case, **options):
    monitor = case.a.run(guest(case, "segue.run=/programs/linux-check"), **options)
    wait_said(case.a, "linux-check: end")
    check_good(case.a)
    up = re.search(r"guest: ([0-9.]+) ready", case.a.serial())
    say(f"ready {up.group(1) if up else '?'} s after the kernel began")
    return monitor


def programs():
    """signals, faults, threads, forks, tracing; and the power button ends it in good order"""
    with Case() as case:
        monitor = everything(case)
        case.a.segue("stop", "g")
        check(monitor.wait_end(20) == 0, monitor.messages())
        check("guest: power button" in case.a.serial(), "init did not hear of the power button")


def programs_unprivileged():
    """the same, as a user with no rights at all"""
    if os.getuid():
        say("that was the other test")
        return
    with Case() as case:
        os.chmod(case.dir, 0o755)
        for host in (case.a, case.b):
            os.chown(host.dir, NOBODY, NOBODY)
        everything(case, wrap=lambda argv: [
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv])


def panics():
    """a panic is told, with what it says"""
    with Case() as case:
        monitor = case.a.run(guest(case, "rdinit=/no-such-program"))
        wait_until("the panic", lambda: "panic" in monitor.messages(), 20)
        check("Unable to mount root fs" in monitor.messages(), monitor.messages())


def reboots():
    """a guest that restarts itself comes up again"""
    with Case() as case:
        case.a.run(guest(case, "segue.run=/bin/reboot,-f"))
        wait_until("a second start", lambda: case.a.serial().count("Linux version") > 1, 30)


# ---- moves ----

def wanted_moves():
    for word in sys.argv[1:]:
        if word.startswith("--moves="):
            return int(word.partition("=")[2])
    return min(int(os.environ.get("SEGUE_TEST_MOVES", "10")), 20)


def one_move(path, here, there, monitor, dirty):
    target = there.receive(path, env={"SEGUE_TEST_DIGEST": "1", "SEGUE_PV_DIRTY": dirty})
    said = len(there.serial())
    done = here.move(target.listen, "--downtime", "5s")
    check(done.json["outcome"] == "moved", done.json)
    Guest.wait_alive(there, said, word="linux-check: round", seconds=120)
    check(monitor.digest() and monitor.digest() == target.digest(), "memory differs")
    monitor.wait_end()
    return target, int(done.json["progress"]["blackout"]["total"]) / 1000


def moves(dirty_here, dirty_there):
    with Case() as case:
        path = guest(case, "segue.run=/programs/linux-check,--forever")
        here, there = (case.a, dirty_here), (case.b, dirty_there)
        monitor = here[0].run(path, env={"SEGUE_TEST_DIGEST": "1", "SEGUE_PV_DIRTY": here[1]})
        wait_said(case.a, "linux-check: round")
        blackouts = []
        for _ in range(wanted_moves()):
            monitor, blackout = one_move(path, here[0], there[0], monitor, there[1])
            blackouts.append(blackout)
            here, there = there, here
        check_good(case.a, case.b)
        say(f"{len(blackouts)} moves, blackout median {statistics.median(blackouts):.1f} ms, "
            f"most {max(blackouts):.1f}")


def moves_uffd():
    """forks, threads, signals and tracing go on through moves"""
    moves("uffd", "uffd")


def moves_mixed():
    """the same, between hosts that track written pages differently"""
    moves("uffd", "mprotect")


if __name__ == "__main__":
    lib.needs = needs
    main(programs, programs_unprivileged, panics, reboots, moves_uffd, moves_mixed)
