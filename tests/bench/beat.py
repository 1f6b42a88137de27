# SPDX-License-Identifier: Apache-2.0
"""When the guest was seen alive: its serial bytes, from both ends of a move, on one clock."""
import ctypes
import os
import select
import threading
import time


def calibrate_tsc_khz():
    """The rate of this host's time stamp counter, measured against its monotonic clock."""
    import mmap

    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f3148c1e2204809d0c3"))  # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
    at = ctypes.addressof(ctypes.c_char.from_buffer(code))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(at)
    t0, c0 = time.monotonic_ns(), rdtsc()
    time.sleep(0.1)
    t1, c1 = time.monotonic_ns(), rdtsc()
    return round((c1 - c0) * 1_000_000 / (t1 - t0))


class Reader:
    """Reads any number of descriptors in one thread and keeps (monotonic ns, source, bytes)."""

    def __init__(self):
        self.seen = []
        self.lock = threading.Lock()
        self.poll = select.poll()
        self.files = {}
        self.wake_read, self.wake_write = os.pipe()
        self.poll.register(self.wake_read, select.POLLIN)
        self.ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def add(self, source, fd):
        os.set_blocking(fd, False)
        self.files[fd] = source
        self.poll.register(fd, select.POLLIN)
        os.write(self.wake_write, b"a")

    def _run(self):
        try:  # a reader that waits for a processor would see gaps that were not the guest's
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        except OSError:
            pass
        while not self.ending:
            for fd, _ in self.poll.poll(1000):
                self._take(fd)

    def _take(self, fd):
        now = time.monotonic_ns()
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if fd == self.wake_read:
            return
        if not data:
            self.poll.unregister(fd)
            return
        with self.lock:
            self.seen.append((now, self.files[fd], data))

    def snapshot(self):
        with self.lock:
            return list(self.seen)

    def text(self, source=None):
        return b"".join(d for _, s, d in self.snapshot() if source in (None, s)).decode("latin1")

    def wait_for(self, words, source=None, seconds=30.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.text(source)
            if words in text:
                return text
            if "FAIL" in text:
                raise RuntimeError("guest: " + text[text.index("FAIL"):].split("\n")[0])
            time.sleep(0.005)
        raise TimeoutError(f"no {words!r} from the guest in {seconds:.0f} s: {self.text()[-200:]!r}")

    def lines(self):
        """(when it was complete, in monotonic ns, line) of all that came from anybody."""
        found, rest = [], b""
        for at, _, data in self.snapshot():
            *whole, rest = (rest + data).split(b"\n")
            found += [(at, line.decode("latin1").rstrip("\r")) for line in whole]
        return found

    def when(self, words):
        """When the first line with WORDS was complete; None if there is none."""
        return next((at for at, line in self.lines() if words in line), None)

    def first_after(self, source, since):
        for at, s, _ in self.snapshot():
            if s == source and at >= since:
                return at
        return None

    def hand_over(self, since):
        """From the guest's last byte at the source to its first at the destination, in ns."""
        last = since
        for at, source, _ in self.snapshot():
            if at >= since and source == "destination":
                return at - last
            last = at
        return None

    def longest_gap(self, since, until):
        """Longest stretch without a byte from anybody, in ns, in [since, until]."""
        times = [since] + [at for at, _, _ in self.snapshot() if since < at < until] + [until]
        return max(b - a for a, b in zip(times, times[1:]))

    def close(self):
        self.ending = True
        os.write(self.wake_write, b"e")
        self.thread.join()
        for fd in list(self.files) + [self.wake_read, self.wake_write]:
            os.close(fd)


def check_beats(text):
    """Heartbeats go a to z round and round. Returns what is wrong with the order, or None."""
    letters = [c for c in text.split("stress: ready\n")[-1] if "a" <= c <= "z"]
    for n, (a, b) in enumerate(zip(letters, letters[1:])):
        if ord(b) - ord("a") != (ord(a) - ord("a") + 1) % 26:
            return f"heartbeat {n + 1} of {len(letters)} is {b!r} after {a!r}"
    return None
