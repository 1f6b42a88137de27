#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The paravirtual engine, by a kernel that tries everything: guest/probe.

All of its cases, as the user who runs this and, for root, as an ordinary one; its ways to end;
moves of its load and of every state it can hold, with each way of tracking written pages, memory
compared in full; and after each attempt to break out a look whether anything got out.

--moves=N, or SEGUE_TEST_MOVES: how many (20). --cases=NAME: only= of the probe.
SEGUE_TEST_BRIEF=1: less of what takes long and tells a slower build of the monitor little more.
"""
import os
import re
import time

import lib
from lib import Case, Guest, Skip, check, main, say, wait_until
from processes import Watch
from travel import (PAIRS, PATIENT, End, Traveller, brief, check_same_memory, environment, option,
                    wanted_moves)

BUILD = os.environ.get("SEGUE_BUILD", os.path.join(lib.ROOT, "build"))
PROBE = os.path.join(BUILD, "guest", "probe", "probe.elf")
NOBODY = 61184  # nobody else has processes under it
ESCAPED = "/tmp/segue-probe-escaped"
ESCAPE_TEXT = "probe has escaped"
DIRTY = ("uffd", "mprotect")
STATES = ("kernel", "masked", "block", "user", "syscall", "trap", "event", "fresh", "io", "print")
LOAD = "work=1 users=6 user_mib=1 dirty_mib=8 churn=1 flush=1 io=1 fill_mib=8"


def needs():
    for path in (lib.VMM, lib.SEGUE, PROBE):
        if not os.path.exists(path):
            raise Skip(f"{path} is not built")


def guest(case, cmdline, memory_mib=128, **more):
    return case.guest(memory_mib=memory_mib, engine="pv",
                      kernel={"image": PROBE, "cmdline": cmdline}, **more)


def run_to_end(host, path, seconds=120, look=True, **options):
    """Runs a guest until its monitor ends; the monitor, and what the guest said."""
    monitor = host.run(path, **options)
    watch = Watch(monitor)
    end = time.monotonic() + seconds
    while not monitor.ended():
        if look:
            watch.look()
        if time.monotonic() > end:
            said = host.serial()[-400:]
            raise TimeoutError(f"the guest does not end within {seconds} s; it said last: {said!r}")
        time.sleep(0.05)
    watch.check_gone()
    return monitor, host.serial()


def check_inside(monitor, text):
    """Nothing got out."""
    check(not os.path.exists(ESCAPED), f"{ESCAPED} exists: a guest has written it")
    check(ESCAPE_TEXT not in monitor.messages(), "a guest wrote to a descriptor of its monitor's")
    check(ESCAPE_TEXT not in text, "a guest wrote past its serial port")


# ---- the cases ----

def check_cases(text):
    for line in text.splitlines():
        if re.match(r"probe: [\w-]+: ", line) or " skip " in line:
            say(line)
    bad = [line for line in text.splitlines() if "FAIL" in line or "unexpected" in line]
    check(not bad, "; ".join(bad))
    done = re.search(r"probe: done (\d+) ok, (\d+) failed", text)
    check(done, f"the probe did not come to its end: {text[-300:]!r}")
    check(int(done[1]) > 0 and int(done[2]) == 0, done[0])
    say(done[0])


def as_nobody(argv):
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "--no-new-privs", *argv]


def give_to_nobody(case):
    os.chmod(case.dir, 0o755)
    for host in (case.a, case.b):
        os.chown(host.dir, NOBODY, NOBODY)
        host.wrap = as_nobody


def cases_with(wrap=lambda argv: argv, nobody=False, dirty=None, only=option("cases", "")):
    with Case() as case:
        if nobody:
            give_to_nobody(case)
        path = guest(case, f"only={only}" if only else "", memory_mib=256)
        monitor, text = run_to_end(case.a, path, wrap=wrap, env=environment(dirty), seconds=300)
        check_cases(text)
        check_inside(monitor, text)
        check(monitor.process.returncode == 0, f"exit {monitor.process.returncode}")


def cases():
    """every case of the probe"""
    cases_with()


def cases_unprivileged():
    """the same as an ordinary user, without capabilities"""
    if os.geteuid() != 0:
        say("whoever runs this is one already")
        return
    if brief():
        say("who runs a slower build of the monitor makes no difference to it")
        return
    cases_with(as_nobody, nobody=True)


def cases_limited():
    """many roots and contexts where the host gives few descriptors, or few processes"""
    if brief():
        say("a sanitizer takes more than these limits leave")
        return
    cases_with(lambda argv: ["prlimit", "--nofile=128:128", *argv], only="space")
    if os.geteuid() == 0:
        cases_with(lambda argv: as_nobody(["prlimit", "--nproc=60:60", *argv]), nobody=True,
                   only="space")


# ---- ends ----

def ends():
    """off, panic, faults that cannot be told: the monitor tells, and ends or holds as it should"""
    for how, word, ends_by_itself in (
            ("off", "", True), ("panic", "the probe was told to panic", False),
            ("fault", "trap", True), ("noentry", "no trap entry", True),
            ("stack", "stack", True)):
        with Case() as case:
            monitor = case.a.run(guest(case, f"end={how}", memory_mib=64))
            watch = Watch(monitor)
            watch.look()
            wait_until(f"end={how}: {word!r} in what the monitor says",
                       lambda: word in monitor.messages(), 10)
            if ends_by_itself:
                monitor.wait_end(10)
            else:
                check(not monitor.ended(), monitor.messages())
                monitor.kill()
            check("probe: end" in case.a.serial(), case.a.serial())
            check("FAIL" not in case.a.serial(), case.a.serial())
            watch.check_gone()
            say(f"end={how}: {monitor.messages().strip().splitlines()[-1:]}")


def reboot():
    """again and again, each time from the very beginning"""
    with Case() as case:
        monitor = case.a.run(guest(case, "only=registers end=reboot", memory_mib=64))
        watch = Watch(monitor)

        def count():
            watch.look()
            return case.a.serial().count("probe: registers ok")
        wait_until("20 boots", lambda: count() >= 20, 30)
        check("FAIL" not in case.a.serial(), case.a.serial()[-300:])
        case.a.segue("stop", "g", "--reset")
        before = count()
        wait_until("boots after a reset from outside", lambda: count() > before, 10)
        case.a.segue("stop", "g", "--force")
        monitor.wait_end()
        watch.check_gone()


def power_button():
    """in every state the guest hears of it, and ends by itself"""
    for state in STATES:
        with Case() as case:
            monitor = case.a.run(guest(case, f"hold={state}", memory_mib=64))
            Guest.wait_alive(case.a, 0, word="V", seconds=20)
            case.a.segue("stop", "g")
            monitor.wait_end()
            check("probe: power button" in case.a.serial(), case.a.serial()[-200:])


def hang():
    """a kernel that does nothing but loop, masked: it can be paused, moved and stopped"""
    with Case() as case:
        path = guest(case, "end=hang", memory_mib=64)
        monitor = case.a.run(path, env=environment())
        Guest.wait_alive(case.a, 0, word="probe: end")
        case.a.segue("pause", "g", seconds=5)
        case.a.segue("resume", "g", seconds=5)
        target = case.b.receive(path, env=environment())
        case.a.move(target.listen, "--downtime", "5s")
        check_same_memory(monitor, target)
        case.b.segue("stop", "g", "--force")
        target.wait_end()


def killed():
    """a monitor that is killed takes every process of its guest along"""
    with Case() as case:
        monitor = case.a.run(guest(case, LOAD))
        Guest.wait_alive(case.a, 0, word="V", seconds=30)
        watch = Watch(monitor)
        watch.look()
        check(watch.most >= 3, f"only {watch.most} processes?")
        monitor.kill()
        watch.check_gone()


# ---- breaking out ----

def stray(site, number):
    """One guest that makes host calls from one place; the last it made, and whether it was all."""
    with Case() as case:
        monitor = case.a.run(guest(case, f"end=astray site={site} number={number}", memory_mib=64))
        watch = Watch(monitor)
        said, changed = "", time.monotonic()
        # A kernel that is lost, or loops where it cannot be interrupted, says nothing more.
        while not monitor.ended() and time.monotonic() < changed + 1.5:
            watch.look()
            time.sleep(0.05)
            if case.a.serial() != said:
                said, changed = case.a.serial(), time.monotonic()
        check(watch.most < 12, f"{watch.most} processes")
        check_inside(monitor, said)
        if not monitor.ended():
            case.a.segue("stop", "g", "--force")
        monitor.wait_end(5)
        watch.check_gone()
        said = case.a.serial()
        calls = re.findall(r"probe: call (\d+)", said)
        return int(calls[-1]) if calls else number, "all calls made" in said, "no such site" in said


def astray():
    """kernel mode makes the host's calls from the host's own instructions: it may only hurt itself"""
    for site in range(0, 64, 8 if brief() else 1):
        number, complete, none = 0, False, False
        ends_met = []
        while not complete and not none and len(ends_met) < 4:
            number, complete, none = stray(site, number)
            if not complete and not none:
                ends_met.append(number)
            number += 1
        if none:
            check(site > 0, "there is nothing to try")
            say(f"{site} places tried")
            return
        say(f"place {site}: guest ended by {ends_met or 'none'}")


# ---- moves ----

def moves(cmdline, pair, count, words=("V",), how=PATIENT, **options):
    def alive(host, since):
        Guest.wait_alive(host, since)
        for word in words:
            Guest.wait_alive(host, since, word=word, seconds=60)
        Guest.check(case.a, case.b)

    with Case() as case:
        if options:
            give_to_nobody(case)
        path = guest(case, cmdline)
        traveller = Traveller(*(End(host, path, dirty, **options)
                                for host, dirty in zip((case.a, case.b), PAIRS[pair])))
        Guest.wait_alive(case.a, 0, word=words[0], seconds=60)
        for _ in range(count):
            traveller.move(alive, how)
        watch = Watch(traveller.monitor)
        watch.look()
        traveller.host.segue("stop", "g", "--force")
        traveller.monitor.wait_end()
        watch.check_gone()
    traveller.summary()


def moves_uffd():
    """the load there and back, tracked by the host's kernel, memory compared every time"""
    moves(LOAD, "uffd", max(wanted_moves(20) // 2, 10))


def moves_mprotect():
    """the same, tracked by faults"""
    moves(LOAD, "mprotect", max(wanted_moves(20) // 4, 10))


def moves_mixed():
    """the same, between two hosts that do it differently"""
    moves(LOAD, "mixed", max(wanted_moves(20) // 2, 10))


def moves_unprivileged():
    """the same between monitors of an ordinary user"""
    if os.geteuid() != 0:
        say("whoever runs this is one already")
        return
    moves(LOAD, "uffd", 5, wrap=as_nobody)
    moves(LOAD, "mprotect", 5, wrap=as_nobody)


def moves_slow():
    """over a link so slow that there are several rounds, with everything being written"""
    for dirty in DIRTY:
        moves("work=1 users=3 dirty_mib=1 churn=1 flush=1 fill_mib=16", dirty,
              max(wanted_moves(20) // 20, 2),
              how=("--downtime", "500ms", "--bandwidth", "40M", "--if-unconverged", "keep-trying",
                   "--time-limit", "20s"))


def environment_at(number, dirty):
    """Of the monitor with that NUMBER in a row: two in sixteen tell of all memory, as that takes
    longer than cases which count on a timer's bound can often wait."""
    return environment(dirty) if number % 16 < 2 else {"SEGUE_PV_DIRTY": dirty}


def cases_moving():
    """every case of the probe, while the guest is moved back and forth all the time"""
    if brief():
        say("cases that count on a timer's bound do not get through so many slow moves")
        return
    with Case() as case:
        only = option("cases", "")
        path = guest(case, f"only={only} " if only else "wild=2000 exhaust=300 evict=16384 touches=60000",
                     memory_mib=128)
        here, there, count = (case.a, "uffd"), (case.b, "mprotect"), 0
        monitor = here[0].run(path, env=environment_at(0, here[1]))
        while not monitor.ended():
            target = there[0].receive(path, env=environment_at(count + 1, there[1]))
            done = here[0].move(target.listen, "--downtime", "5s", ok=False)
            if done.returncode:
                target.kill()  # the guest has come to its end, or is about to
                break
            if monitor.digest() and target.digest():
                check_same_memory(monitor, target)
            count += 1
            monitor.wait_end()
            monitor, here, there = target, there, here
        monitor.wait_end(60)
        text = case.a.serial() + case.b.serial()
        bad = [line for line in text.splitlines() if "FAIL" in line or "unexpected" in line]
        check(not bad, "; ".join(bad))
        check("probe: done" in text, text[-300:])
        say(f"{count} moves")
        check(count > 10 or only, "hardly any moves?")


def moves_idle():
    """a guest that mostly sleeps"""
    moves("work=1 idle=1 users=3", "own", max(wanted_moves(20) // 10, 2), words=("z",))


def moves_held():
    """every state kernel and contexts can be in, caught by moves"""
    for state in STATES:
        for dirty in DIRTY:
            say(f"hold={state}")
            moves(f"hold={state}", dirty, 1 if brief() else 2)


def pauses():
    """paused and resumed in the middle of the load, many times"""
    with Case() as case:
        case.a.run(guest(case, LOAD))
        Guest.wait_alive(case.a, 0, word="V", seconds=30)
        for _ in range(50):
            case.a.segue("pause", "g")
            said = len(case.a.serial())
            time.sleep(0.01)
            check(len(case.a.serial()) == said, "it goes on while paused")
            case.a.segue("resume", "g")
            Guest.wait_alive(case.a, said)
        Guest.wait_alive(case.a, len(case.a.serial()), word="V")


if __name__ == "__main__":
    lib.needs = needs
    if os.path.exists(ESCAPED):
        os.unlink(ESCAPED)
    main(cases, cases_unprivileged, cases_limited, cases_moving, ends, reboot, power_button, hang,
         killed, astray, pauses, moves_uffd, moves_mprotect, moves_mixed,
         moves_unprivileged, moves_slow, moves_idle, moves_held)
