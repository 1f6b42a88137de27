# SPDX-License-Identifier: Apache-2.0
"""A whole recorded move: what its connections say, and whether they say it together."""

import itertools
import os
import re
from .memory import make_region, once, table, unpacked
from .records import Bad, message, number, octets, records

# On control, in this order; what may follow a record (ALIVE anywhere, ABORT ends all).
FORTH = {None: ('HELLO',), 'HELLO': ('PROBE', 'STATE'), 'PROBE': ('PROBE', 'STATE'),
         'STATE': ('FINISH',), 'FINISH': ('GRANT',), 'GRANT': ('DONE',), 'DONE': ()}
BACK = {None: ('WELCOME', 'REFUSE'), 'REFUSE': (), 'WELCOME': ('PROBED', 'ROUND_ACK', 'READY'),
        'PROBED': ('PROBED', 'ROUND_ACK', 'READY'),
        'ROUND_ACK': ('ROUND_ACK', 'READY'), 'READY': ('RESUMED',), 'RESUMED': ()}


class Move:
    def __init__(self, whole):
        self.whole = whole  # a move that came to its end, not one broken off
        self.regions = []
        self.channels = 0
        self.move_id = b''
        self.rounds = 0
        self.finish = None
        self.granted = self.aborted = self.resumed = False
        self.acked = 0
        self.state = 0
        self.bytes = 0
        self.packed = 0        # records
        self.takes_packed = None  # the destination's word; None: its way was not recorded
        self.round_bytes = []


def ordered(found, allowed, record, last):
    """Checks the order on control; the name that counts from here on."""
    if last == 'ABORT':
        raise record.bad('comes after ABORT')
    if record.name == 'ABORT':
        return 'ABORT'
    if record.name == 'ALIVE':
        if last is None:
            raise record.bad('comes first')
        return last
    if record.name not in allowed[last]:
        raise record.bad(f'comes after {last or "nothing"}')
    return record.name


def read_hello(move, record):
    hello = message(record)
    if number(record, hello, 4) != 0:
        raise record.bad('names a channel other than 0 on control')
    move.channels = number(record, hello, 5)
    if not 1 <= move.channels <= 16:
        raise record.bad(f'{move.channels} data connections, 1 to 16 may be')
    move.move_id = octets(record, hello, 3)
    if len(move.move_id) != 16:
        raise record.bad(f'move id of {len(move.move_id)} bytes, not 16')
    for raw in hello.get(8, []):
        inner = type(record)(record.file, record.offset, record.name, 0, raw)
        info = message(inner)
        name = octets(record, info, 1).decode('utf-8', 'replace')
        move.regions.append(make_region(record, name, number(record, info, 2)))
    if not move.regions:
        raise record.bad('names no region')


def read_control(move, path, stream):
    last = None
    for record in records(path, stream, 'control', '>', move.whole):
        last = ordered(None, FORTH, record, last)
        if record.name == 'HELLO':
            read_hello(move, record)
        elif record.name == 'STATE':
            move.state = len(record.body)
        elif record.name == 'FINISH':
            move.finish = record
        move.granted |= record.name == 'GRANT'
        move.aborted |= record.name == 'ABORT'
    if last is None:
        raise Bad(path, 0, 'no record in it')
    if move.whole and not (move.granted or move.aborted):
        raise Bad(path, stream.tell(), f'ends after {last}, before GRANT or ABORT')


def read_back(move, path, stream):
    last = None
    for record in records(path, stream, 'control', '<', move.whole):
        last = ordered(None, BACK, record, last)
        if record.name == 'WELCOME':
            move.takes_packed = bool(number(record, message(record), 3) & 1)
        if record.name == 'ROUND_ACK':
            acked = number(record, message(record), 1)
            if acked != move.acked + 1:
                raise record.bad(f'round {acked} acknowledged after {move.acked}')
            move.acked = acked
        move.resumed |= record.name == 'RESUMED'
        move.aborted |= record.name == 'ABORT'


class Data:
    """One data connection, read a round at a time."""

    def __init__(self, move, path, stream, index):
        self.move = move
        self.path = path
        self.records = records(path, stream, 'data', '>', move.whole)
        self.read_hello(index)

    def read_hello(self, index):
        record = next(self.records, None)
        if not record or record.name != 'HELLO':
            raise Bad(self.path, 0, 'does not begin with HELLO')
        hello = message(record)
        if octets(record, hello, 3) != self.move.move_id:
            raise record.bad('names another move')
        if number(record, hello, 4) != index:
            raise record.bad(f'names channel {number(record, hello, 4)}')

    def round(self, expected):
        """The round's PAGES; None when the connection has no such round."""
        pages = []
        for record in self.records:
            if record.name == 'HELLO':
                raise record.bad('comes a second time')
            if record.round != expected:
                raise record.bad(f'of round {record.round} while in round {expected}')
            if record.name == 'ROUND_END':
                return pages
            pages.append(record)
        if pages and not (self.move.aborted or not self.move.whole):
            raise pages[-1].bad(f'is the last, round {expected} has no ROUND_END')
        return None


def take_packed(move, record):
    if move.takes_packed is False:
        raise record.bad('the destination never said that it takes such')
    move.packed += 1
    return unpacked(record)


def apply_round(move, pages):
    sent = {}
    for record in pages:
        move.bytes += len(record.body)
        if record.name == 'PACKED':
            record = take_packed(move, record)
        region, entries = table(record, move.regions)
        sent.setdefault(region, []).extend(entries)
    for region, entries in sorted(sent.items()):
        once(entries)
        for entry in entries:
            move.regions[region].apply(entry)
    move.round_bytes.append(sum(len(record.body) for record in pages))


def read_rounds(move, data):
    for round_ in itertools.count(1):
        parts = [(connection, connection.round(round_)) for connection in data]
        ended = [c for c, pages in parts if pages is None]
        if ended:
            if len(ended) < len(parts) and not move.aborted and move.whole:
                raise Bad(ended[0].path, 0, f'has no round {round_}, others have')
            return
        apply_round(move, [record for _, pages in parts for record in pages])
        move.rounds = round_


def check_end(move):
    if move.finish:
        told = number(move.finish, message(move.finish), 1)
        if told != move.rounds:
            raise move.finish.bad(f'tells of {told} rounds, {move.rounds} were sent')
    if move.acked > move.rounds and move.whole:
        raise Bad('control-back.sgs', 0,
                  f'{move.acked} rounds acknowledged, {move.rounds} were sent')


def data_files(directory):
    names = [n for n in os.listdir(directory) if re.fullmatch(r'data-[0-9]+\.sgs', n)]
    return {int(n[5:-4]): n for n in names}


def check(directory, whole=True):
    """Reads the recording in DIRECTORY; a Move, or Bad."""
    move = Move(whole)
    files = data_files(directory)
    opened = []
    try:
        def open_(name):
            opened.append(open(os.path.join(directory, name), 'rb'))
            return opened[-1]
        read_control(move, 'control.sgs', open_('control.sgs'))
        if os.path.exists(os.path.join(directory, 'control-back.sgs')):
            read_back(move, 'control-back.sgs', open_('control-back.sgs'))
        if sorted(files) != list(range(1, move.channels + 1)) and not move.aborted and whole:
            raise Bad('control.sgs', 0, f'HELLO tells of {move.channels} data connections, '
                      f'recorded are {sorted(files)}')
        data = [Data(move, files[i], open_(files[i]), i) for i in sorted(files)]
        if data:
            read_rounds(move, data)
        check_end(move)
    finally:
        for stream in opened:
            stream.close()
    return move
