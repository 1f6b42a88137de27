# SPDX-License-Identifier: Apache-2.0
"""XXH3-64 with a seed.

xxh3_64_python() is complete and slow (about 10 MB/s). xxh3_64() is the same by libxxhash
where that is installed and agrees; pure() makes it the Python one for good.
Source of the algorithm: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

import ctypes
import struct

M64 = (1 << 64) - 1
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
       0x27D4EB2F165667C5)
SECRET = bytes.fromhex(
    'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
    'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'
    '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8'
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364'
    'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e'
    '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e')


def u32(data, at):
    return struct.unpack_from('<I', data, at)[0]


def u64(data, at):
    return struct.unpack_from('<Q', data, at)[0]


def swap64(value):
    return int.from_bytes(value.to_bytes(8, 'little'), 'big')


def rotate(value, by):
    return (value << by | value >> (64 - by)) & M64


def fold(a, b):
    product = a * b
    return (product ^ product >> 64) & M64


def avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def avalanche64(h):
    h = (h ^ h >> 33) * P64[1] & M64
    h = (h ^ h >> 29) * P64[2] & M64
    return h ^ h >> 32


def mix16(data, at, key, seed):
    return fold(u64(data, at) ^ (u64(SECRET, key) + seed) & M64,
                u64(data, at + 8) ^ (u64(SECRET, key + 8) - seed) & M64)


def upto3(data, seed):
    n = len(data)
    mixed = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
    return avalanche64(mixed ^ ((u32(SECRET, 0) ^ u32(SECRET, 4)) + seed) & M64)


def upto8(data, seed):
    n = len(data)
    seed ^= int.from_bytes((seed & 0xffffffff).to_bytes(4, 'little'), 'big') << 32
    flip = ((u64(SECRET, 8) ^ u64(SECRET, 16)) - seed) & M64
    h = (u32(data, n - 4) + (u32(data, 0) << 32)) ^ flip
    h ^= rotate(h, 49) ^ rotate(h, 24)
    h = h * 0x9FB21C651E98DF25 & M64
    h ^= (h >> 35) + n
    h = h * 0x9FB21C651E98DF25 & M64
    return h ^ h >> 28


def upto16(data, seed):
    n = len(data)
    low = u64(data, 0) ^ ((u64(SECRET, 24) ^ u64(SECRET, 32)) + seed) & M64
    high = u64(data, n - 8) ^ ((u64(SECRET, 40) ^ u64(SECRET, 48)) - seed) & M64
    return avalanche((n + swap64(low) + high + fold(low, high)) & M64)


def upto128(data, seed):
    n = len(data)
    h = n * P64[0]
    for i in range((n - 1) // 32, -1, -1):
        h += mix16(data, 16 * i, 32 * i, seed)
        h += mix16(data, n - 16 * (i + 1), 32 * i + 16, seed)
    return avalanche(h & M64)


def upto240(data, seed):
    n = len(data)
    h = n * P64[0]
    for i in range(8):
        h += mix16(data, 16 * i, 16 * i, seed)
    h = avalanche(h & M64)
    for i in range(8, n // 16):
        h += mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
    return avalanche((h + mix16(data, n - 16, 136 - 17, seed)) & M64)


def seeded_secret(seed):
    words = struct.unpack('<24Q', SECRET)
    return struct.pack('<24Q', *((w - seed if i % 2 else w + seed) & M64
                                 for i, w in enumerate(words)))


def accumulate(acc, data, at, key):
    lanes = struct.unpack_from('<8Q', data, at)
    for i in range(8):
        mixed = lanes[i] ^ key[i]
        acc[i ^ 1] += lanes[i]
        acc[i] += (mixed & 0xffffffff) * (mixed >> 32)
    for i in range(8):
        acc[i] &= M64


def longer(data, seed):
    n = len(data)
    secret = seeded_secret(seed)
    keys = [struct.unpack_from('<8Q', secret, 8 * i) for i in range(17)]
    acc = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]
    stripes = (n - 1) // 64
    for s in range(stripes):
        accumulate(acc, data, 64 * s, keys[s % 16])
        if s % 16 == 15:
            acc = [(a ^ a >> 47 ^ k) * P32[0] & M64 for a, k in zip(acc, keys[16])]
    accumulate(acc, data, n - 64, struct.unpack_from('<8Q', secret, 192 - 64 - 7))
    h = n * P64[0]
    for i in range(4):
        h += fold(acc[2 * i] ^ u64(secret, 11 + 16 * i),
                  acc[2 * i + 1] ^ u64(secret, 11 + 16 * i + 8))
    return avalanche(h & M64)


def xxh3_64_python(data, seed=0):
    n = len(data)
    if n == 0:
        return avalanche64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))
    for limit, way in ((3, upto3), (8, upto8), (16, upto16), (128, upto128), (240, upto240)):
        if n <= limit:
            return way(data, seed)
    return longer(data, seed)


def library():
    """libxxhash's function, or None where there is none or it disagrees."""
    try:
        call = ctypes.CDLL('libxxhash.so.0').XXH3_64bits_withSeed
    except (OSError, AttributeError):
        return None
    call.restype = ctypes.c_uint64
    call.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    sample = bytes(i * 7 & 255 for i in range(3000))
    for n in (0, 3, 8, 16, 128, 240, 3000):
        if call(sample[:n], n, 99) != xxh3_64_python(sample[:n], 99):
            return None
    return lambda data, seed=0: call(bytes(data), len(data), seed)


xxh3_64 = library() or xxh3_64_python


def pure():
    global xxh3_64
    xxh3_64 = xxh3_64_python
