# SPDX-License-Identifier: Apache-2.0
"""A QEMU monitor connection: one command, one answer."""
import json
import socket


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path, timeout=10):
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout)
        self._sock.connect(path)
        self._file = self._sock.makefile("rw", encoding="utf-8")
        self._file.readline()
        self.command("qmp_capabilities")

    def command(self, name, /, **arguments):
        json.dump({"execute": name, "arguments": arguments}, self._file)
        self._file.write("\n")
        self._file.flush()
        while True:
            line = self._file.readline()
            if not line:
                raise QmpError(f"{name}: QEMU closed its monitor")
            reply = json.loads(line)
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise QmpError(f"{name}: {reply['error']['desc']}")

    def human(self, line):
        return self.command("human-monitor-command", **{"command-line": line})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._sock.close()
