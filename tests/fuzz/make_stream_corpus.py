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
