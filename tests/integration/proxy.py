# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between two monitors that damages what goes through it, on purpose."""
import socket
import threading
import time

from wire import Parser


class Mangler:
    """What happens to the bytes from source to destination. This one lets them be."""

    def connection(self, number, proxy):
        """A function bytes -> bytes for connection NUMBER (0 is control); may call proxy.cut()."""
        return lambda data: data

    def back(self, number):
        """The same for the way back; None: it is let be."""
        return None


class AtOffset(Mangler):
    """
    Once, when byte OFFSET of connection NUMBER comes by: "cut", "flip" or "stall". NUMBER None
    is the first data connection to get that far: the channels take pages as they find the time.
    """

    def __init__(self, number, offset, action, seconds=0):
        self.number, self.offset, self.action, self.seconds = number, offset, action, seconds
        self.hit = threading.Event()

    def connection(self, number, proxy):
        if number != self.number and (self.number is not None or number == 0):
            return lambda data: data
        passed = 0

        def through(data):
            nonlocal passed
            at = self.offset - passed
            passed += len(data)
            if self.hit.is_set() or at >= len(data):
                return data
            self.hit.set()
            if self.action == "flip":
                data = bytearray(data)
                data[at] ^= 0x10
                return bytes(data)
            if self.action == "stall":
                time.sleep(self.seconds)
                return data
            proxy.cut_after = True
            return data[:at]

        return through


class Records(Mangler):
    """Whole records: CHANGE(number, record) returns bytes or records to send instead, or None."""

    def __init__(self, change):
        self.change = change
        self.hit = threading.Event()

    def connection(self, number, proxy):
        return self._through(number)

    def _through(self, number):
        parser = Parser()

        def through(data):
            out = b""
            for record in parser.feed(data):
                new = self.change(number, record)
                if new is None:
                    out += record.pack()
                    continue
                self.hit.set()
                out += b"".join(n if isinstance(n, bytes) else n.pack() for n in new)
            return out

        return through


class Answers(Records):
    """Records of the way back."""

    def connection(self, number, proxy):
        return Mangler.connection(self, number, proxy)

    def back(self, number):
        return self._through(number)


class Proxy:
    def __init__(self, target, mangler=None):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.mangler = mangler or Mangler()
        self.cut_after = False
        self.sockets = []
        self.counts = []  # bytes seen of each connection, source to destination
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = len(self.counts)
            self.counts.append(0)
            self.sockets += [near, far]
            through = self.mangler.connection(number, self)
            threading.Thread(target=self._pump, args=(near, far, through, number), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, self.mangler.back(number), number),
                             daemon=True).start()

    def _pump(self, come, go, through, number):
        try:
            while data := come.recv(1 << 18):
                if come in self.sockets[::2]:
                    self.counts[number] += len(data)
                if through:
                    data = through(data)
                go.sendall(data)
                if self.cut_after:
                    self.cut()
                    return
            go.shutdown(socket.SHUT_WR)
        except OSError:  # one side has gone: as without us, the other is to notice
            self._shut(come, go)
        except ValueError as error:
            print(f"proxy: connection {number}: {error}", flush=True)
            self.cut()

    @staticmethod
    def _shut(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """All connections, both ways, as when the cable is pulled and both sides notice."""
        self._shut(*self.sockets)

    def close(self):
        self.listener.close()
        self.cut()
        for s in self.sockets:
            s.close()
