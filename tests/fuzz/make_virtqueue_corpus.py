#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of fuzz_virtqueue: valid work for every device, and some that is not."""
import pathlib
import struct

NEXT, WRITE, INDIRECT = 1, 2, 4
RNG, CONSOLE, BALLOON, NET, BLK, PLAY, LOAD, PLAY_MMIO = range(8)
HERE = pathlib.Path(__file__).parent / "corpus" / "virtqueue"


class Image:
    """Guest RAM from address 0 on, with the rings where the target puts them."""

    def __init__(self):
        self.bytes = bytearray(0x1400)

    def put(self, at, data):
        self.bytes.extend(bytes(max(0, at + len(data) - len(self.bytes))))
        self.bytes[at:at + len(data)] = data

    def desc(self, queue, i, addr, length, flags=0, following=0):
        self.put(0x400 * queue + 16 * i, struct.pack("<QIHH", addr, length, flags, following))

    def avail(self, queue, *heads, idx=None):
        ring = struct.pack("<HH", 0, len(heads) if idx is None else idx)
        self.put(0x400 * queue + 0x100, ring + struct.pack(f"<{len(heads)}H", *heads))


def save(name, kind, choice, body):
    (HERE / name).write_bytes(bytes([kind, choice]) + bytes(body))


def blk(kind, sector, data, length, status_flags=WRITE):
    image = Image()
    image.put(0x1400, struct.pack("<IIQ", kind, 0, sector))
    image.desc(0, 0, 0x1400, 16, NEXT, 1)
    image.desc(0, 1, 0x2000, length, NEXT | (WRITE if kind in (0, 8) else 0), 2)
    image.desc(0, 2, 0x1420, 1, status_flags)
    image.put(0x2000, data)
    image.avail(0, 0)
    return image.bytes


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(tag, value):
    return varint(tag << 3) + varint(value)


def field(tag, data):
    return varint(tag << 3 | 2) + varint(len(data)) + data


def device_state(device, queues):
    """A segue.Virtio (proto/virtio.proto) that its device accepts."""
    config = struct.pack("<HHH", 0x1af4, 0x1040 + device, 6) + bytes(10)
    config += struct.pack("<II", 0xc0100000, 0xc0200000) + bytes(232)
    function = field(1, config) + field(2, bytes(16 * (queues + 1))) + number(3, 3)
    pci = field(1, function) + number(5, 0) + field(6, bytes(range(1, queues + 1)))
    state = number(1, device) + number(2, 15) + number(3, 1 << 32)
    for i in range(queues):
        ring = number(1, 16) + number(2, 1) + number(3, 0x400 * i)
        state += field(5, ring + number(4, 0x400 * i + 0x100) + number(5, 0x400 * i + 0x180))
    own = {1: field(7, number(1, 1)), 5: field(8, number(1, 7) + number(2, 3))}
    return state + field(6, pci) + own.get(device, b"")


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    image = Image()
    image.desc(0, 0, 0x2000, 64, WRITE)
    image.avail(0, 0, 0, 0)
    save("rng", RNG, 1, image.bytes)
    image.desc(0, 0, 0x1400, 32, INDIRECT)
    image.put(0x1400, struct.pack("<QIHHQIHH", 0x2000, 8, NEXT | WRITE, 1, 0x3000, 9, WRITE, 0))
    save("rng-indirect", RNG, 3, image.bytes)
    image.desc(0, 0, 0x2000, 64, NEXT | WRITE, 0)
    save("rng-loop", RNG, 0, image.bytes)
    image.desc(0, 0, 0xffffffffffffffff, 64, WRITE)
    save("rng-wild", RNG, 0, image.bytes)
    image.avail(0, 0, idx=0x8000)
    save("rng-index", RNG, 0, image.bytes)

    image = Image()
    image.desc(0, 0, 0x2000, 16, WRITE)
    image.desc(1, 0, 0x1400, 5, 0)
    image.put(0x1400, b"hello")
    image.avail(0, 0)
    image.avail(1, 0)
    save("console", CONSOLE, 0, image.bytes)

    image = Image()
    image.put(0x1400, struct.pack("<III", 0x20, 0x21, 0x1f))
    image.desc(0, 0, 0x1400, 12)
    image.desc(2, 0, 0x40000, 0x4000, WRITE)
    image.avail(0, 0)
    image.avail(2, 0)
    save("balloon", BALLOON, 4 | 8, image.bytes)

    image = Image()
    for i in range(8):
        image.desc(0, i, 0x2000 + 0x800 * i, 1500, WRITE)
    image.avail(0, *range(8))
    image.desc(1, 0, 0x1400, 100)
    image.avail(1, 0)
    image.put(0x1480, b"\x03\x00")
    image.desc(2, 0, 0x1480, 2, NEXT, 1)
    image.desc(2, 1, 0x1490, 1, WRITE)
    image.avail(2, 0)
    save("net", NET, 4, image.bytes)

    save("blk-read", BLK, 0, blk(0, 1, b"", 512))
    save("blk-write", BLK, 8, blk(1, 2, b"x" * 512, 512))
    save("blk-flush", BLK, 0, blk(4, 0, b"", 0))
    save("blk-id", BLK, 0, blk(8, 0, b"", 20))
    save("blk-discard", BLK, 0, blk(11, 0, struct.pack("<QII", 8, 8, 0), 16))
    save("blk-zeroes", BLK, 0, blk(13, 0, struct.pack("<QII", 16, 8, 1), 16))
    save("blk-far", BLK, 0, blk(0, 1 << 55, b"", 512))
    save("blk-reset", BLK, 16, blk(0, 0, b"", 0x8000))
    save("blk-status", BLK, 0, blk(0, 0, b"", 512, 0))

    def access(where, size, offset, value):
        return struct.pack("<BBHI", where, size, offset, value)

    save("play-bars", PLAY, 0, b"".join(
        access(0, 2, 0x8000 + 0x10, value) + access(4, 2, 0x8000 + 0x10, 0)
        for value in (0xffffffff, 0xc0000000, 0xd0000000, 0xfee00000)))
    save("play-common", PLAY, 0, b"".join(
        access(1, size, offset, value) + access(5, size, offset, 0)
        for offset in range(0, 64, 2) for size, value in ((1, 1), (2, 0xffffffff))))
    save("play-ports", PLAY, 0, access(8, 2, 0, 0x80000804) + access(8, 3, 4, 7))

    def mmio(*writes, device=0):
        return b"".join(access(device | 8, 2, offset, value) for offset, value in writes)

    # Status, features, a queue, ready, a doorbell, its interrupt, all of it again.
    begin = [(0x70, 1), (0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0), (0x20, 0), (0x70, 11)]
    queue = [(0x30, 0), (0x38, 16), (0x80, 0), (0x90, 0x100), (0xa0, 0x180), (0x44, 1)]
    work = [(0x70, 15), (0x50, 0), (0x50, 7), (0x64, 3), (0x44, 0), (0x44, 1), (0x70, 0)]
    save("play-mmio", PLAY_MMIO, 0, mmio(*begin, *queue, *work, *begin, *queue, *work))
    save("play-mmio-balloon", PLAY_MMIO, 0, mmio(*begin, *queue, *work, (0x104, 9), device=1))
    save("play-mmio-wild", PLAY_MMIO, 0, b"".join(
        access(how, size, offset, value) for offset in range(0, 0x110, 4)
        for how, size, value in ((0, 2, 0xffffffff), (4, 2, 0), (1, 2, 1), (5, 3, 0))))
    word = [(0xd0, 0x1004), (0xd4, 0), (0xd0, 0xfffffffc), (0xd4, 0xffffffff), (0xd4, 0)]
    save("play-mmio-status", PLAY_MMIO, 0, mmio(*word, *begin, *word[:2], *queue, *work, *word))
    save("play-mmio-far", PLAY_MMIO, 0, mmio(*begin, (0x84, 0xffffffff), (0x80, 0xfffffff0),
                                             (0x30, 0xffffffff), (0x44, 1), (0x30, 0), (0x44, 1)))

    for kind, (device, queues) in enumerate([(4, 1), (3, 2), (5, 5), (1, 3), (2, 1)]):
        save(f"load-{kind}", LOAD, kind, device_state(device, queues))
    config = struct.pack("<HH", 0x1b36, 8) + bytes(252)
    # Over MMIO: field 9 has the transport's registers, an interrupt among them.
    for kind, (device, queues) in ((6, (4, 1)), (7, (5, 5))):
        save(f"load-{kind}", LOAD, kind, device_state(device, queues) +
             field(9, number(1, 1) + number(3, 0xffffffff) + number(4, 3)))
    save("load-5", LOAD, 5, number(1, 0x80000804) + field(2, field(1, config)))


if __name__ == "__main__":
    main()
