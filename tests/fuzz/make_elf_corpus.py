#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/elf: a kernel for the paravirtual machine, and ways in which it can lie."""
import pathlib
import struct
import sys

DIRECT, VA_END, MAX = 0x60000000, 1 << 39, (1 << 64) - 1
LOAD, INTERP, NOTE, EXECUTE = 1, 3, 4, 1
HEADER, SEGMENT = 64, 56


def segment(vaddr=DIRECT + 0x1000, offset=0x100, filesz=16, memsz=16, kind=LOAD, flags=7):
    return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr, vaddr, filesz, memsz, 4096)


def kernel(segments=None, entry=DIRECT + 0x1000, ident=b"\x7fELF\x02\x01\x01", kind=2, machine=62,
           version=1, phoff=HEADER, phentsize=SEGMENT, phnum=None, size=0x200):
    segments = [segment(), segment(DIRECT + 0x3000, memsz=0x1234)] if segments is None else segments
    head = ident.ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, version, entry, phoff, 0, 0, HEADER, phentsize,
        len(segments) if phnum is None else phnum, 0, 0, 0)
    return (head + b"".join(segments)).ljust(size, b"k")[:size]


CASES = {
    "good": kernel(),
    "empty": b"",
    "magic-only": b"\x7fELF",
    "header-only": kernel(size=HEADER),
    "headers-cut": kernel(size=HEADER + SEGMENT + 5),
    "body-cut": kernel(size=0x108),
    "class-32": kernel(ident=b"\x7fELF\x01\x01\x01"),
    "big-endian": kernel(ident=b"\x7fELF\x02\x02\x01"),
    "other-machine": kernel(machine=183),
    "dynamic": kernel(kind=3),
    "interpreter": kernel([segment(), segment(kind=INTERP)]),
    "many": kernel([segment(DIRECT + 0x1000 * i) for i in range(64)], size=0x2000),
    "too-many": kernel(phnum=65),
    "most": kernel(phnum=0xffff),
    "none": kernel([]),
    "phoff-far": kernel(phoff=MAX - 8),
    "phoff-odd": kernel(phoff=7),
    "phentsize": kernel(phentsize=1),
    "offset-wraps": kernel([segment(offset=MAX - 7)]),
    "filesz-wraps": kernel([segment(filesz=MAX, memsz=MAX)]),
    "memsz-wraps": kernel([segment(memsz=MAX - DIRECT)]),
    "memsz-all": kernel([segment(DIRECT, memsz=2 << 20)]),
    "memsz-nearly-all": kernel([segment(DIRECT, memsz=(2 << 20) - 5 * 4096)], entry=DIRECT),
    "memsz-less": kernel([segment(memsz=15)]),
    "below": kernel([segment(DIRECT - 4096)]),
    "high-half": kernel([segment(0xffffffff81000000)]),
    "at-the-end": kernel([segment(VA_END - 8)]),
    "beyond-ram": kernel([segment(DIRECT + (2 << 20) - 8)]),
    "overlap": kernel([segment(), segment(DIRECT + 0x1008, 0x40, 256, 4096)]),
    "empty-segment": kernel([segment(), segment(MAX, MAX, 0, 0)]),
    "entry-outside": kernel(entry=DIRECT),
    "entry-data": kernel([segment(flags=6)]),
    "entry-end": kernel(entry=DIRECT + 0x1010),
    "headers-are-code": kernel([segment(DIRECT, 0, 0x200, 0x200)], entry=DIRECT + 4),
    "bzimage": (b"\0" * 0x202 + b"HdrS").ljust(0x400, b"\0"),
}

if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent) / "corpus" / "elf"
    out.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (out / name).write_bytes(data)
