#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The switch between the lab's hosts: learns addresses, forwards frames, cuts on demand.

Each host's QEMU connects to a Unix socket of its own (`-netdev stream`: every frame behind
its length, four bytes, big-endian). A port that does not read loses frames as at a real
switch whose buffer is full; it never holds up the others.

Commands come as datagrams on a control socket: "cut A", "heal A", "cut A B", "heal A B".
"""
import os
import selectors
import socket
import struct
import sys

BUFFER = 4 << 20
LENGTH = struct.Struct(">I")
FRAME_MAX = 70000


class Port:
    def __init__(self, hub, name, path):
        self.hub, self.name = hub, name
        self.conn = None
        self.got = bytearray()
        self.out = bytearray()
        self.lost = 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        hub.choose.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self, _):
        conn, _ = self.listener.accept()
        self.close()
        conn.setblocking(False)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.conn = conn
        self.hub.choose.register(conn, selectors.EVENT_READ, self.ready)

    def close(self):
        if self.conn:
            self.hub.choose.unregister(self.conn)
            self.conn.close()
        self.conn = None
        self.got.clear()
        self.out.clear()

    def ready(self, mask):
        if self.conn is None:  # another port's turn, just before, found it gone
            return
        try:
            if mask & selectors.EVENT_WRITE:
                self.flush()
            if mask & selectors.EVENT_READ:
                self.read()
        except OSError:
            self.close()

    def read(self):
        data = self.conn.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        got = self.got
        got += data
        at, end = 0, len(got)
        while end - at >= 4:
            length = LENGTH.unpack_from(got, at)[0]
            if length > FRAME_MAX:
                raise ConnectionResetError
            if end - at < 4 + length:
                break
            self.hub.forward(self, bytes(got[at:at + 4 + length]))
            at += 4 + length
        del got[:at]
        self.hub.flush_all()

    def send(self, frame):
        if self.conn is None:
            return
        if len(self.out) + len(frame) > BUFFER:
            self.lost += 1
            return
        self.out += frame

    def flush(self):
        if not self.out or self.conn is None:
            return
        try:
            sent = self.conn.send(self.out)
            del self.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        if self.hub.choose.get_key(self.conn).events != wanted:
            self.hub.choose.modify(self.conn, wanted, self.ready)


class Hub:
    def __init__(self, directory, names):
        self.choose = selectors.DefaultSelector()
        self.where = {}
        self.cut = set()
        self.ports = [Port(self, name, os.path.join(directory, f"net-{name}"))
                      for name in names]
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control.bind(os.path.join(directory, "hub"))
        self.choose.register(self.control, selectors.EVENT_READ, self.command)

    def joined(self, one, other):
        return not ({one.name, other.name} & self.cut or
                    frozenset((one.name, other.name)) in self.cut)

    def forward(self, port, frame):
        """FRAME begins with its length; then destination and source, six bytes each."""
        if len(frame) < 18:
            return
        target, source = frame[4:10], frame[10:16]
        if not source[0] & 1:
            self.where[source] = port
        known = None if target[0] & 1 else self.where.get(target)
        for other in (known,) if known else self.ports:
            if other is not port and self.joined(port, other):
                other.send(frame)

    def flush_all(self):
        for port in self.ports:
            if port.out:
                port.flush()

    def command(self, _):
        words = self.control.recv(1024).decode("ascii", "replace").split()
        if len(words) not in (2, 3):
            return
        which = words[1] if len(words) == 2 else frozenset(words[1:])
        if words[0] == "cut":
            self.cut.add(which)
        elif words[0] == "heal":
            self.cut.discard(which)
            if len(words) == 2:
                self.cut = {c for c in self.cut if isinstance(c, str) or which not in c}
        print(" ".join(words), flush=True)

    def run(self):
        while True:
            for key, mask in self.choose.select():
                key.data(mask)


if __name__ == "__main__":
    Hub(sys.argv[1], sys.argv[2:]).run()
