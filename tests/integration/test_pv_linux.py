#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Linux as a paravirtual guest: what programs expect of it, its ways to end, its moves.

Needs the kernel of tools/guest-kernel in the cache.
--moves=N, or SEGUE_TEST_MOVES: how many (10).
"""
import os
import re
import signal
import time

import lib
import travel
from lib import Case, Guest, check, main, say, wait_until
from processes import descendants

BUILD = os.environ.get("SEGUE_BUILD", os.path.join(lib.ROOT, "build"))
CHECK = os.path.join(BUILD, "tests", "integration", "linux-check")
NOBODY = 61184  # nobody else has processes under it
KERNEL = None


def needs():
    global KERNEL
    KERNEL = travel.need_linux(CHECK)


def guest(case, cmdline, **more):
    return travel.linux(case, KERNEL, cmdline, add=[CHECK], **more)


def wait_said(host, word, seconds=60):
    wait_until(f"{word!r} from the guest", lambda: word in host.serial(), seconds)


# ---- one guest ----

def everything(case, **options):
    monitor = case.a.run(guest(case, "segue.run=/programs/linux-check"), **options)
    wait_said(case.a, "linux-check: end")
    travel.check_good(case.a)
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


def starves():
    """a guest whose processes get no processor for seconds goes on after that"""
    with Case() as case:
        case.a.run(guest(case, "segue.run=/programs/linux-check,--forever"))
        wait_said(case.a, "linux-check: round")
        for _ in range(2):
            everybody = [pid for pid, _ in descendants(case.a.monitors[0].pid)]
            send_all(everybody, signal.SIGSTOP)
            time.sleep(3)
            send_all(everybody, signal.SIGCONT)
            Guest.wait_alive(case.a, len(case.a.serial()), word="linux-check: round", seconds=60)
        travel.check_good(case.a)


def send_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # a program's end, just then


def reboots():
    """a guest that restarts itself comes up again"""
    with Case() as case:
        case.a.run(guest(case, "segue.run=/bin/reboot,-f"))
        wait_until("a second start", lambda: case.a.serial().count("Linux version") > 1, 30)


# ---- moves ----

def moves(pair):
    def alive(host, since):
        Guest.wait_alive(host, since, word="linux-check: round", seconds=120)

    with Case() as case:
        path = guest(case, "segue.run=/programs/linux-check,--forever")
        ends = [travel.End(host, path, dirty)
                for host, dirty in zip((case.a, case.b), travel.PAIRS[pair])]
        traveller = travel.Traveller(*ends)
        wait_said(case.a, "linux-check: round")
        for _ in range(min(travel.wanted_moves(10), 20)):
            traveller.move(alive)
        travel.check_good(case.a, case.b)
        traveller.summary()


def moves_uffd():
    """forks, threads, signals and tracing go on through moves"""
    moves("uffd")


def moves_mprotect():
    """the same, where writes of the kernel's are faults"""
    moves("mprotect")


def moves_mixed():
    """the same, between hosts that track written pages differently"""
    moves("mixed")


if __name__ == "__main__":
    lib.needs = needs
    main(programs, programs_unprivileged, panics, starves, reboots, moves_uffd, moves_mprotect, moves_mixed)
