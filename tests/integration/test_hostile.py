#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A destination takes nothing on trust, and a source gives nothing up before it is safe.

Every case damages the stream on its way. The destination must end with an error that names
connection, position and reason; the guest must go on at the source as if nothing had been.
"""
import re
import struct
import time

import wire
from lib import Case, Guest, check, main, say
from proxy import Answers, AtOffset, Records

GUEST = "fill=mixed fill_mib=4 fill_base=0x1000000 dirty_mib=4 beat_us=1000 verify=1"
POSITION = re.compile(r"(control|data \d+|[\w.:]+): byte \d+: \S+")


def still_listens(case, target):
    """Before it believed anybody, a destination may simply go on waiting: the next one gets in."""
    time.sleep(1)
    if target.ended():
        return False
    say("destination waits on:", target.messages().strip() or "nothing said")
    done = case.a.move(target.listen, "--downtime", "5s", ok=False, seconds=30)
    check(done.returncode == 0, "it takes nobody in any more:", done.stderr, target.messages())
    Guest.wait_alive(case.b, 0, word="V", seconds=60)
    return True


def damaged_move(case, mangler):
    """One move from A to B through MANGLER; the destination's monitor and how the move ended."""
    guest = case.guest(GUEST)
    case.a.run(guest)
    Guest.wait_alive(case.a, 0, word="stress: ready", seconds=60)
    target = case.b.receive(guest)
    proxy = case.proxy(target.listen, mangler)
    done = case.a.move(proxy.address, ok=False)
    check(mangler.hit.is_set(), "nothing was damaged: the move ended before")
    return target, done


def spoil(mangler, position=True, early=False):
    """One move through MANGLER, which must fail the way the page's head says. EARLY: it may
    come before all connections have been accepted."""
    with Case() as case:
        target, done = damaged_move(case, mangler)
        check(done.returncode == 1, f"exit {done.returncode}: {done.stdout} {done.stderr}")
        if early and still_listens(case, target):
            return
        code = target.wait_end()
        words = target.messages()
        said = [line for line in words.splitlines() if POSITION.search(line)]
        say(f"destination, exit {code}: {(said or words.strip().splitlines() or ['nothing'])[-1]}")
        check(code > 0, f"the destination ended with {code}")
        check(said or not position, "no position in:", words)
        check(case.b.serial() == "", "the guest ran at the destination")
        state = case.a.show()["state"]
        check(state == "running", "at the source the guest is", state)
        Guest.wait_alive(case.a, len(case.a.serial()), word="V", seconds=60)


def turned_away(mangler):
    """
    Who has not yet said a believable HELLO is nobody: the destination says what was wrong,
    cuts it off, and waits on for a source that does better.
    """
    with Case() as case:
        target, done = damaged_move(case, mangler)
        check(done.returncode == 1, f"exit {done.returncode}: {done.stdout} {done.stderr}")
        said = [line for line in target.messages().splitlines() if POSITION.search(line)]
        check(said, "no position in:", target.messages())
        say(f"destination: {said[-1]}")
        check(not target.ended() and case.b.serial() == "", "the destination did not wait on")
        check(case.a.show()["state"] == "running", "the source does not run")
        case.a.move(target.listen)
        Guest.wait_alive(case.b, 0, word="V", seconds=60)


def once(connection, kind, change, skip=0):
    """Records mangler: CHANGE is made to one record of KIND on CONNECTION (None: any data one)."""
    left = [skip]

    def pick(number, record):
        on = number > 0 if connection is None else number == connection
        if not on or record.kind != kind or left[0] < 0:
            return None
        left[0] -= 1
        return change(record) if left[0] < 0 else None

    return Records(pick)


def damaged(**fields):
    def change(record):
        for name, value in fields.items():
            setattr(record, name, value)
        return [record]
    return change


def entries(*list_, payload=b"", count=None, region=0):
    return damaged(body=wire.pages_body(region, list_, payload, count))


def cut_control():
    """control connection cut in mid-stream"""
    spoil(AtOffset(0, 40, "cut"), position=False, early=True)


def cut_data():
    """data connection cut in mid-stream"""
    spoil(AtOffset(None, 100_000, "cut"), position=False, early=True)


def flip_header():
    """a bit flipped in the first header of a data connection"""
    spoil(AtOffset(None, 5, "flip"), position=False, early=True)


def flip_body():
    """a bit flipped deep in the pages"""
    spoil(AtOffset(None, 200_000, "flip"))


def flip_hello():
    """a bit flipped in HELLO"""
    turned_away(AtOffset(0, 60, "flip"))


def swapped():
    """two records of a data connection in the wrong order"""
    held, done = {}, []

    def pick(number, record):
        if number == 0 or done:
            return None
        if number not in held:
            held[number] = record
            return []
        done.append(number)
        return [record, held[number]]

    spoil(Records(pick), position=False, early=True)


def repeated():
    """a record sent twice"""
    spoil(once(None, wire.PAGES, lambda r: [r, r]))


def dropped():
    """a record left out"""
    spoil(once(None, wire.PAGES, lambda r: []))


def oversized():
    """a header that promises more than any record may hold"""
    spoil(once(None, wire.PAGES, damaged(length=0xFFFFFFF0)))


def unknown_type():
    """a record type nobody knows"""
    spoil(once(None, wire.PAGES, damaged(kind=99)))


def unknown_flags():
    """flags this version does not have"""
    spoil(once(None, wire.PAGES, damaged(flags=1)))


def wrong_connection():
    """STATE on a data connection"""
    spoil(once(None, wire.PAGES, damaged(kind=wire.STATE, round=0)))


def wrong_round():
    """pages of a round that has not begun"""
    spoil(once(None, wire.PAGES, damaged(round=7)))


def bad_magic():
    """no record at all"""
    spoil(once(None, wire.PAGES, damaged(magic=0x21524753)))


def no_entries():
    """PAGES without entries, properly signed"""
    spoil(once(None, wire.PAGES, entries()))


def beyond_region():
    """a page behind the end of memory, properly signed"""
    spoil(once(None, wire.PAGES, entries((1 << 40, 1, wire.RAW, 4096), payload=bytes(4096))))


def wrapping_run():
    """a run whose end wraps round, properly signed"""
    spoil(once(None, wire.PAGES, entries(((1 << 64) - 2, 4, wire.ZERO, 0))))


def no_such_region():
    """another region's pages, properly signed"""
    spoil(once(None, wire.PAGES, entries((0, 1, wire.ZERO, 0), region=9)))


def table_too_long():
    """a table longer than the record, properly signed"""
    spoil(once(None, wire.PAGES, entries((0, 1, wire.ZERO, 0), count=200)))


def payload_missing():
    """a payload shorter than its entry says, properly signed"""
    spoil(once(None, wire.PAGES, entries((0, 1, wire.RAW, 4096), payload=bytes(100))))


def lz4_garbage():
    """an LZ4 block that is none, properly signed"""
    spoil(once(None, wire.PAGES, entries((4096, 1, wire.LZ4, 64), payload=b"\xff" * 64)))


def packed(body):
    return damaged(kind=wire.PACKED, body=body)


def packed_garbage():
    """PACKED around bytes that are no zstd frame, properly signed"""
    spoil(once(None, wire.PAGES, packed(wire.packed_body(bytes(64), frame=b"\xff" * 64))))


def packed_larger():
    """a zstd frame with more content than the record says, properly signed"""
    frame = wire.zstd_frame([(wire.RLE_BLOCK, 0x1FFFF, b"\0")], 24)
    spoil(once(None, wire.PAGES, packed(wire.packed_body(bytes(24), frame=frame))))


def packed_endless():
    """PACKED that says it unpacks to 4 GiB, properly signed"""
    frame = wire.zstd_frame([(wire.RLE_BLOCK, 0x1FFFF, b"\0")], 0xFFFFFFFF)
    spoil(once(None, wire.PAGES, packed(wire.packed_body(b"", 0xFFFFFFFF, frame))))


def packed_twice():
    """two zstd frames in one record, properly signed"""
    inside = wire.pages_body(0, [(4096, 1, wire.ZERO, 0)])
    spoil(once(None, wire.PAGES, packed(wire.packed_body(inside) + wire.packed_body(inside)[8:])))


def packed_beyond():
    """a run over the end of memory inside a good zstd frame, properly signed"""
    inside = wire.pages_body(0, [((1 << 40) - 1, 2, wire.RAW, 8192)], bytes(8192))
    spoil(once(None, wire.PAGES, packed(wire.packed_body(inside))))


def packed_in_packed():
    """a PACKED body inside a PACKED record, properly signed"""
    inside = wire.packed_body(wire.pages_body(0, [(4096, 1, wire.ZERO, 0)]))
    spoil(once(None, wire.PAGES, packed(wire.packed_body(inside))))


def without_features():
    """zstd by word, to a destination that never said it takes PACKED"""
    def forgetful(number, record):
        return [damaged(body=b"\x08\x01")(record)[0]] if record.kind == wire.WELCOME else None

    with Case() as case:
        guest = case.guest(GUEST)
        case.a.run(guest)
        Guest.wait_alive(case.a, 0, word="stress: ready", seconds=60)
        target = case.b.receive(guest)
        proxy = case.proxy(target.listen, Answers(forgetful))
        done = case.a.move(proxy.address, "--compression", "zstd", ok=False)
        say(done.stderr.strip())
        check(done.returncode == 1 and "does not take zstd" in done.stderr, done.stderr)
        check(case.a.show()["state"] == "running", "the source does not run")
        case.a.move(proxy.address)
        Guest.wait_alive(case.b, 0, word="V", seconds=60)


def unknown_kind():
    """a page kind nobody knows, properly signed"""
    spoil(once(None, wire.PAGES, entries((0, 1, 77, 0))))


def state_garbage():
    """device state that is none, properly signed"""
    spoil(once(0, wire.STATE, damaged(body=b"\xff" * 3000)), position=False)


def state_shortened():
    """half of the device state, properly signed"""
    spoil(once(0, wire.STATE, lambda r: [damaged(body=r.body[:len(r.body) // 2])(r)[0]]), position=False)


def hello_garbage():
    """HELLO that is no message, properly signed"""
    turned_away(once(0, wire.HELLO, damaged(body=struct.pack("<Q", 2**64 - 1) * 8)))


main(cut_control, cut_data, flip_header, flip_body, flip_hello, swapped, repeated, dropped, oversized,
     unknown_type, unknown_flags, wrong_connection, wrong_round, bad_magic, no_entries, beyond_region,
     wrapping_run, no_such_region, table_too_long, payload_missing, lz4_garbage, unknown_kind,
     packed_garbage, packed_larger, packed_endless, packed_twice, packed_beyond, packed_in_packed,
     without_features,
     state_garbage, state_shortened, hello_garbage)
