#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many moves in a row of a guest that writes as fast as it can; nothing may get lost.

--moves=N, or SEGUE_TEST_MOVES: how many (20).
"""
import os
import statistics
import sys

from lib import Case, Guest, check, main, say

DIGEST = {"SEGUE_TEST_DIGEST": "1"}


def wanted_moves():
    for word in sys.argv[1:]:
        if word.startswith("--moves="):
            return int(word.removeprefix("--moves="))
    return int(os.environ.get("SEGUE_TEST_MOVES", "20"))


def one_move(source, destination, guest, monitor):
    """Moves it; returns the new monitor and the blackout in microseconds."""
    target = destination.receive(guest, env=DIGEST)
    said = len(destination.serial())
    # How long the blackout is, is the benchmark's question; a busy machine shall not fail this.
    done = source.move(target.listen, "--downtime", "5s")
    check(done.json["outcome"] == "moved", done.json)
    Guest.wait_alive(destination, said)
    # V: the guest has found all it had written intact, here.
    Guest.wait_alive(destination, said, word="V", seconds=60)
    check(monitor.digest() is not None, "the source told no digest of its memory")
    check(monitor.digest() == target.digest(),
          f"memory differs: {monitor.digest()} left, {target.digest()} arrived")
    monitor.wait_end()
    return target, int(done.json["progress"]["blackout"]["total"])


def moves_in_a_row():
    """there and back, memory compared every time"""
    blackouts = []
    with Case() as case:
        guest = case.guest("fill=mixed fill_mib=4 fill_base=0x1000000 dirty_mib=16 beat_us=1000 verify=1",
                           memory_mib=128)
        here, there = case.a, case.b
        monitor = here.run(guest, env=DIGEST)
        Guest.wait_alive(here, 0, word="V", seconds=60)
        for n in range(wanted_moves()):
            monitor, blackout = one_move(here, there, guest, monitor)
            blackouts.append(blackout / 1000)
            here, there = there, here
            if (n + 1) % 10 == 0:
                say(f"{n + 1} moves, blackout median {statistics.median(blackouts):.1f} ms, "
                    f"longest {max(blackouts):.1f} ms")
        Guest.check(case.a, case.b)


main(moves_in_a_row)
