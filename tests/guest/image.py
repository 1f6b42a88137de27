#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins the two halves of a test guest into a bzImage: image.py SETUP.elf KERNEL.elf OUT"""
import struct
import subprocess
import sys
import tempfile


def flat(elf):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["objcopy", "-O", "binary", elf, out.name], check=True)
        return out.read()


def main():
    setup, kernel = bytearray(flat(sys.argv[1])), flat(sys.argv[2])
    kernel += bytes(-len(kernel) % 512)
    if len(setup) != (setup[0x1F1] + 1) * 512:
        sys.exit(f"setup is {len(setup)} bytes, its header says {setup[0x1F1]} sectors")
    struct.pack_into("<I", setup, 0x1F4, len(kernel) // 16)  # syssize
    with open(sys.argv[3], "wb") as out:
        out.write(setup + kernel)


main()
