#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dirty log is complete under writes by devices, too.

The guest reads a disk into the same memory over and over, every pass from other places, and
checks what the last pass brought before it reads anew. It never writes that memory itself: a
page the device wrote and the move forgot would still hold an earlier pass's words.
"""
import os
import struct

from lib import Case, Guest, check, main, say

MIB = 2
DIGEST = {"SEGUE_TEST_DIGEST": "1"}


def make_disk(path):
    """Every 8 bytes hold their own offset on the disk, plus one."""
    words = range(1, (MIB << 20) + 1, 8)
    with open(path, "wb") as out:
        out.write(struct.pack(f"<{len(words)}Q", *words))


def disk_reads(moves=6):
    """moves while a disk is being read"""
    with Case() as case:
        disk = os.path.join(case.dir, "disk.img")
        make_disk(disk)
        guest = case.guest(f"io_mib={MIB} beat_us=1000", disks=[disk])
        here, there = case.a, case.b
        monitor = here.run(guest, env=DIGEST)
        Guest.wait_alive(here, 0, word="D", seconds=60)
        for n in range(moves):
            target = there.receive(guest, env=DIGEST)
            said = len(there.serial())
            done = here.move(target.listen, "--downtime", "5s")
            check(monitor.digest() and monitor.digest() == target.digest(),
                  f"memory differs: {monitor.digest()} left, {target.digest()} arrived")
            # Two D: one pass begun at the source may end here, the next is all of here.
            Guest.wait_alive(there, said, word="D", seconds=60)
            Guest.wait_alive(there, said + there.serial()[said:].index("D") + 1, word="D", seconds=60)
            monitor.wait_end()
            say(f"move {n + 1}: rounds {done.json['progress'].get('round')}, "
                f"blackout {int(done.json['progress']['blackout']['total']) / 1000:.1f} ms")
            monitor, here, there = target, there, here
        Guest.check(case.a, case.b)


main(disk_reads)
