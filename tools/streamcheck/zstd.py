# SPDX-License-Identifier: Apache-2.0
"""zstd frames, unpacked by libzstd.so.1, which Debian's dpkg needs and so has everywhere."""

import ctypes

MAGIC = b'\x28\xb5\x2f\xfd'


def library():
    found = ctypes.CDLL('libzstd.so.1')
    found.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    found.ZSTD_getFrameContentSize.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    found.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
    found.ZSTD_findFrameCompressedSize.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    found.ZSTD_decompress.restype = ctypes.c_size_t
    found.ZSTD_decompress.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                      ctypes.c_size_t)
    return found


def decode(frame, size):
    """FRAME's content, which must be exactly SIZE bytes, FRAME all of it; ValueError otherwise."""
    zstd = library()
    frame = bytes(frame)
    if not frame.startswith(MAGIC):
        raise ValueError('its content is no zstd frame')
    if zstd.ZSTD_getFrameContentSize(frame, len(frame)) != size:
        raise ValueError(f'its zstd frame does not say {size} bytes')
    if zstd.ZSTD_findFrameCompressedSize(frame, len(frame)) != len(frame):
        raise ValueError('its zstd frame does not end where the record does')
    out = ctypes.create_string_buffer(size)
    if zstd.ZSTD_decompress(out, size, frame, len(frame)) != size:
        raise ValueError('its zstd frame does not unpack')
    return out.raw
