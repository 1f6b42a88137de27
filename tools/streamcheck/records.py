# SPDX-License-Identifier: Apache-2.0
"""Records and messages of proto/stream.md, one connection and direction at a time."""

import struct
from . import xxh3

HEADER = struct.Struct('<IHHIIQQ')
MAGIC = 0x31524753
KIB = 1024

# type: name, ways, connections, longest body
TYPES = {
    1: ('HELLO', '>', ('control', 'data'), 64 * KIB),
    2: ('WELCOME', '<', ('control',), 64 * KIB),
    3: ('REFUSE', '<', ('control',), 64 * KIB),
    4: ('PAGES', '>', ('data',), 1024 * KIB + 64 * KIB),
    5: ('ROUND_END', '>', ('data',), 0),
    6: ('ROUND_ACK', '<', ('control',), 64 * KIB),
    7: ('STATE', '>', ('control',), 16 * KIB * KIB),
    8: ('FINISH', '>', ('control',), 64 * KIB),
    9: ('READY', '<', ('control',), 64 * KIB),
    10: ('GRANT', '>', ('control',), 64 * KIB),
    11: ('RESUMED', '<', ('control',), 64 * KIB),
    12: ('ABORT', '<>', ('control',), 64 * KIB),
    13: ('QUERY', '>', ('query',), 64 * KIB),
    14: ('ANSWER', '<', ('query',), 64 * KIB),
    15: ('ALIVE', '<>', ('control',), 0),
    16: ('DONE', '>', ('control',), 256 * KIB),
    17: ('PACKED', '>', ('data',), 1024 * KIB + 64 * KIB),
    18: ('PROBE', '>', ('control',), 64 * KIB),
    19: ('PROBED', '<', ('control',), 0),
}


class Bad(Exception):
    """Something the specification does not allow, and where."""

    def __init__(self, file, offset, reason):
        super().__init__(f'{file}: byte {offset}: {reason}')


class Record:
    def __init__(self, file, offset, name, round_, body):
        self.file = file
        self.offset = offset
        self.name = name
        self.round = round_
        self.body = body

    def bad(self, reason, at=0):
        """An error AT bytes into the body."""
        return Bad(self.file, self.offset + HEADER.size + at, f'{self.name}: {reason}')


class Unpacked(Record):
    """What a PACKED record held: a PAGES body that never was on the wire as such."""

    def __init__(self, packed, body):
        super().__init__(packed.file, packed.offset, 'PAGES', packed.round, body)

    def bad(self, reason, at=0):
        return Bad(self.file, self.offset + HEADER.size, f'PACKED: unpacked byte {at}: {reason}')


def header(file, at, raw, connection, way, sequence):
    magic, kind, flags, length, round_, number, check = HEADER.unpack(raw)
    if magic != MAGIC:
        raise Bad(file, at, f'magic is {magic:#x}, not {MAGIC:#x}')
    if kind not in TYPES:
        raise Bad(file, at + 4, f'record type {kind} is unknown')
    name, ways, connections, longest = TYPES[kind]
    if flags:
        raise Bad(file, at + 6, f'{name}: flags are {flags:#x}, not 0')
    if way not in ways:
        raise Bad(file, at + 4, f'{name} does not go this way')
    if connection not in connections:
        raise Bad(file, at + 4, f'{name} does not belong on a {connection} connection')
    if length > longest:
        raise Bad(file, at + 8, f'{name}: body of {length} bytes, the longest is {longest}')
    if (round_ != 0) != (name in ('PAGES', 'PACKED', 'ROUND_END')):
        raise Bad(file, at + 12, f'{name}: round is {round_}')
    if number != sequence:
        raise Bad(file, at + 16, f'{name}: sequence number {number}, not {sequence}')
    return name, length, round_, check


def records(file, stream, connection, way, whole=True):
    """Yields the records of a recording; one cut off at the end is an error if WHOLE."""
    at = sequence = 0
    while True:
        raw = stream.read(HEADER.size)
        if not raw:
            return
        if len(raw) < HEADER.size:
            if not whole:
                return
            raise Bad(file, at, f'ends after {len(raw)} bytes of a header')
        name, length, round_, check = header(file, at, raw, connection, way, sequence)
        body = stream.read(length)
        if len(body) < length:
            if not whole:
                return
            raise Bad(file, at + HEADER.size + len(body), f'{name}: ends within its body')
        if xxh3.xxh3_64(body, xxh3.xxh3_64(raw[:24])) != check:
            raise Bad(file, at + 24, f'{name}: the check does not fit header and body')
        yield Record(file, at, name, round_, body)
        at += HEADER.size + length
        sequence += 1


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            return value & xxh3.M64, at
        if shift > 63:
            raise ValueError('a varint of more than ten bytes')


def fields(data):
    """A protobuf message as {number: [values]}, numbers and bytes."""
    found = {}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 in (1, 2, 5):
            size, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value = data[at:at + size]
            at += size
            if at > len(data):
                raise ValueError('a field runs over')
        else:
            raise ValueError(f'wire type {key & 7}')
        found.setdefault(key >> 3, []).append(value)
    return found


def message(record):
    try:
        return fields(record.body)
    except (ValueError, IndexError) as e:
        raise record.bad(f'not a protobuf message: {e or "ends early"}') from None


def number(record, found, field):
    value = found.get(field, [0])[-1]
    if not isinstance(value, int):
        raise record.bad(f'field {field} is not a number')
    return value


def octets(record, found, field):
    value = found.get(field, [b''])[-1]
    if not isinstance(value, bytes):
        raise record.bad(f'field {field} is not bytes')
    return value
