# SPDX-License-Identifier: Apache-2.0
"""QEMU as the peer: two processes on one machine, driven by QMP."""
import json
import os
import select
import socket
import subprocess
import time

QEMU = "qemu-system-x86_64"

# name: (capabilities, parameters). max-bandwidth stands at "no limit" in all of them.
SETTINGS = {
    "plain": ([], {}),
    "plain 20ms": ([], {"downtime-limit": 20}),
    "multifd 2": (["multifd"], {"multifd-channels": 2}),
    "multifd 2 20ms": (["multifd"], {"multifd-channels": 2, "downtime-limit": 20}),
    "multifd 4": (["multifd"], {"multifd-channels": 4}),
    "multifd 4 20ms": (["multifd"], {"multifd-channels": 4, "downtime-limit": 20}),
    "multifd 2 zstd": (["multifd"], {"multifd-channels": 2, "multifd-compression": "zstd"}),
    "multifd 2 zstd 20ms": (["multifd"], {"multifd-channels": 2, "multifd-compression": "zstd",
                                          "downtime-limit": 20}),
    "xbzrle": (["xbzrle"], {"xbzrle-cache-size": 512 << 20}),
    "xbzrle 20ms": (["xbzrle"], {"xbzrle-cache-size": 512 << 20, "downtime-limit": 20}),
}
UNLIMITED = 1 << 40


class Qmp:
    def __init__(self, path, process, seconds=20):
        end = time.monotonic() + seconds
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{QEMU} did not start") from None
                time.sleep(0.005)
        self.buffer, self.events = b"", []
        self._message(time.monotonic() + seconds)
        self("qmp_capabilities")

    def _message(self, end):
        while b"\n" not in self.buffer:
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("QEMU does not answer")
            data = self.sock.recv(65536)
            if not data:
                raise RuntimeError("QEMU is gone")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def __call__(self, command, **arguments):
        words = {"execute": command}
        if arguments:
            words["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.sock.sendall(json.dumps(words).encode())
        end = time.monotonic() + 30
        while True:
            message = self._message(end)
            if "event" in message:
                self.events.append((time.monotonic_ns(), message))
            elif "error" in message:
                raise RuntimeError(f"{command}: {message['error']['desc']}")
            else:
                return message["return"]

    def wait_status(self, wanted, seconds):
        """Waits for a MIGRATION event with one of WANTED; (when, status), or None in time."""
        end = time.monotonic() + seconds
        while True:
            for at, event in self.events:
                if event["event"] == "MIGRATION" and event["data"]["status"] in wanted:
                    return at, event["data"]["status"]
            self.events.clear()
            try:
                message = self._message(end)
            except TimeoutError:
                return None
            if "event" in message:
                self.events.append((time.monotonic_ns(), message))


class Process:
    """One QEMU. ROLE is "source" or "destination"; its serial port comes in on READER."""

    def __init__(self, role, wrap, workdir, image, memory, cmdline, reader):
        qmp = os.path.join(workdir, f"qemu-{role}.qmp")
        fifo = os.path.join(workdir, f"qemu-{role}.serial")
        os.mkfifo(fifo)
        reader.add(role, os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
        argv = [QEMU, "-accel", "kvm", "-cpu", "qemu64", "-M", "pc", "-smp", "1",
                "-m", str(memory >> 20), "-display", "none", "-nodefaults", "-no-reboot",
                "-name", f"{role},debug-threads=on",
                "-chardev", f"file,id=com1,path={fifo}", "-serial", "chardev:com1",
                "-qmp", f"unix:{qmp},server=on,wait=off", "-kernel", image, "-append", cmdline]
        if role == "destination":
            argv += ["-incoming", "defer"]
        self.log = open(os.path.join(workdir, f"qemu-{role}.log"), "w")
        self.process = subprocess.Popen(wrap(argv), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self.qmp = Qmp(qmp, self.process)
        self.paths = (qmp, fifo)

    def configure(self, setting):
        capabilities, parameters = SETTINGS[setting]
        self.qmp("migrate-set-capabilities",
                 capabilities=[{"capability": c, "state": True} for c in ["events", *capabilities]])
        self.qmp("migrate-set-parameters", **{"max-bandwidth": UNLIMITED, **parameters})

    def listen(self, address):
        self.qmp("migrate-incoming", uri=f"tcp:{address}:0")
        return self.qmp("query-migrate")["socket-address"][0]["port"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.qmp.sock.close()
        self.log.close()
        for path in self.paths:
            if os.path.exists(path):
                os.unlink(path)


class Pair:
    name = "QEMU"

    def __init__(self, where, workdir, image, memory, cmdline, reader):
        self.where = where
        self.source = Process("source", where.source, workdir, image, memory, cmdline, reader)
        self.make_destination = lambda: Process("destination", where.destination, workdir, image,
                                                memory, cmdline, reader)
        self.destination = None

    def prepare(self, setting):
        self.destination = self.make_destination()
        for side in (self.destination, self.source):
            side.configure(setting)
        self.port = self.destination.listen(self.where.address)

    def move(self, seconds):
        """Moves the guest; when the source said it was done (ns), or None if it never was."""
        self.source.qmp("migrate", uri=f"tcp:{self.where.address}:{self.port}")
        end = self.source.qmp.wait_status(("completed", "failed"), seconds)
        if end is None:
            return None
        if end[1] != "completed":
            raise RuntimeError("QEMU's migration failed")
        return end[0]

    def sent_mib(self):
        return self.source.qmp("query-migrate")["ram"]["transferred"] / (1 << 20)

    def close(self):
        for side in (self.source, self.destination):
            if side:
                side.close()
