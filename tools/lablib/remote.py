# SPDX-License-Identifier: Apache-2.0
"""Speaks to the agent in a host."""
import json
import os
import selectors
import signal
import socket
import sys
import time

from . import frames
from .state import LabError


class Unreachable(LabError):
    """The host does not answer, or vanished in the middle."""


def _connect(lab, name, timeout):
    port = lab.conf["hosts"][name].get("port")
    if not port or lab.pid(name) is None:
        raise Unreachable(f"{name} has no power")
    try:
        conn = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    except OSError as error:
        raise Unreachable(f"{name} does not answer: {error}") from error
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn


def _ask(lab, conn, request):
    request["token"] = lab.conf["token"]
    conn.sendall(json.dumps(request).encode() + b"\n")


class Execution:
    """One command in a host."""

    def __init__(self, lab, name, argv, stdin=None, detach=False, log=None, cwd=None, env=None,
                 timeout=None):
        self.name, self.timeout = name, timeout
        self.conn = _connect(lab, name, timeout or 30)
        self.stdin, self.detach = stdin, detach
        _ask(lab, self.conn, {"do": "exec", "argv": argv, "stdin": stdin is not None,
                              "detach": detach, "log": log, "cwd": cwd, "env": env or {}})

    def signal(self, number):
        self.conn.sendall(frames.pack(frames.SIGNAL, bytes([number])))

    def _feed(self, choose):
        data = os.read(self.stdin, 1 << 16)
        self.conn.sendall(frames.pack(frames.STDIN, data))
        if not data:
            choose.unregister(self.stdin)

    def run(self, output):
        """Call OUTPUT(kind, data) for what comes; return the exit code."""
        reader, choose = frames.Reader(), selectors.DefaultSelector()
        choose.register(self.conn, selectors.EVENT_READ)
        if self.stdin is not None:
            try:
                choose.register(self.stdin, selectors.EVENT_READ)
            except PermissionError:  # a plain file: always ready, so all of it now
                while data := os.read(self.stdin, 1 << 16):
                    self.conn.sendall(frames.pack(frames.STDIN, data))
                self.conn.sendall(frames.pack(frames.STDIN))
        until = time.monotonic() + self.timeout if self.timeout else None
        while True:
            left = max(0, until - time.monotonic()) if until else None
            ready = choose.select(left)
            if until and not ready:
                raise Unreachable(f"{self.name}: no end after {self.timeout} s")
            for key, _ in ready:
                if key.fileobj is not self.conn:
                    self._feed(choose)
                    continue
                data = self.conn.recv(1 << 18)
                if not data:
                    raise Unreachable(f"{self.name} went away")
                for kind, body in reader.feed(data):
                    if kind == frames.EXIT:
                        return int(body)
                    output(kind, body)

    def close(self):
        self.conn.close()


def run(lab, name, argv, **options):
    """Run ARGV in host NAME; return (code, stdout, stderr), both as bytes."""
    out = {frames.STDOUT: bytearray(), frames.STDERR: bytearray()}
    execution = Execution(lab, name, argv, **options)
    try:
        code = execution.run(lambda kind, data: out[kind].extend(data))
    except OSError as error:
        raise Unreachable(f"{name}: {error}") from error
    finally:
        execution.close()
    return code, bytes(out[frames.STDOUT]), bytes(out[frames.STDERR])


def check(lab, name, argv, **options):
    """As run, but failure is an error; returns stdout as text."""
    code, out, err = run(lab, name, argv, **options)
    if code != 0:
        raise LabError(f"{name}: {' '.join(argv)}: exit {code}: "
                       f"{err.decode(errors='replace').strip()}")
    return out.decode(errors="replace")


def stream(lab, name, argv, **options):
    """Run ARGV in host NAME as if it ran here: its output is ours, and signals go to it."""
    execution = Execution(lab, name, argv, **options)
    outputs = {frames.STDOUT: sys.stdout.buffer, frames.STDERR: sys.stderr.buffer}

    def write(kind, data):
        outputs[kind].write(data)
        outputs[kind].flush()

    def pass_on(number, _):
        execution.signal(number)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    try:
        return execution.run(write)
    except ConnectionError as error:
        raise Unreachable(f"{name}: {error}") from error
    finally:
        execution.close()


def set_clock(lab, name, tries=8):
    """Set the host's wall clock to this machine's, as well as the round trip allows.

    Returns the remaining doubt in seconds: half of the quickest round trip.
    """
    best = None
    for last in [False] * tries + [True]:
        with _connect(lab, name, 10) as conn:
            before = time.time_ns()
            _ask(lab, conn, {"do": "clock"})
            theirs = int(conn.makefile("r").readline())
            after = time.time_ns()
            if best is None or after - before < best[0]:
                best = (after - before, (before + after) // 2 - theirs)
            conn.sendall(b"%d\n" % (best[1] if last else 0))
            conn.makefile("r").readline()
    return best[0] / 2e9


def wait_up(lab, name, until):
    """Wait until the agent of NAME answers."""
    while True:
        try:
            code, _, _ = run(lab, name, ["/bin/true"], timeout=10)
            if code == 0:
                return
        except Unreachable:
            if lab.pid(name) is None:
                raise
        if time.monotonic() > until:
            raise Unreachable(f"{name} did not come up; see `tools/lab logs {name}`")
        time.sleep(0.1)
