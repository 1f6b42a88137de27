# SPDX-License-Identifier: Apache-2.0
"""What tools/lab and the agent in a host say to each other.

A connection is one command. The client sends one JSON line, then frames; the agent sends
frames until EXIT. A frame is one byte of kind, four of length (little-endian), and content.
"""
import struct

STDIN, STDOUT, STDERR, EXIT, SIGNAL = range(5)
HEAD = struct.Struct("<BI")
LIMIT = 1 << 20


def pack(kind, data=b""):
    return HEAD.pack(kind, len(data)) + data


class Reader:
    """Cuts what arrives into frames."""

    def __init__(self):
        self._have = bytearray()

    def feed(self, data):
        self._have += data
        while len(self._have) >= HEAD.size:
            kind, length = HEAD.unpack_from(self._have)
            if length > LIMIT:
                raise ValueError("frame too long")
            end = HEAD.size + length
            if len(self._have) < end:
                return
            body = bytes(self._have[HEAD.size:end])
            del self._have[:end]
            yield kind, body
