# SPDX-License-Identifier: Apache-2.0
"""The guest's disk, looked at from outside once the guest is off.

Both monitors had it open, one after the other wrote to it. Redis appended every increment to
one file there (tools/guest/services/redis), so that file knows what the clients were answered.
"""
import re

from lablib import image

LOG = "var/lib/redis/appendonlydir/appendonly.aof.1.incr.aof"
INCREMENT = re.compile(rb"\*2\r\n\$4\r\nincr\r\n", re.IGNORECASE)  # as Redis writes a command


def count_increments(log):
    return len(INCREMENT.findall(log))


def look(path):
    """What the disk in file PATH says of itself and of the increments on it."""
    return {"disk_errors": image.disk_errors(path),
            "increments_on_disk": count_increments(image.disk_file(path, LOG))}
