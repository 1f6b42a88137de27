# SPDX-License-Identifier: Apache-2.0
"""What is measured: guests, loads, links, and QEMU's settings worth trying on each."""
from dataclasses import dataclass

from memory import GUEST_GO, MIB
from qemu import SETTINGS

DIRTY_BASE = 64 * MIB
LOW, MIDDLE, HIGHEST = 2000, 20000, 0  # pages a second; 0: as fast as the guest can


@dataclass(frozen=True)
class Case:
    name: str
    content: str = "mixed"
    memory: int = 1024 * MIB
    touched: int = 1024 * MIB
    dirty_mib: int = 0
    rate: int = HIGHEST
    link: str = "loopback"

    def settings(self):
        """QEMU's settings that could be its best on this case."""
        names = ["plain", "plain 20ms", "multifd 4", "multifd 4 20ms", "multifd 2 20ms"]
        if self.dirty_mib:
            names.append("xbzrle 20ms")
        if self.link != "loopback":
            names += ["multifd 2 zstd", "multifd 2 zstd 20ms"]
        elif self.content == "mixed" and not self.dirty_mib and self.memory <= 1024 * MIB:
            names += ["multifd 2 zstd", "multifd 2", "xbzrle"]
        return names

    def cmdline(self, tsc_khz):
        words = {"tsc_khz": tsc_khz, "beat_us": 500, "wait": hex(GUEST_GO), "verify": 16,
                 "dirty_mib": self.dirty_mib, "dirty_base": hex(DIRTY_BASE), "rate": self.rate}
        return " ".join(f"{k}={v}" for k, v in words.items())


def _all():
    big = 4096 * MIB
    yield Case("zero-idle", content="zero")
    yield Case("mixed-idle")
    yield Case("random-idle", content="random")
    yield Case("mixed-idle-4g", memory=big, touched=big)
    yield Case("zero-idle-4g", content="zero", memory=big, touched=big)
    yield Case("mixed-idle-4g-untouched", memory=big, touched=256 * MIB)
    for mib in (64, 256):
        for word, rate in (("low", LOW), ("middle", MIDDLE), ("highest", HIGHEST)):
            yield Case(f"mixed-{mib}m-{word}", dirty_mib=mib, rate=rate)
    yield Case("zero-256m-highest", content="zero", dirty_mib=256)
    yield Case("random-64m-highest", content="random", dirty_mib=64)
    for link in ("10G", "1G"):
        yield Case(f"mixed-idle-{link}", link=link)
        yield Case(f"random-idle-{link}", content="random", link=link)
        yield Case(f"mixed-64m-middle-{link}", dirty_mib=64, rate=MIDDLE, link=link)
        yield Case(f"mixed-64m-highest-{link}", dirty_mib=64, link=link)


CASES = {c.name: c for c in _all()}
QUICK_CASES = ("zero-idle", "mixed-idle", "random-idle", "mixed-64m-highest", "mixed-64m-highest-10G")
QUICK_SETTINGS = ("plain", "plain 20ms", "multifd 4 20ms")
ALL_SETTINGS = tuple(SETTINGS)
