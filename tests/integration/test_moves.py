#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many moves in a row of a guest that writes as fast as it can; nothing may get lost.

--moves=N, or SEGUE_TEST_MOVES: how many (20).
"""
import os
import statistics
import subprocess
import sys

from lib import Case, Guest, check, main, say

STREAM_CHECK = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "tools",
                            "stream-check")
DIGEST = {"SEGUE_TEST_DIGEST": "1"}


def wanted_moves():
    for word in sys.argv[1:]:
        if word.startswith("--moves="):
            return int(word.removeprefix("--moves="))
    return int(os.environ.get("SEGUE_TEST_MOVES", "20"))


def one_move(source, destination, guest, monitor, *words):
    """Moves it; returns the new monitor and what the move said of itself."""
    target = destination.receive(guest, env=DIGEST)
    said = len(destination.serial())
    # How long the blackout is, is the benchmark's question; a busy machine shall not fail this.
    done = source.move(target.listen, "--downtime", "5s", *words)
    check(done.json["outcome"] == "moved", done.json)
    Guest.wait_alive(destination, said)
    # V: the guest has found all it had written intact, here.
    Guest.wait_alive(destination, said, word="V", seconds=60)
    check(monitor.digest() is not None, "the source told no digest of its memory")
    check(monitor.digest() == target.digest(),
          f"memory differs: {monitor.digest()} left, {target.digest()} arrived")
    monitor.wait_end()
    return target, done.json["progress"]


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
            monitor, progress = one_move(here, there, guest, monitor)
            blackouts.append(int(progress["blackout"]["total"]) / 1000)
            here, there = there, here
            if (n + 1) % 10 == 0:
                say(f"{n + 1} moves, blackout median {statistics.median(blackouts):.1f} ms, "
                    f"longest {max(blackouts):.1f} ms")
        Guest.check(case.a, case.b)


def stream_check(recording, packed):
    done = subprocess.run([sys.executable, STREAM_CHECK, recording], capture_output=True, text=True)
    say(done.stdout.splitlines()[0] if done.stdout else done.stderr)
    check(done.returncode == 0, done.stdout, done.stderr)
    check((" 0 record(s) PACKED" not in done.stdout) == packed, done.stdout)


def packed_moves():
    """there and back with every compression, the stream held to its specification"""
    with Case() as case:
        guest = case.guest("fill=mixed fill_mib=4 fill_base=0x1000000 dirty_mib=16 beat_us=1000 verify=1",
                           memory_mib=128)
        here, there = case.a, case.b
        monitor = here.run(guest, env=DIGEST)
        Guest.wait_alive(here, 0, word="V", seconds=60)
        for mode in ("zstd", "delta", "lz4", "none"):
            recording = os.path.join(here.dir, mode)
            monitor, progress = one_move(here, there, guest, monitor, "--compression", mode,
                                         "--record", recording)
            packed = int(progress.get("pages_packed", 0))
            check((packed > 0) == (mode == "zstd"), mode, progress)
            stream_check(recording, mode == "zstd")
            here, there = there, here
        Guest.check(case.a, case.b)


main(moves_in_a_row, packed_moves)
