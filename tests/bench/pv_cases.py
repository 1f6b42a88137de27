# SPDX-License-Identifier: Apache-2.0
"""What is measured without hardware virtualization, and what is wanted of it."""
from dataclasses import dataclass

NATIVE, UML = "native", "user-mode-linux"


@dataclass(frozen=True)
class PvCase:
    what: str
    unit: str
    peer: str = ""       # whom WANTED is held against
    wanted: float = 0    # times as fast as PEER; 0: nothing in particular
    better: str = "lower"

    def speed(self, ours, peer):
        """How many times as fast OURS is as PEER."""
        return ours / peer if self.better == "higher" else peer / ours


CASES = {
    "cpu-integer": PvCase("integer loop", "ns", NATIVE, 0.98),
    "cpu-float": PvCase("floating-point loop", "ns", NATIVE, 0.98),
    "mem-stream": PvCase("copying 64 MiB", "GB/s", NATIVE, 0.95, "higher"),
    "mem-random": PvCase("a read anywhere in 128 MiB", "ns", NATIVE, 0.95),
    "syscall": PvCase("null system call", "ns", UML, 2),
    "clock": PvCase("reading the clock", "ns"),
    "touch-sequence": PvCase("first touch of a page, in sequence", "ns", UML, 4),
    "touch-random": PvCase("first touch of a page, scattered", "ns", UML, 4),
    "mmap": PvCase("mmap of 64 KiB, one touch, munmap", "µs"),
    "signal": PvCase("sending oneself a signal", "µs"),
    "file-read": PvCase("reading 4 KiB of a cached file", "µs"),
    "file-write": PvCase("writing 4 KiB of a cached file", "µs"),
    "fork-exit": PvCase("fork and exit", "µs", UML, 2.5),
    "fork-exec": PvCase("fork and exec, static program", "µs", UML, 2.5),
    "switch": PvCase("hand-over to another process", "µs"),
    "pipe": PvCase("pipe round trip, two processes", "µs", UML, 2.5),
    "tcp": PvCase("TCP round trip, two processes", "µs"),
    "redis-set": PvCase("redis-benchmark SET, one machine", "1/s", UML, 3, "higher"),
    "redis-get": PvCase("redis-benchmark GET, one machine", "1/s", UML, 3, "higher"),
    "compile": PvCase("tcc on this project's files", "ms", UML, 3),
}
BOOT = {
    "boot": PvCase("exec of the monitor to first program", "ms"),
    "boot-ready": PvCase("the same to the end of its script", "ms"),
}
BOOT_LIMIT_MS = 2000
HUGE = {"mem-stream": "mem-stream-huge", "mem-random": "mem-random-huge"}


@dataclass(frozen=True)
class MoveCase:
    what: str
    command: str             # segue.run= of the guest
    limit: float             # wanted: below this
    unit: str = "ms"


# Whole pages, and one word of each: most of tracking's cost beside the least work.
TRACKING = {
    "tracking-pages": MoveCase("slowdown in pre-copy, program rewriting 64 MiB",
                               "pv-micro,write,64,512", 15, "%"),
    "tracking-words": MoveCase("the same, one word a page",
                               "pv-micro,write,64,1", 15, "%"),
}
BLACKOUT = {
    "blackout-idle": MoveCase("blackout, idle guest of 256 MiB", "pv-micro,beat,500", 5),
    "blackout-redis": MoveCase("blackout, redis under load", "pv-redis-load", 15),
}
EVERYTHING = [*CASES, *BOOT, *TRACKING, *BLACKOUT]
