# SPDX-License-Identifier: Apache-2.0
"""PAGES records: their tables checked, and applied to the memory they describe."""

import mmap
import struct
from . import lz4, zstd
from .records import Bad, Unpacked

PAGE = 4096
KINDS = ('ZERO', 'RAW', 'LZ4', 'DELTA')
ENTRIES = 256
RAW_PAGES = 256
BODY_LEAST, BODY_MOST = 8 + 16, 1024 * 1024 + 64 * 1024


class Entry:
    def __init__(self, record, at, first, pages, kind, payload):
        self.record = record
        self.at = at
        self.first = first
        self.end = first + pages
        self.kind = kind
        self.payload = payload

    def bad(self, reason):
        return self.record.bad(f'entry at page {self.first}: {reason}', self.at)


def fits(kind, pages, length):
    if kind == 'ZERO':
        return length == 0
    if kind == 'RAW':
        return pages <= RAW_PAGES and length == pages * PAGE
    return pages == 1 and 1 <= length < PAGE


def unpacked(record):
    """The PAGES record a PACKED one stands for."""
    if len(record.body) < 8:
        raise record.bad('no room for its length')
    size, zero = struct.unpack_from('<II', record.body)
    if not BODY_LEAST <= size <= BODY_MOST:
        raise record.bad(f'{size} bytes unpacked')
    if zero:
        raise record.bad('unknown bits', 4)
    try:
        return Unpacked(record, zstd.decode(record.body[8:], size))
    except ValueError as e:
        raise record.bad(str(e), 8) from None


def table(record, regions):
    """The region's number and the entries of a PAGES record."""
    body = record.body
    if len(body) < 8:
        raise record.bad('no room for a table')
    region, n, zero = struct.unpack_from('<HHI', body)
    if region >= len(regions):
        raise record.bad(f'region {region}, there are {len(regions)}')
    if not 1 <= n <= ENTRIES:
        raise record.bad(f'{n} entries', 2)
    if zero:
        raise record.bad('unknown bits in the table', 4)
    payload = 8 + 16 * n
    if payload > len(body):
        raise record.bad('the table runs over', 2)
    entries = []
    for at in range(8, 8 + 16 * n, 16):
        first, word, length = struct.unpack_from('<QII', body, at)
        pages, kind = word & 0xffffff, word >> 24
        if kind >= len(KINDS):
            raise record.bad(f'kind {kind} is unknown', at + 11)
        entry = Entry(record, at, first, pages, KINDS[kind], body[payload:payload + length])
        if not 1 <= pages or entry.end > regions[region].pages:
            raise entry.bad(f'{pages} pages are not in the region')
        if not fits(KINDS[kind], pages, length):
            raise entry.bad(f'{length} bytes for {pages} pages of kind {KINDS[kind]}')
        payload += length
        if payload > len(body):
            raise entry.bad('its payload runs over')
        entries.append(entry)
    if payload != len(body):
        raise record.bad(f'{len(body) - payload} bytes behind the last payload', payload)
    if sum(e.end - e.first for e in entries if e.kind == 'RAW') > RAW_PAGES:
        raise record.bad('more than 256 raw pages')
    return region, entries


class Region:
    """One region's pages, as the destination has them."""

    def __init__(self, name, pages):
        self.name = name
        self.pages = pages
        self.memory = mmap.mmap(-1, pages * PAGE)
        self.present = set()
        self.counts = dict.fromkeys(KINDS, 0)

    def apply(self, entry):
        self.counts[entry.kind] += entry.end - entry.first
        getattr(self, 'put_' + entry.kind.lower())(entry)

    def put_zero(self, entry):
        if entry.end - entry.first < len(self.present):
            gone = [p for p in range(entry.first, entry.end) if p in self.present]
        else:
            gone = [p for p in self.present if entry.first <= p < entry.end]
        for page in gone:
            self.memory[page * PAGE:(page + 1) * PAGE] = bytes(PAGE)
        self.present.difference_update(gone)

    def put_raw(self, entry):
        self.memory[entry.first * PAGE:entry.end * PAGE] = entry.payload
        self.present.update(range(entry.first, entry.end))

    def unpack(self, entry):
        try:
            return lz4.decode(entry.payload, PAGE)
        except ValueError as e:
            raise entry.bad(str(e)) from None

    def put_lz4(self, entry):
        self.memory[entry.first * PAGE:entry.end * PAGE] = self.unpack(entry)
        self.present.add(entry.first)

    def put_delta(self, entry):
        where = slice(entry.first * PAGE, entry.end * PAGE)
        mixed = (int.from_bytes(self.memory[where], 'little') ^
                 int.from_bytes(self.unpack(entry), 'little'))
        self.memory[where] = mixed.to_bytes(PAGE, 'little')
        self.present.add(entry.first)

    def write(self, path):
        """A sparse file: what is not present stays a hole."""
        with open(path, 'wb') as out:
            out.truncate(self.pages * PAGE)
            for page in sorted(self.present):
                out.seek(page * PAGE)
                out.write(self.memory[page * PAGE:(page + 1) * PAGE])


def once(entries):
    """Within a round a page is sent at most once, over all connections."""
    last = None
    for entry in sorted(entries, key=lambda e: e.first):
        if last and entry.first < last.end:
            other = f'{last.record.file} byte {last.record.offset}'
            raise entry.bad(f'sent twice in round {entry.record.round}, also in {other}')
        if not last or entry.end > last.end:
            last = entry


def make_region(record, name, pages):
    if not 1 <= pages <= 1 << 36:
        raise record.bad(f'region {name!r} of {pages} pages')
    try:
        return Region(name, pages)
    except (OSError, ValueError, OverflowError) as e:
        raise Bad(record.file, record.offset, f'region {name!r}: {e}') from None
