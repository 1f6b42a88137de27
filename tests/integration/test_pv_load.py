#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Paravirtual guests that have real work to do move, and nobody notices.

Each load runs in a guest that goes there and back between two hosts, network namespaces with a
network between them, and is looked at from a third. All is done between two hosts that find
written pages the same way, and between two that do it differently.

Needs the kernel of tools/guest-kernel in the cache and Debian packages.
--moves=N: how many in a row. Else SEGUE_TEST_MOVES (6) of them, a third where each takes long;
SEGUE_TEST_BRIEF=1: one. --figures: memory is not compared, and blackouts are the product's own.
"""
import functools
import os
import re
import sys

import lib
import travel
from lib import Case, Skip, check, main, say, wait_until
from processes import Watch, memory_kib

sys.path.insert(0, os.path.join(lib.ROOT, "tools"))
# pylint: disable=wrong-import-position
from lablib import debian, image  # noqa: E402
from quickstartlib import base, clients, guest, native  # noqa: E402

BUILD = os.environ.get("SEGUE_BUILD", os.path.join(lib.ROOT, "build"))
HERE = os.path.dirname(os.path.realpath(__file__))
OBSERVER = "host3"
MAC = "52:54:00:77:10:01"
MIB = 1 << 20
INCREMENTS_FILE = "appendonlydir/appendonly.aof.1.incr.aof"
INCREMENT = re.compile(rb"\*2\r\n\$4\r\nincr\r\n", re.IGNORECASE)  # as Redis writes a command
KERNEL = None


def program(name):
    return os.path.join(BUILD, "tests", "lab", name)


def needs():
    global KERNEL
    base.BUILD = BUILD
    KERNEL = travel.need_linux(*map(program, ("rediscount", "memverify", "crowd")))
    try:
        for package in ("redis-server", "tcc"):
            debian.unpacked(package)
    except debian.PackageError as error:
        raise Skip(f"{package} is not to be had: {error}") from error


class Site(native.NativeSite):
    """Three hosts, and the monitors of a guest at two of them."""

    clients, rate = 8, 2000

    def __init__(self):
        super().__init__()
        self.clients, self.rate = Site.clients, Site.rate

    def __enter__(self):
        try:
            self.open(self)
        except (base.QuickstartError, OSError) as error:
            self.close()
            raise Skip(f"no namespaces: {error}") from error
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def say(_):
        """What NativeSite tells a person while it opens is of no use here."""

    def end(self, host, number, path, dirty):
        """A travel.End at the host of that NUMBER."""
        return travel.End(host, path, dirty, listen=f"10.77.0.{number}:0",
                          wrap=lambda argv: self._enter(f"host{number}") + argv)


class Load:
    """What a guest has to do. It is asked at PORT, unless a load has another way to tell."""

    memory_mib, packages, programs, disk, port = 256, (), (), False, None
    run = ""
    each = 1  # this load takes so long that it is moved only every so many times

    def __init__(self, pair):
        self.pair = pair
        self.case = self.site = self.traveller = self.disk_path = None

    # The guest

    def cmdline(self):
        return f"segue.ip={guest.ADDRESS}/24 segue.run={self.run}" + \
            (" segue.mount=/dev/vda:/data" if self.disk else "")

    def guest(self):
        more = {"nets": [{"tap": "tap0", "mac": MAC}], "entropy": True}
        if self.disk:
            self.disk_path = os.path.join(self.case.dir, "disk")
            image.disk(self.disk_path, 1024 * MIB, label="data")
            more["disks"] = [{"path": self.disk_path}]
        return travel.linux(self.case, KERNEL, self.cmdline(), packages=self.packages,
                            add=self.programs, memory_mib=self.memory_mib, **more)

    def ask(self, command=""):
        return guest.tcp_report(self.site, OBSERVER, guest.ADDRESS, self.port, command)

    def wait_answer(self, seconds=60):
        """The first, from a guest that is still starting."""
        def answered():
            check(not self.traveller.monitor.ended(), self.traveller.monitor.messages())
            try:
                return self.ask()
            except base.QuickstartError:
                return None
        return wait_until("an answer from the guest", answered, seconds, step=0.2)

    # Its life

    def begin(self):
        """Waits until the load is at work."""
        raise NotImplementedError

    def alive(self, host, since):
        """Waits until it has gone on at HOST, since so many characters on the serial port."""
        raise NotImplementedError

    def finish(self):
        """What must hold in the end."""

    def moves(self):
        if travel.option("moves", ""):
            return travel.wanted_moves(0)
        return 1 if travel.brief() else max(travel.wanted_moves(6) // self.each, 1)

    def perform(self):
        with Case() as self.case, Site() as self.site:
            path = self.guest()
            ends = [self.site.end(host, number, path, dirty) for number, (host, dirty) in
                    enumerate(zip((self.case.a, self.case.b), travel.PAIRS[self.pair]), 1)]
            self.traveller = travel.Traveller(*ends)
            self.begin()
            for _ in range(self.moves()):
                self.traveller.move(self.alive)
            self.finish()
            self.power_off()
            self.traveller.summary()

    def power_off(self):
        travel.check_good(self.case.a, self.case.b)
        watch = Watch(self.traveller.monitor)
        watch.look()
        self.traveller.host.segue("stop", "g")
        check(self.traveller.monitor.wait_end(30) == 0, self.traveller.monitor.messages())
        watch.check_gone()
        # A program that still runs then may well find its disk read-only.
        travel.check_good(self.case.a, self.case.b, complaints=travel.KERNEL_COMPLAINS)
        if self.disk:
            wrong = image.disk_errors(self.disk_path)
            check(not wrong, f"the disk: {wrong}")
            self.look_at_disk()

    def look_at_disk(self):
        """The guest is off, and the file system in order."""


class Redis(Load):
    """Redis with a file it appends to, redis-benchmark, clients that count"""

    packages, disk = ("redis-server", "redis-tools"), True
    BENCHMARKS = ("set", "get")

    def cmdline(self):
        return f"segue.ip={guest.ADDRESS}/24 segue.mount=/dev/vda:/data segue.start=redis"

    def begin(self):
        wait_until("Redis in the guest", self.redis_answers, 60, step=0.2)
        self.benchmarks = [self.start_benchmark(what) for what in self.BENCHMARKS]
        self.clients = clients.Clients(self.site)
        self.clients.start()
        self.answers = self.clients.report()["answers"]

    def redis_answers(self):
        code, out, _ = self.site.run(OBSERVER, ["timeout", "5", "redis-cli", "-h", guest.ADDRESS,
                                                "ping"])
        return code == 0 and out.strip() == "PONG"

    def start_benchmark(self, what):
        """It ends at once where a connection breaks or an answer is none."""
        self.site.start(OBSERVER, ["redis-benchmark", "-h", guest.ADDRESS, "-t", what, "-c", "10",
                                   "-n", "2000000000", "-r", "10000", "-d", "100"],
                        f"benchmark-{what}.log")
        process = self.site.started[-1]
        wait_until(f"redis-benchmark {what}", lambda: self.benchmark_says(what), 30)
        return process

    def benchmark_says(self, what):
        with open(self.site.outside(f"benchmark-{what}.log"), errors="replace") as log:
            return log.read()[-300:].replace("\r", "\n")

    def alive(self, *_):
        def counted_on():
            return self.clients.report()["answers"] > self.answers + 20 * self.site.clients
        wait_until("answers to the clients that count", counted_on, 30)
        for what, process in zip(self.BENCHMARKS, self.benchmarks):
            check(process.poll() is None, f"redis-benchmark: {self.benchmark_says(what)}")
        self.answers = self.clients.report()["answers"]

    def finish(self):
        gap = self.clients.gap()
        result = self.clients.finish()
        self.increments = result["increments"]
        say(f"{result}, longest wait for an answer {gap:.0f} ms; "
            f"{[self.benchmark_says(what).splitlines()[-1] for what in self.BENCHMARKS]}")
        check(result["increments"] > 0 and result["increments_lost"] == 0, "increments are lost")
        check(result["connections_reset"] == 0, "connections were reset")
        for process in self.benchmarks:
            process.kill()

    def look_at_disk(self):
        """Redis wrote every increment to its file as well (tools/guest/services/redis)."""
        found = len(INCREMENT.findall(image.disk_file(self.disk_path, INCREMENTS_FILE)))
        # redis-cli may not have been told of its last one any more.
        check(found - self.increments in (0, 1),
              f"{found} increments on the disk, {self.increments} answered")


class Build(Load):
    """a build, over and over: forks, execs, files"""

    packages, disk = ("tcc", "dash", "sed", "coreutils"), True
    programs = (os.path.join(HERE, "guest", "build-load"),)
    run = "/programs/build-load,/data,8"

    def rounds(self, host, since=0):
        return host.serial()[since:].count("build-load: round")

    def begin(self):
        wait_until("the first build", lambda: self.rounds(self.case.a), 60)

    def alive(self, host, since):
        # What was built during the move, and a whole one after it.
        wait_until("two builds after the move", lambda: self.rounds(host, since) >= 2, 60)
        travel.check_good(self.case.a, self.case.b)

    def finish(self):
        say(f"{self.rounds(self.case.a) + self.rounds(self.case.b)} builds")


class Rewriter(Load):
    """256 MiB rewritten all the time, each page checked before"""

    memory_mib, port, pages = 512, 5001, 0
    programs, run = (program("memverify"),), "/programs/memverify,--mib,256"
    more_pages = 1000

    def begin(self):
        self.look(self.wait_answer)

    def look(self, ask):
        def gone_on():
            report = ask()
            check(report["errors"] == 0, f"memory of the guest is wrong: {report}")
            return report["pages"] if report["pages"] >= self.pages + self.more_pages else None
        self.pages = wait_until("pages to be rewritten", gone_on, 60)

    def alive(self, *_):
        self.look(self.ask)

    def finish(self):
        say(f"{self.pages} pages rewritten, none wrong")


class Scattered(Rewriter):
    """a process of 1 GiB that touches its pages at random"""

    memory_mib, each = 1536, 3
    run = "/programs/memverify,--mib,1024,--scattered"


class Idle(Load):
    """200 processes that sleep; each is asked in the end"""

    port, programs, count = 5006, (program("crowd"),), 200
    run = f"/programs/crowd,--processes,{count}"

    def begin(self):
        self.wait_answer()
        self.lap()

    def lap(self):
        before = self.ask()["laps"]
        report = self.ask("lap")
        check(report["errors"] == 0 and report["laps"] > before, f"processes failed: {report}")
        return report

    def alive(self, *_):
        self.ask()

    def finish(self):
        say(f"{self.lap()}, then {self.end_all()}")

    def end_all(self):
        report = self.ask("finish")
        check(report["errors"] == 0 and report["ended"] == self.count, f"some failed: {report}")
        return report


class Crowd(Idle):
    """500 processes that touch memory and talk to each other run on, and end well"""

    # For each, what its monitor may take on the host; and how much more after a while.
    kib_each, growth = 160, 1.25

    count, memory_mib, each = 500, 512, 3
    run = f"/programs/crowd,--processes,{count},--tokens,16"

    def begin(self):
        super().begin()
        self.memory = [self.look()]

    def look(self):
        return memory_kib(self.traveller.monitor.pid)

    def alive(self, *_):
        for _ in range(3):
            self.lap()
        self.memory.append(self.look())

    def finish(self):
        say(f"{self.lap()}, then {self.end_all()}")
        say(f"KiB besides the guest's RAM: {self.memory}")
        if travel.brief():  # a sanitizer has much of its own, and ever more
            return
        check(max(self.memory) <= self.kib_each * self.count, "the monitor takes too much memory")
        # At the source all of them had their turn before it was looked at, after a move too.
        check(max(self.memory) <= self.growth * self.memory[0], "the monitor takes ever more")


def test_of(load, pair):
    @functools.wraps(load.perform)
    def test():
        load(pair).perform()
    test.__name__ = f"{load.__name__.lower()}_{pair}"
    test.__doc__ = f"{load.__doc__} ({' and '.join(travel.PAIRS[pair])})"
    return test


if __name__ == "__main__":
    lib.needs = needs
    main(*(test_of(load, pair) for load in (Redis, Build, Rewriter, Idle, Crowd, Scattered)
           for pair in ("uffd", "mixed")))
