#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs in a host of the lab and does what `tools/lab exec` asks. See frames.py.

Listens on the host's control network, which only the machine that runs the lab can reach,
and answers only those who know the lab's token.
"""
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time

import frames

PORT = 1


def read_line(conn):
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = conn.recv(1)
        if not byte or len(line) > frames.LIMIT:
            raise ConnectionError("no request")
        line += byte
    return json.loads(line)


def set_clock(conn):
    """Each line in is a time to set; the answer is the time before, so the client can judge."""
    conn.sendall(b"%d\n" % time.time_ns())
    wanted = b""
    while not wanted.endswith(b"\n"):
        piece = conn.recv(64)
        if not piece:
            return
        wanted += piece
    shift = int(wanted)
    if shift:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + shift)
    conn.sendall(b"ok\n")


def start(request):
    detach = request.get("detach")
    where = subprocess.DEVNULL if detach else subprocess.PIPE
    log = open(request["log"], "ab") if request.get("log") else None
    env = dict(os.environ, **request.get("env", {}))
    cwd = request.get("cwd")
    try:
        return subprocess.Popen(
            request["argv"], stdin=where if request.get("stdin") else subprocess.DEVNULL,
            stdout=log or where, stderr=log or where, env=env, start_new_session=True,
            cwd=cwd if cwd and os.path.isdir(cwd) else "/", bufsize=0)
    finally:
        if log:
            log.close()


def kill_group(child, number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass


class Relay:
    """Carries a child's output to the connection and the connection's input to the child."""

    def __init__(self, conn, child):
        self.conn, self.child = conn, child
        self.reader = frames.Reader()
        self.choose = selectors.DefaultSelector()
        self.open = 0

    def close(self):
        self.choose.close()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            if pipe:
                pipe.close()

    def _from_child(self, pipe, kind):
        data = os.read(pipe.fileno(), 1 << 16)
        if data:
            self.conn.sendall(frames.pack(kind, data))
            return
        self.choose.unregister(pipe)
        self.open -= 1

    def _to_child(self, data):
        try:
            while data:
                data = data[os.write(self.child.stdin.fileno(), data):]
        except (BrokenPipeError, ValueError):
            pass

    def _from_client(self):
        data = self.conn.recv(1 << 16)
        if not data:
            raise ConnectionError("client left")
        for kind, body in self.reader.feed(data):
            if kind == frames.SIGNAL:
                kill_group(self.child, body[0])
            elif kind == frames.STDIN and self.child.stdin:
                if body:
                    self._to_child(body)
                else:
                    self.child.stdin.close()

    def run(self):
        for pipe, kind in (self.child.stdout, frames.STDOUT), (self.child.stderr, frames.STDERR):
            if pipe:  # else it goes to a file
                self.choose.register(pipe, selectors.EVENT_READ, kind)
                self.open += 1
        self.choose.register(self.conn, selectors.EVENT_READ, None)
        # A command that leaves a daemon behind has ended although its pipes stay open.
        ended = None
        while self.open:
            for key, _ in self.choose.select(0.2):
                if key.data is None:
                    self._from_client()
                else:
                    self._from_child(key.fileobj, key.data)
            if self.child.poll() is not None:
                ended = ended or time.monotonic()
                if time.monotonic() - ended > 0.3:
                    break
        return self._wait()

    def _wait(self):
        while True:
            try:
                return self.child.wait(0.2)
            except subprocess.TimeoutExpired:
                self._look()

    def _look(self):
        """Output is closed but the child runs: a client that leaves or signals is heard."""
        self.conn.settimeout(0)
        try:
            self._from_client()
        except BlockingIOError:
            pass
        finally:
            self.conn.settimeout(None)


def run_command(conn, request):
    try:
        child = start(request)
    except (OSError, ValueError) as error:
        conn.sendall(frames.pack(frames.STDERR, f"{request['argv'][0]}: {error}\n".encode()))
        conn.sendall(frames.pack(frames.EXIT, b"127"))
        return
    if request.get("detach"):
        conn.sendall(frames.pack(frames.STDOUT, b"%d\n" % child.pid))
        conn.sendall(frames.pack(frames.EXIT, b"0"))
        conn.close()
        child.wait()
        return
    relay = Relay(conn, child)
    try:
        code = relay.run()
        conn.sendall(frames.pack(frames.EXIT, b"%d" % (128 - code if code < 0 else code)))
    except OSError:
        kill_group(child, signal.SIGHUP)
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            kill_group(child, signal.SIGKILL)
            child.wait()
    finally:
        relay.close()


def serve(conn, token):
    with conn:
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = read_line(conn)
            if request.get("token") != token:
                return
            if request["do"] == "clock":
                set_clock(conn)
            elif request["do"] == "exec":
                run_command(conn, request)
        except (OSError, ValueError, KeyError) as error:
            print(f"agent: {error!r}", file=sys.stderr, flush=True)


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        token = file.read().strip()
    with socket.create_server(("0.0.0.0", PORT), backlog=64) as listener:
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=serve, args=(conn, token), daemon=True).start()


if __name__ == "__main__":
    main()
