# SPDX-License-Identifier: Apache-2.0
"""Our half of the comparison: two monitors, driven by the segue command."""
import json
import os
import time

import lib

NAME = "g"


class Side:
    """A monitor whose guest's serial port comes in on READER."""

    def __init__(self, role, wrap, workdir, guest, reader, receive=None):
        self.host = lib.Host(workdir, role)
        fifo = os.path.join(self.host.dir, NAME + ".log")
        os.mkfifo(fifo, 0o600)
        reader.add(role, os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
        self.monitor = self.host.run(guest, NAME, receive=receive, wrap=wrap)
        self.pid = self.monitor.pid


class Pair:
    name = "segue"
    options = ()

    def __init__(self, where, workdir, _image, memory, cmdline, reader):
        self.where, self.reader, self.workdir = where, reader, workdir
        self.guest = self.write_guest(os.path.join(workdir, "g.yaml"), memory >> 20, cmdline)
        self.source = Side("source", where.source, workdir, self.guest, reader)
        self.destination = None
        self.result = None

    @staticmethod
    def write_guest(path, memory_mib, cmdline):
        return lib.write_guest(path, NAME, cmdline, memory_mib=memory_mib, console=False,
                               entropy=False, balloon=False)

    def prepare(self, _setting):
        self.destination = Side("destination", self.where.destination, self.workdir, self.guest,
                                self.reader, receive=self.where.address + ":0")

    def move(self, seconds):
        """As qemu.Pair.move(); starting the command is part of the time, as for its user."""
        move = self.source.host.begin("move", NAME, "--to", self.destination.monitor.listen,
                                      "--json", "--time-limit", f"{seconds:.0f}s", *self.options)
        out, err = move.communicate()
        done = time.monotonic_ns()
        if move.returncode == 7:
            return None
        if move.returncode:
            raise RuntimeError(f"segue move: exit {move.returncode}: {err.strip()}")
        self.result = json.loads(out)
        return done

    def sent_mib(self):
        return int(self.result["progress"]["bytes_sent"]) / (1 << 20)

    def close(self):
        for side in (self.source, self.destination):
            if side:
                side.monitor.kill()
