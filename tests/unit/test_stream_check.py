#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/stream-check against a recorded move, and against what must not pass.

test_stream_check.py STREAM-CHECK RECORD-STREAM
"""

import ctypes
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

STREAM_CHECK, RECORD_STREAM = sys.argv.pop(1), sys.argv.pop(1)
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(STREAM_CHECK)))

from streamcheck import lz4, move, xxh3  # noqa: E402
from streamcheck.records import Bad as Bad_  # noqa: E402

PAGES, ROUND_END = 4, 5
BODY = 32


def split(data):
    records, at = [], 0
    while at < len(data):
        size = 32 + struct.unpack_from('<I', data, at + 8)[0]
        records.append(bytearray(data[at:at + size]))
        at += size
    return records


def kind(record):
    return struct.unpack_from('<H', record, 4)[0]


def sealed(records):
    """Lengths, sequence numbers and checks put right again."""
    out = b''
    for i, record in enumerate(records):
        record = bytearray(record)
        struct.pack_into('<I', record, 8, len(record) - 32)
        struct.pack_into('<Q', record, 16, i)
        check = xxh3.xxh3_64(bytes(record[32:]), xxh3.xxh3_64(bytes(record[:24])))
        struct.pack_into('<Q', record, 24, check)
        out += record
    return out


class Recorded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.top)
        cls.good = os.path.join(cls.top, 'good')
        os.mkdir(cls.good)
        subprocess.run([RECORD_STREAM, cls.good], check=True)

    def setUp(self):
        self.directory = os.path.join(self.top, 'changed')
        shutil.copytree(self.good, self.directory)
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read()

    def write(self, name, data):
        with open(self.path(name), 'wb') as file:
            file.write(data)

    def change(self, name, function):
        """Rewrites a recording record by record and seals it again."""
        records = split(self.read(name))
        self.write(name, sealed(function(records) or records))

    def run_check(self, *options):
        return subprocess.run([sys.executable, STREAM_CHECK, self.directory, *options],
                              capture_output=True, text=True)

    def good_run(self, *options):
        done = self.run_check(*options)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout

    def bad_run(self, file, reason, *options):
        done = self.run_check(*options)
        self.assertEqual(done.returncode, 1, done.stderr or done.stdout)
        self.assertRegex(done.stderr, rf'^stream-check: {file}: byte \d+: .*{reason}')


class Good(Recorded):
    def memory_comes_out(self, *options):
        out = self.path('out')
        said = self.good_run('--memory', out, *options)
        self.assertIn('4 round(s)', said)
        for word in ('ZERO', 'RAW', 'LZ4', 'DELTA', 'resumed'):
            self.assertIn(word, said)
        for region in ('0', '1'):
            self.assertEqual(self.read('out.' + region), self.read('memory.' + region))

    def test_memory(self):
        self.memory_comes_out()

    def test_memory_without_the_library(self):
        self.memory_comes_out('--pure')

    def test_without_the_way_back(self):
        os.unlink(self.path('control-back.sgs'))
        self.assertIn('granted', self.good_run())

    def test_sealing_again_changes_nothing(self):
        before = self.read('data-1.sgs')
        self.change('data-1.sgs', lambda records: None)
        self.assertEqual(self.read('data-1.sgs'), before)

    def test_partial(self):
        for name in ('data-1.sgs', 'data-2.sgs', 'control.sgs'):
            data = self.read(name)
            self.write(name, data[:len(data) * 2 // 3])
        self.assertEqual(self.run_check().returncode, 1)
        self.good_run('--partial')


class Bad(Recorded):
    def test_bits(self):
        rng = random.Random(3)
        for name in ('control.sgs', 'control-back.sgs', 'data-1.sgs', 'data-2.sgs'):
            data = self.read(name)
            places = [rng.randrange(len(data)) for _ in range(12)] + [0, 4, 6, 8, 12, 16, 24]
            for at in places:
                flipped = bytearray(data)
                flipped[at] ^= 1 << rng.randrange(8)
                self.write(name, flipped)
                with self.assertRaisesRegex(Bad_, r'byte \d+: ', msg=f'{name} {at}'):
                    move.check(self.directory)
            self.write(name, data)
        self.good_run()

    def test_cut_off(self):
        data = self.read('data-2.sgs')
        self.write('data-2.sgs', data[:-1])
        self.bad_run('data-2.sgs', 'of a header')
        self.write('data-2.sgs', data[:200])
        self.bad_run('data-2.sgs', 'ends within its body')

    def test_records_swapped(self):
        records = split(self.read('data-1.sgs'))
        records[2], records[3] = records[3], records[2]
        self.write('data-1.sgs', b''.join(records))
        self.bad_run('data-1.sgs', 'sequence number 3, not 2')

    def test_round_end_missing(self):
        def change(records):
            del records[next(i for i, r in enumerate(records) if kind(r) == ROUND_END)]
        self.change('data-1.sgs', change)
        self.bad_run('data-1.sgs', 'of round 2 while in round 1')

    def test_last_round_missing_on_one(self):
        def change(records):
            end = max(i for i, r in enumerate(records[:-1]) if kind(r) == ROUND_END)
            return records[:end + 1]
        self.change('data-1.sgs', change)
        self.bad_run('data-1.sgs', 'has no round 4')

    def test_page_twice(self):
        self.change('data-1.sgs', lambda records: records[:2] + records[1:])
        self.bad_run('data-1.sgs', 'sent twice in round 1')

    def test_page_twice_across_connections(self):
        def change(records):
            records.insert(1, split(self.read('data-1.sgs'))[1])
        self.change('data-2.sgs', change)
        self.bad_run(r'data-[12].sgs', 'sent twice in round 1, also in data-[12].sgs')

    def entry(self, reason, form, at, *values):
        def change(records):
            record = next(r for r in records if kind(r) == PAGES)
            struct.pack_into(form, record, BODY + at, *values)
        self.change('data-1.sgs', change)
        self.bad_run('data-1.sgs', reason)

    def test_page_beyond(self):
        self.entry('not in the region', '<Q', 8, 1 << 63)

    def test_region_beyond(self):
        self.entry('region 2, there are 2', '<H', 0, 2)

    def test_kind(self):
        self.entry('kind 7 is unknown', '<B', 8 + 11, 7)

    def test_reserved(self):
        self.entry('unknown bits', '<I', 4, 1)

    def test_no_entries(self):
        self.entry('0 entries', '<H', 2, 0)

    def test_payload_length(self):
        self.entry('bytes', '<I', 8 + 12, 5000)

    def test_bytes_behind(self):
        def change(records):
            next(r for r in records if kind(r) == PAGES).extend(b'x')
        self.change('data-1.sgs', change)
        self.bad_run('data-1.sgs', '1 bytes behind the last payload')

    def test_payload_that_does_not_unpack(self):
        def change(records):
            for record in records:
                n = struct.unpack_from('<H', record, BODY + 2)[0] if kind(record) == PAGES else 0
                at = BODY + 8 + 16 * n
                if n and record[BODY + 8 + 11] in (2, 3):
                    record[at:at + 4] = b'\x00\x00\x00\x00'
                    return
            self.fail('no record begins with a packed page')
        self.change('data-1.sgs', change)
        self.bad_run('data-1.sgs', 'LZ4')

    def test_other_move(self):
        def change(records):
            at = records[0].index(b'0123456789abcdef')
            records[0][at] ^= 1
        self.change('data-2.sgs', change)
        self.bad_run('data-2.sgs', 'names another move')

    def test_channel_missing(self):
        os.unlink(self.path('data-2.sgs'))
        self.bad_run('control.sgs', '2 data connections, recorded are')

    def test_rounds_told(self):
        def change(records):
            finish = next(r for r in records if kind(r) == 8)
            at = finish.index(b'\x08\x04', BODY)
            finish[at + 1] = 5
        self.change('control.sgs', change)
        self.bad_run('control.sgs', 'tells of 5 rounds, 4 were sent')

    def test_wrong_place(self):
        def change(records):
            records.insert(1, split(self.read('data-1.sgs'))[1])
        self.change('control.sgs', change)
        self.bad_run('control.sgs', 'PAGES does not belong on a control connection')

    def test_wrong_way(self):
        self.change('control.sgs',
                    lambda records: records[:1] + split(self.read('control-back.sgs'))[:1])
        self.bad_run('control.sgs', 'WELCOME does not go this way')

    def test_wrong_order(self):
        def change(records):
            kinds = [kind(r) for r in records]
            state, finish = kinds.index(7), kinds.index(8)
            records[state], records[finish] = records[finish], records[state]
        self.change('control.sgs', change)
        self.bad_run('control.sgs', 'comes after PROBE')

    def test_probe_too_late(self):
        def change(records):
            kinds = [kind(r) for r in records]
            probe, state = kinds.index(18), kinds.index(7)
            records[probe], records[state] = records[state], records[probe]
        self.change('control.sgs', change)
        self.bad_run('control.sgs', 'PROBE: comes after STATE')

    def test_acknowledged_out_of_order(self):
        def change(records):
            del records[[kind(r) for r in records].index(6) + 1]
        self.change('control-back.sgs', change)
        self.bad_run('control-back.sgs', 'round 3 acknowledged after 1')

    def test_nothing_there(self):
        os.unlink(self.path('control.sgs'))
        self.assertEqual(self.run_check().returncode, 2)


class Parts(unittest.TestCase):
    def test_hash_against_the_library(self):
        try:
            call = ctypes.CDLL('libxxhash.so.0').XXH3_64bits_withSeed
        except OSError:
            self.skipTest('libxxhash.so.0 is not installed')
        call.restype = ctypes.c_uint64
        call.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
        rng = random.Random(1)
        for n in list(range(300)) + [1023, 1024, 1025, 1088, 4097]:
            data, seed = rng.randbytes(n), rng.getrandbits(64)
            self.assertEqual(xxh3.xxh3_64_python(data, seed), call(data, n, seed), n)

    def test_lz4(self):
        # 1 literal, match of 4+11 at offset 1 (overlapping), then 5 literals
        self.assertEqual(lz4.decode(b'\x1ba\x01\x00\x50hello', 21), b'a' * 16 + b'hello')
        # lengths that go on: 15 + 255 + 30 literals
        self.assertEqual(lz4.decode(b'\xf0\xff\x1e' + b'x' * 300, 300), b'x' * 300)
        for block in (b'', b'\x10', b'\x1ba\x02\x00\x50hello', b'\x1ba\x00\x00\x50hello',
                      b'\x1ba\x01', b'\xf0\xff', b'\x1ba\x01\x00\x40hell'):
            with self.assertRaises(ValueError):
                lz4.decode(block, 21)


if __name__ == '__main__':
    unittest.main()
