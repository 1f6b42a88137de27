#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of fuzz_pv_tables: guests' page tables, some of them good."""
import pathlib
import random
import struct

HERE = pathlib.Path(__file__).parent / "corpus" / "pv_tables"
P, W, U, A, D, X = 1, 0x20, 0x40, 0x80, 0x100, 0x200
READ, ALL = P | U | A, P | U | A | W | D | X
FAULT, FLUSH, SCAN, TRACK, HARVEST, REFUSED, ROOT, ENTRY = 0, 8, 9, 10, 11, 12, 13, 14
LOW, TOP, KERNEL, SPARSE, BEYOND, MIDDLE = 0, 1, 2, 3, 4, 5
LAST = 511  # the last page of RAM


def entry(table, index, page, bits):
    """Entry INDEX of the table in page TABLE (below 32)."""
    return struct.pack("<8B", table, index & 255, page & 255,
                       page >> 8 & 3 | (4 if index >= 256 else 0), bits & 255, bits >> 8, 0, 0)


def wild(eight):
    return eight[:5] + bytes([eight[5] | 4]) + eight[6:]


def op(kind, *rest, shadow=0):
    return (bytes([shadow * 16 + kind]) + bytes(rest)).ljust(8, b"\0")


def at(where, page):
    return page & 255, page >> 8 & 15 | where << 4, 0


def fault(where, page, access, shadow=0):
    return op(FAULT, *at(where, page), access, shadow=shadow)


def flush(where, page, pages, scanned=0, shadow=0):
    return op(FLUSH, *at(where, page), pages, 0, scanned, shadow=shadow)


def save(name, around, entries, operations):
    body = b"".join(entries)
    assert len(entries) < 256
    (HERE / name).write_bytes(bytes([around, len(entries)]) + body + b"".join(operations))


def tree(root, mid, leaf, top, middle, pages, bits):
    """One last-level table with PAGES (index, page) and the way to it."""
    return [entry(root, top, mid, P), entry(mid, middle, leaf, P)] + [
        entry(leaf, i, page, bits) for i, page in pages]


def around_a_boundary():
    """Pages 0 to 63 below 1 GiB: address kind MIDDLE."""
    run = tree(0, 4, 5, 0, 511, [(448 + i, 100 + i) for i in range(64)], ALL)
    work = [fault(MIDDLE, page, access) for page in (0, 20, 63, 40) for access in (0, 1, 2)]
    save("run", 4, run, work + [flush(MIDDLE, 10, 3), flush(MIDDLE, 0, 64)] + work)
    odd = tree(0, 4, 5, 0, 511, [(448 + i, 100 + 3 * i) for i in range(64)], ALL)
    every = [fault(MIDDLE, page, 1) for page in range(64)]
    save("scattered", 0, odd, every + every[::-1])
    save("scattered-around", 6, odd, every[::5] + [op(REFUSED)] + every[::7])
    save("read-only", 4, [e if i % 3 else e[:4] + bytes([READ, 0]) + e[6:]
                          for i, e in enumerate(run)], work)


def tracking():
    run = tree(0, 4, 5, 0, 511, [(448 + i, 200 + i) for i in range(64)], ALL)
    run += [entry(1, 0, 4, P)]  # two roots share a table
    reads = [fault(MIDDLE, page, 0, shadow) for page in (0, 17, 33) for shadow in (0, 1)]
    writes = [fault(MIDDLE, page, 1, shadow) for page in (1, 18, 34, 63) for shadow in (0, 1)]
    for track in (1, 2):
        save(f"track-{track}", 4, run,
             reads + [op(TRACK, track)] + writes + [op(SCAN, *at(MIDDLE, 0), 64), op(HARVEST)] +
             writes + [flush(MIDDLE, 0, 32, 1), flush(MIDDLE, 32, 8, 0, 1), op(HARVEST)] + reads)


def limits():
    top = tree(0, 4, 5, 511, 511, [(448 + i, 60 + i) for i in range(64)], ALL)
    low = tree(0, 6, 7, 0, 0, [(i, 60 + i) for i in range(64)], READ)
    ends = [fault(where, page, 0) for where in (LOW, TOP, BEYOND) for page in (0, 15, 16, 63, 64)]
    save("ends", 6, top + low, ends + [flush(LOW, 0, 255), flush(TOP, 0, 255)] + ends)
    kernel = tree(2, 4, 5, 1, 257, [(i, LAST - i) for i in range(64)], P | A | W | D)
    save("kernel", 6, kernel, [fault(KERNEL, page, 1, 2) for page in (0, 63, 64, 70, 127, 128)])


def not_trees():
    self_map = [entry(0, i, 0, ALL) for i in range(0, 512, 4)]
    far = [op(FAULT, i * 4 & 255, i % 16 | SPARSE << 4, i * 12 & 255, i % 3) for i in range(200)]
    save("self-map", 6, self_map, far)
    loop = [entry(i % 3, i, (i + 1) % 3, ALL) for i in range(200)]
    save("loop", 3, loop, far + [op(FAULT, *at(LOW, i), 0, shadow=1) for i in range(16, 200, 9)])
    outside = [entry(0, i, 512 + i, ALL) for i in range(100)] + [
        wild(entry(0, 300 + i, i, ALL)) for i in range(100)]
    save("outside", 4, outside, far)
    roots = [op(ROOT, 128, i, shadow=i % 3) + fault(LOW, 20, 0, i % 3) for i in range(64)]
    save("roots", 4, self_map, roots)


def noise():
    dice = random.Random(3)
    for i in range(4):
        entries = [entry(dice.randrange(8), dice.randrange(512), dice.randrange(8 + i * 170),
                         dice.choice((P, ALL, READ, dice.randrange(1024)))) for _ in range(250)]
        work = [bytes(dice.randrange(256) for _ in range(8)) for _ in range(300)]
        save(f"noise-{i}", dice.randrange(7), entries, work)


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    around_a_boundary()
    tracking()
    limits()
    not_trees()
    noise()


if __name__ == "__main__":
    main()
