#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every state of a move, on either side, met by every kind of failure.

The states come from the program itself (print-states), so a new one without an expectation
fails here. A monitor stops itself when it enters the state (SEGUE_FAULT, migrate/fault.h);
then its process or its peer's is killed, the link is cut or stalls, or memory runs out; then
it goes on. What has to come of it follows from the table's flags alone: see outcome().

Words without a dash pick cases: a state, a deed, or STATE/DEED. --json FILE writes what came
of each; --jobs N runs that many at once.
"""
import concurrent.futures
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

import lib
from lib import Case, Guest, check, say, wait_until

DEEDS = ("kill-self", "kill-peer", "cut", "stall", "nomem")
GUEST = "dirty_base=0x1000000 dirty_mib=4 beat_us=1000 verify=1"
# Takes seconds to send over a link of 128 KiB/s.
SLOW_GUEST = GUEST + " fill=random fill_mib=1 fill_base=0x800000"
STALL_S = 4.0  # longer than a source waits whose guest stands still

# Where the other side is when this side has just entered a state, as reach() gets it there.
PEER = {
    "connecting": "listening", "precopy": "taking", "draining": "taking",
    "offered": "loading", "granted": "promised", "asking": "taken", "doubt": "taken",
    "moved": "running", "kept": "taking",
    "listening": "connecting", "taking": "precopy", "loading": "offered",
    "promised": "offered", "taken": "granted", "running": "granted",
    "refused": "kept", "dropped": "kept",
}


def outcome(table, state, deed):
    """What has to come of DEED in STATE:

    here    the guest goes on at the source, by itself
    there   it goes on at the destination
    dead    the process it was in was killed; the other must not run it, ever
    doubt   it stands still at the source until the operator says that it is to go on here
    gone    likewise, but it ran there and died there: the operator says so
    either  here or there, and both sides agree
    """
    mine_is_source = table[state]["side"] == "source"
    source, destination = (state, PEER[state]) if mine_is_source else (PEER[state], state)
    taken = table[destination]["may_run"]
    if deed.startswith("kill"):
        if (deed == "kill-self") == mine_is_source:
            return "there" if taken else "dead"
        if table[source]["may_return"]:
            return "here"
        if table[source]["end"]:
            return "dead"
        return "gone" if table[destination]["end"] else "doubt"
    if deed == "nomem" and state == destination and taken and not table[state]["end"]:
        return "here"  # it has the grant, but cannot be set going, and says so
    if taken:
        return "there"
    # Stalled, the grant and the question about it are under way together.
    return "either" if deed == "stall" and not table[source]["may_return"] else "here"


class Link:
    """A TCP proxy that can be cut with a reset, refuse connections, or hold what comes by."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.back, self.forth = threading.Event(), threading.Event()  # set: it flows
        self.back.set()
        self.forth.set()
        self.up = True
        self.lock = threading.Lock()
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                if not self.up:
                    raise OSError("cut")
                far = socket.create_connection(self.target)
            except OSError:
                self._reset(near)
                continue
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.sockets += [near, far]
            for args in ((near, far, self.forth), (far, near, self.back)):
                threading.Thread(target=self._pump, args=args, daemon=True).start()

    @staticmethod
    def _pump(come, go, flows):
        try:
            while data := come.recv(1 << 18):
                flows.wait()
                go.sendall(data)
            flows.wait()
            go.shutdown(socket.SHUT_WR)
        except OSError:  # a reset is passed on as one
            flows.wait()
            Link._reset(come)
            Link._reset(go)

    @staticmethod
    def _reset(s):
        """RST to the peer. The shutdown wakes a thread that reads it, and sends nothing."""
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        s.close()

    def cut(self):
        """Every connection is reset both ways, new ones are until mend()."""
        self.up = False
        with self.lock:
            sockets, self.sockets = self.sockets, []
        for s in sockets:
            self._reset(s)

    def stall(self):
        self.up = True
        self.forth.clear()
        self.back.clear()

    def mend(self):
        self.up = True
        self.forth.set()
        self.back.set()

    def close(self):
        self.listener.close()
        self.cut()
        self.mend()


class Watcher:
    """Looks at both serial logs all the time: the guest must never say a word in two places."""

    def __init__(self, case):
        self.paths = [os.path.join(host.dir, "g.log") for host in (case.a, case.b)]
        self.gone_from_a = None  # what A's log held when B's began
        self.ends = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def sizes(self):
        return [os.path.getsize(p) if os.path.exists(p) else 0 for p in self.paths]

    def _run(self):
        while not self.ends:
            if self.gone_from_a is None and self.sizes()[1] > 0:
                self.gone_from_a = self.sizes()[0]
            time.sleep(0.005)

    def check(self):
        self.ends = True
        self.thread.join()
        if self.gone_from_a is not None:
            more = self.sizes()[0] - self.gone_from_a
            check(more == 0, f"the source's guest said {more} bytes more after the destination's began")


def stopped(monitor):
    with open(f"/proc/{monitor.pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


def wait_stopped(monitor, seconds=30):
    def look():
        check(not monitor.ended(), f"ended instead of stopping: {monitor.messages()}")
        return stopped(monitor)
    wait_until(f"monitor in {monitor.host.name} stopped at its fault point", look, seconds)


def go_on(*monitors):
    for m in monitors:
        if not m.ended():
            m.process.send_signal(signal.SIGCONT)


def kill_now(monitor):
    """As it is: one that is stopped does not go on for a moment before it dies."""
    monitor.process.kill()
    monitor.process.wait()


class FixedPort(lib.Monitor):
    """A destination that may stop before it can say that it is ready."""

    def _wait_ready(self, fd):
        wait_stopped(self)
        return self.wanted


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Fault:
    """One state, one deed."""

    def __init__(self, table, state, deed):
        self.table, self.state, self.deed = table, state, deed
        self.name = f"{state}/{deed}"
        self.at_source = table[state]["side"] == "source"
        self.expected = outcome(table, state, deed)
        self.result, self.seconds, self.gave_up, self.by = None, None, None, ""

    # ---- getting there ----

    def _begin(self, source_fault=None, target_fault=None, cmdline=GUEST, words=()):
        """Starts guest, destination, link and move; None: this state's own fault, if it is its side."""
        own = f"{self.state}:{'nomem' if self.deed == 'nomem' else 'stop'}"
        source_fault = own if self.at_source else source_fault
        target_fault = target_fault if self.at_source else own
        self.guest = guest = self.case.guest(cmdline, memory_mib=32)
        self.source = self.case.a.run(guest, env={"SEGUE_FAULT": source_fault or ""})
        Guest.wait_alive(self.case.a, 0, word="V", seconds=60)
        self.target = self._receive(guest, target_fault or "")
        self.link = Link(self.target.listen)
        self.case.proxies.append(self.link)
        self.move = self.case.a.begin("move", "g", "--to", self.link.address, "--downtime", "5s",
                                      "--json", *words)
        self.mine, self.other = ((self.source, self.target) if self.at_source
                                 else (self.target, self.source))

    def _receive(self, guest, fault):
        env = {"SEGUE_FAULT": fault}
        if fault != "listening:stop":
            return self.case.b.receive(guest, env=env)
        FixedPort.wanted = listen = f"127.0.0.1:{free_port()}"
        monitor = FixedPort(self.case.b, "g", guest, receive=listen, env=env)
        monitor.listen = listen
        self.case.b.monitors.append(monitor)
        return monitor

    def reach(self):
        """Brings this side into the state; there it has stopped, or has no memory."""
        self.frozen = []  # other monitors that have been stopped on the way
        getattr(self, "_reach_" + self.state, self._begin)()
        if self.deed != "nomem":
            wait_stopped(self.mine)
        if self.state == "listening":
            time.sleep(0.3)  # the source's HELLO is on its way to a monitor that stands still

    def _reach_offered(self):
        """All is out, and READY is not to come by itself."""
        if self.deed == "nomem":  # that is in taking READY in
            return self._begin()
        self._begin(target_fault="loading:stop")
        # It may still lack pages that the source's threads were sending when they were stopped.
        self.frozen = [self.target]
        wait_stopped(self.source)
        time.sleep(0.2)

    def _reach_asking(self):
        """The destination has the grant and stands still; the connection is lost."""
        self._begin(target_fault="taken:stop")
        wait_stopped(self.target)
        self.frozen = [self.target]
        self.link.cut()

    _reach_doubt = _reach_asking

    def _reach_kept(self):
        """Cancelled while the destination stands still."""
        self._begin(target_fault="taking:stop")
        wait_stopped(self.target)
        self.frozen = [self.target]
        self._cancel()

    def _reach_dropped(self):
        """Cancelled while pages come in."""
        self._begin(cmdline=SLOW_GUEST, words=("--bandwidth", "128K"))
        wait_until("pages sent", lambda: int(self.case.a.show().get("progress", {}).get("bytes_sent", 0)) > 10000)
        self._cancel()

    def _cancel(self):
        # The monitor may stop itself before it can answer.
        self.cancel = self.case.a.begin("cancel", "g")

    def _reach_refused(self):
        """READY does not come through; the source gives up and says so."""
        self._begin(source_fault="draining:stop")
        wait_stopped(self.source)
        self.link.back.clear()
        go_on(self.source)

    # ---- the deed ----

    def do(self):
        self.before = self.watcher.sizes()
        self.began = time.monotonic()
        getattr(self, "_do_" + self.deed.replace("-", "_"))()

    def _release(self):
        self.before = self.watcher.sizes()
        self.began = time.monotonic()
        go_on(self.mine, *self.frozen)

    def _do_kill_self(self):
        kill_now(self.mine)
        self.link.mend()
        self._release()

    def _do_kill_peer(self):
        kill_now(self.other)
        self.link.mend()
        self._release()

    def _do_cut(self):
        self.link.cut()
        self._release()
        threading.Timer(1.0, self.link.mend).start()

    def _do_stall(self):
        self.link.stall()
        self._release()
        if self.expected != "here":
            threading.Timer(STALL_S, self.link.mend).start()

    def _do_nomem(self):
        if self.state not in ("connecting", "listening"):  # to which no row leads
            wait_until(self.state, lambda: f"-> {self.state}" in self.mine.messages(), 40)
        self.before, self.began = self.watcher.sizes(), time.monotonic()
        self.link.mend()
        go_on(*self.frozen)

    # ---- what came of it ----

    def _grown(self, side):
        return self.watcher.sizes()[side] > self.before[side] + 20

    def _runs(self, side, seconds=40):
        """It says more there, and finds its memory intact."""
        host = (self.case.a, self.case.b)[side]
        wait_until(f"the guest runs in {host.name}", lambda: self._grown(side), seconds, 0.002)
        self.seconds = time.monotonic() - self.began
        Guest.wait_alive(host, self.before[side], word="V", seconds=30)
        show = host.show()
        check(show["owner"] == "owns", show)
        self.epoch = show["epoch"]

    def _still(self, seconds=1.0):
        sizes = self.watcher.sizes()
        time.sleep(seconds)
        check(self.watcher.sizes() == sizes, "the guest runs", sizes, self.watcher.sizes())

    def settle_here(self, seconds=40):
        self._runs(0, seconds)
        # A guest that never stood still waits longer for the link.
        wait_until("the move has failed", lambda: self.case.a.show()["state"] == "running", 20)
        self.gave_up = time.monotonic() - self.began
        self.link.mend()
        self._destination_gives_up()
        if self.state == "listening" and not self.target.ended():
            self._move_again()

    def settle_there(self):
        self._runs(1)
        wait_until("'running' shown", lambda: self.case.b.show()["state"] == "running", 5)
        code = self.source.wait_end(30)  # it is told, or finds out
        check(code == 0 or self.deed.startswith("kill"), f"the source ended with {code}")

    def settle_dead(self):
        if PEER[self.state] == "moved" or self.state == "moved":
            self.source.wait_end(20)
        else:
            self._destination_gives_up()
        self._still()

    def settle_doubt(self):
        self._doubt("--here")
        self.settle_here(10)

    def settle_gone(self):
        self._doubt("--gone")
        self.source.wait_end(10)
        self._still()

    def _doubt(self, word):
        wait_until("doubt", lambda: self.case.a.show()["state"] == "in-doubt", 30, 0.1)
        self._still()
        code = self.move.wait(10)
        check(code == 5, f"`segue move` ended with {code}")
        self.case.a.segue("resume", "g", ok=False)
        self._still(0.3)
        self.before, self.began = self.watcher.sizes(), time.monotonic()
        self.by = f"recover {word}"
        self.case.a.segue("recover", "g", word)

    def settle_either(self):
        wait_until("the guest runs", lambda: self._grown(0) or self._grown(1), 40)
        self.result = "here" if self._grown(0) else "there"
        (self.settle_here if self._grown(0) else self.settle_there)()

    def _destination_gives_up(self):
        """It has dropped what it had, or vowed; or waits for another source, with nothing taken."""
        def given_up():
            if not self.target.ended() and stopped(self.target):
                go_on(self.target)  # the point at which offered/ keeps it back
            words = self.target.messages()
            return ("-> dropped" in words or "-> refused" in words or
                    (not self.target.ended() and "-> taking" not in words))
        if self.target not in self.killed():
            wait_until("the destination gives up", given_up, 30)
            check(self.watcher.sizes()[1] == 0, "the guest ran at the destination")

    def killed(self):
        return {"kill-self": [self.mine], "kill-peer": [self.other]}.get(self.deed, [])

    def _move_again(self):
        """A destination that has only listened still does; one without memory, once it has some."""
        self.move.wait(20)

        def moved():
            return self.case.a.move(self.target.listen, "--downtime", "5s",
                                    ok=False).json["outcome"] == "moved"
        wait_until("another move succeeds", moved, 10)
        Guest.wait_alive(self.case.b, 0, word="V", seconds=30)

    def _replace_killed(self):
        """Whose monitor was killed gets a new one, and the guest can move there as ever."""
        here, there = ((self.case.b, self.case.a) if self.result == "there" else
                       (self.case.a, self.case.b))
        said = len(there.serial())
        target = there.receive(self.guest)
        move = here.begin("move", "g", "--to", target.listen, "--downtime", "5s", "--json")

        def ended():
            for monitor in (self.source, self.target):
                if not monitor.ended() and stopped(monitor):
                    go_on(monitor)  # its fault point once more
            return move.poll() is not None
        wait_until("the move after the fault", ended, 30)
        out, err = move.communicate()
        check(move.returncode == 0, f"exit {move.returncode}: {out} {err}")
        Guest.wait_alive(there, said, word="V", seconds=30)
        check(there.show()["epoch"] > self.epoch, "the epoch did not grow:", there.show())

    def run(self):
        with Case() as self.case:
            self.watcher = Watcher(self.case)
            try:
                self.reach()
                self.do()
                self.result = self.expected
                getattr(self, "settle_" + self.expected)()
            finally:
                if hasattr(self, "move"):
                    self.move.kill()
                    self.move.communicate()
                if hasattr(self, "cancel"):
                    self.cancel.kill()
                    self.cancel.communicate()
                self.watcher.check()  # the worst there can be: to be told even if more went wrong
            if self.killed() and self.result in ("here", "there", "doubt"):
                self._replace_killed()
            Guest.check(self.case.a, self.case.b)
        return self

    def line(self):
        times = "".join(f"{t:8.2f} s" if t is not None else "         -"
                        for t in (self.seconds, self.gave_up))
        return (f"{self.table[self.state]['side']:11}  {self.state:10}  {self.deed:9}  "
                f"{self.result:6}{times}  {self.by}")


def read_table():
    path = os.path.join(os.path.dirname(os.path.dirname(lib.VMM)), "tests", "unit", "print-states")
    if not os.path.exists(path):
        raise lib.Skip(f"{path} is not built")
    printed = json.loads(subprocess.run([path], capture_output=True, check=True).stdout)
    if not printed["fault_points"]:
        raise lib.Skip("built without fault points (-Dfault_points=false)")
    table = {s["name"]: s for s in printed["states"]}
    check(set(table) == set(PEER), "states without an expectation, or no more in the table:",
          set(table) ^ set(PEER))
    return table


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def wanted(fault):
    values = {option("--json", ""), option("--jobs", "")}
    words = {w for w in sys.argv[1:] if not w.startswith("-") and w not in values}
    return not words or words & {fault.name, fault.state, fault.deed}


def run_one(fault):
    begin = time.monotonic()
    try:
        fault.run()
        say(f"{fault.name}: {fault.result}, {time.monotonic() - begin:.1f} s")
        return True
    except lib.Skip:
        raise
    except Exception:  # every case gets its turn
        traceback.print_exc()
        say(f"{fault.name}: FAILED, expected: {fault.expected}")
        fault.result = "FAILED"
        return False


def slow_first(fault):
    """Those that wait for time-outs to run out, while others compute."""
    return (fault.expected not in ("doubt", "gone"), fault.state != "doubt",
            fault.deed != "stall")


def main():
    try:
        lib.needs()
        table = read_table()
        faults = [f for s in table for d in DEEDS if wanted(f := Fault(table, s, d))]
        jobs = int(option("--jobs", "3"))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            good = list(pool.map(run_one, sorted(faults, key=slow_first)))
    except lib.Skip as why:
        say(f"skipped: {why}")
        sys.exit(lib.SKIP)
    print("\nThe guest after a fault: where it is, when it said something again, when the source "
          "had given the move up;\ncounted from when what had stopped for the fault went on, or "
          "from the operator's word")
    print("side         state       deed       guest   runs after gave up")
    for f in faults:
        print(f.line())
    print(f"{sum(good)} of {len(good)} as they should be")
    if path := option("--json", None):
        with open(path, "w", encoding="utf-8") as out:
            json.dump([{"side": table[f.state]["side"], "state": f.state, "deed": f.deed,
                        "outcome": f.result, "expected": f.expected, "runs_after_s": f.seconds,
                        "gave_up_after_s": f.gave_up,
                        "operator": f.by} for f in faults], out, indent=1)
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
