# SPDX-License-Identifier: Apache-2.0
"""Records of the migration stream (proto/stream.md), taken apart and put together for tests."""
import ctypes
import ctypes.util
import struct

HEADER = struct.Struct("<IHHIIQQ")  # magic, type, flags, length, round, sequence, check
MAGIC = 0x31524753
HELLO, WELCOME, PAGES, ROUND_END, STATE, FINISH, GRANT, PACKED = 1, 2, 4, 5, 7, 8, 10, 17
ZERO, RAW, LZ4, DELTA = range(4)

_xxhash = None


def _xxh3(data, seed):
    global _xxhash
    if _xxhash is None:
        name = ctypes.util.find_library("xxhash")
        if not name:
            raise FileNotFoundError("libxxhash is not here")
        _xxhash = ctypes.CDLL(name).XXH3_64bits_withSeed
        _xxhash.restype = ctypes.c_uint64
        _xxhash.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    return _xxhash(bytes(data), len(data), seed)


class Record:
    def __init__(self, kind, body=b"", round=0, sequence=0, flags=0, magic=MAGIC):
        self.kind, self.body, self.round = kind, body, round
        self.sequence, self.flags, self.magic = sequence, flags, magic
        self.length = None  # what the header claims; None: the truth
        self.check = None   # None: the right one

    def pack(self):
        length = len(self.body) if self.length is None else self.length
        head = HEADER.pack(self.magic, self.kind, self.flags, length, self.round, self.sequence, 0)
        check = self.check
        if check is None:
            check = _xxh3(self.body, _xxh3(head[:24], 0))
        return head[:24] + struct.pack("<Q", check) + self.body


class Parser:
    """Feed it bytes; it hands out whole records, as sent."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            magic, kind, flags, length, round, sequence, check = HEADER.unpack_from(self.buffer)
            if magic != MAGIC:
                raise ValueError(f"magic {magic:#x}")
            if len(self.buffer) < HEADER.size + length:
                return
            record = Record(kind, bytes(self.buffer[HEADER.size:HEADER.size + length]), round, sequence, flags)
            right = record.pack()
            if right[24:32] != struct.pack("<Q", check):
                raise ValueError("the check our own sender wrote is not the one stream.md asks for")
            del self.buffer[:HEADER.size + length]
            yield record


def pages_body(region, entries, payload=b"", count=None):
    """ENTRIES: (first page, pages, kind, payload length)."""
    body = struct.pack("<HHI", region, len(entries) if count is None else count, 0)
    for first, pages, kind, length in entries:
        body += struct.pack("<Q", first) + pages.to_bytes(3, "little") + bytes([kind]) + struct.pack("<I", length)
    return body + payload


RAW_BLOCK, RLE_BLOCK = 0, 1


def zstd_frame(blocks, says):
    """A zstd frame that SAYS it holds so many bytes. BLOCKS: (type, bytes of content, data)."""
    frame = struct.pack("<IBI", 0xFD2FB528, 0xA0, says)
    for i, (type_, size, data) in enumerate(blocks):
        last = i == len(blocks) - 1
        frame += (size << 3 | type_ << 1 | last).to_bytes(3, "little") + data
    return frame


def packed_body(inside, says=None, frame=None):
    """PACKED with INSIDE, a PAGES body; SAYS and FRAME in place of what is right for it."""
    says = len(inside) if says is None else says
    frame = zstd_frame([(RAW_BLOCK, len(inside), inside)], says) if frame is None else frame
    return struct.pack("<II", says, 0) + frame
