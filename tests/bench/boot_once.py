#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a monitor and prints after how many ms its guest's serial port said WORDS.

usage: boot_once.py FIFO WORDS MONITOR ARG...    (runs in a host of the lab; standard library only)
"""
import os
import select
import subprocess
import sys
import time

LIMIT_S = 90


def main():
    fifo, words, argv = sys.argv[1], sys.argv[2].encode(), sys.argv[3:]
    os.makedirs(os.path.dirname(fifo), mode=0o700, exist_ok=True)
    if not os.path.exists(fifo):
        os.mkfifo(fifo, 0o600)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    begun = time.monotonic()
    monitor = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=sys.stderr)
    seen = b""
    try:
        while words not in seen:
            left = begun + LIMIT_S - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                sys.exit(f"no {words!r} in {LIMIT_S} s: {seen[-300:]!r}")
            seen += os.read(reader, 65536)
        print((time.monotonic() - begun) * 1000)
    finally:
        monitor.kill()
        monitor.wait()


if __name__ == "__main__":
    main()
