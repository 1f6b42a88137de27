# SPDX-License-Identifier: Apache-2.0
"""LZ4 blocks, decoding only.

https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""


def length(block, at, nibble):
    if nibble < 15:
        return nibble, at
    while True:
        byte = block[at]
        at += 1
        nibble += byte
        if byte != 255:
            return nibble, at


def match(out, offset, count, size):
    if not 1 <= offset <= len(out):
        raise ValueError('an LZ4 match begins before the page')
    if len(out) + count > size:
        raise ValueError('an LZ4 block unpacks to more than a page')
    piece = out[-offset:]
    out += (piece * (count // offset + 1))[:count]


def decode(block, size):
    """Bytes of BLOCK, which must be exactly SIZE; ValueError otherwise."""
    out = bytearray()
    at = 0
    try:
        while True:
            token = block[at]
            count, at = length(block, at + 1, token >> 4)
            if at + count > len(block) or len(out) + count > size:
                raise ValueError('LZ4 literals run over')
            out += block[at:at + count]
            at += count
            if at == len(block):
                break
            offset = block[at] | block[at + 1] << 8
            count, at = length(block, at + 2, token & 15)
            match(out, offset, count + 4, size)
    except IndexError:
        raise ValueError('an LZ4 block ends within a sequence') from None
    if len(out) != size:
        raise ValueError(f'an LZ4 block unpacks to {len(out)} bytes, not {size}')
    return bytes(out)
