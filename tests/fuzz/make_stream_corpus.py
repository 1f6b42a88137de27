#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/fuzz/corpus/stream from one recorded move: make_stream_corpus.py SEED OUT.

SEED comes from record-stream --seed. OUT gets the move itself, and moves that are cut off,
out of order, bit-flipped, or say more than they may, with and without FIX (see
fuzz_stream.c), which puts checks and sequence numbers right.
"""

import os
import random
import struct
import sys


def split(seed):
    """The records of a seed, each with the byte that names its connection."""
    records, at = [], 1
    while at < len(seed):
        size = 33 + struct.unpack_from('<I', seed, at + 9)[0]
        records.append(seed[at:at + size])
        at += size
    return records


def kind(record):
    return struct.unpack_from('<H', record, 5)[0]


def patched(record, at, form, *values):
    record = bytearray(record)
    struct.pack_into(form, record, at, *values)
    return bytes(record)


def first(records, which):
    return next(i for i, r in enumerate(records) if kind(r) == which)


def variants(records):
    rng = random.Random(5)
    pages = first(records, 4)
    yield 'move', records
    for i, at in enumerate((1, 20, 34, 120)):
        whole = b''.join(records)
        yield f'cut-{i}', [whole[:len(records[0]) * (i > 1) + at]]
    yield 'cut-late', [b''.join(records[:pages + 2])[:-7]]
    swapped = list(records)
    swapped[pages], swapped[pages + 1] = swapped[pages + 1], swapped[pages]
    yield 'swapped', swapped[:pages + 3]
    yield 'no-round-end', [r for r in records if kind(r) != 5]
    yield 'pages-first', records[pages:pages + 1] + records[:1]
    yield 'pages-on-control', records[:pages] + [b'\0' + records[pages][1:]]
    yield 'hello-twice', records[:1] + records[:1]
    for i in range(6):
        whole = bytearray(b''.join(records[:pages + 3]))
        for _ in range(1 + i):
            whole[rng.randrange(len(records[0]), len(whole))] ^= 1 << rng.randrange(8)
        yield f'flipped-{i}', [bytes(whole)]
    body = 1 + 32
    for name, at, form, values in (
            ('long-body', 9, '<I', (0xffffffff,)),
            ('many-entries', body + 2, '<H', (0xffff,)),
            ('no-entries', body + 2, '<H', (0,)),
            ('region', body, '<H', (99,)),
            ('far-page', body + 8, '<Q', ((1 << 64) - 1,)),
            ('page-times-4096', body + 8, '<Q', (1 << 52,)),
            ('long-run', body + 16, '<I', (0xffffff,)),
            ('kind', body + 19, '<B', (200,)),
            ('long-payload', body + 20, '<I', (0xfffffff0,))):
        yield name, records[:pages] + [patched(records[pages], at, form, *values)]
    deltas = [r for r in records if kind(r) == 4 and r[body + 19] in (2, 3)]
    for i, record in enumerate(deltas[:3]):
        table = body + 8 + 16 * struct.unpack_from('<H', record, body + 2)[0]
        noise = record[:table] + rng.randbytes(len(record) - table)
        yield f'noise-{i}', records[:3] + [noise]
    yield from packed_variants(records, rng)


def frame(blocks, says):
    """A zstd frame that SAYS so many bytes; BLOCKS: (type, size, bytes), raw 0 and RLE 1."""
    out = struct.pack('<IBI', 0xfd2fb528, 0xa0, says)
    for i, (type_, size, data) in enumerate(blocks):
        last = i == len(blocks) - 1
        out += struct.pack('<I', size << 3 | type_ << 1 | last)[:3] + data
    return out


def packed_variants(records, rng):
    """PACKED records: libzstd gets to see what only a hostile source would send."""
    at = first(records, 17)
    good = records[at]
    head, content = good[:33], good[33 + 8:]

    def one(length, zero, inside):
        body = struct.pack('<II', length, zero) + inside
        record = patched(head, 9, '<I', len(body)) + body
        return records[:at] + [record]

    size = struct.unpack_from('<I', good, 33)[0]
    zero_page = struct.pack('<HHIQII', 0, 1, 0, 0, 1, 0)
    far = struct.pack('<HHIQII', 0, 1, 0, 5, 9 | 1 << 24, 9 * 4096)
    yield 'packed', records[:at + 1]
    yield 'packed-longer', one(size + 1, 0, content)
    yield 'packed-endless', one(0xffffffff, 0, content)
    yield 'packed-reserved', one(size, 1, content)
    yield 'packed-cut', one(size, 0, content[:-9])
    yield 'packed-behind', one(size, 0, content + b'behind')
    yield 'packed-twice', one(size, 0, content + content)
    yield 'packed-empty', one(24, 0, b'')
    yield 'packed-skippable', one(24, 0, struct.pack('<II', 0x184d2a50, 16) + bytes(16))
    yield 'packed-old-format', one(size, 0, b'\x27' + content[1:])
    yield 'packed-raw', one(24, 0, frame([(0, 24, zero_page)], 24))
    yield 'packed-swells', one(24, 0, frame([(1, 0x1ffff, b'\0')], 24))
    yield 'packed-full', one(0x110000, 0, frame([(1, 0x1ffff, b'\0')] * 9, 0x110000))
    yield 'packed-far', one(24, 0, frame([(0, 24, far)], 24))
    for i in range(4):
        noise = bytearray(content)
        for _ in range(1 + 3 * i):
            noise[rng.randrange(9, len(noise))] ^= 1 << rng.randrange(8)
        yield f'packed-noise-{i}', one(size, 0, bytes(noise))


def main():
    with open(sys.argv[1], 'rb') as file:
        records = split(file.read())
    os.makedirs(sys.argv[2], exist_ok=True)
    for name, made in variants(records):
        for fix in (0, 1):
            path = os.path.join(sys.argv[2], name + ('-fixed' if fix else ''))
            with open(path, 'wb') as file:
                file.write(bytes([fix]) + b''.join(made))


if __name__ == '__main__':
    main()
