# SPDX-License-Identifier: Apache-2.0
"""A guest's memory seen from the host: what is put into it, and what its monitor adds to it."""
import mmap
import os
import random
import re

MIB = 1 << 20
PAGE = 4096
GUEST_FILL_BASE = 16 * MIB  # below live the guest's program and what its loader left
GUEST_GO = 8 * MIB          # where the guest looks for the word to begin (wait=)
_blobs = {}

WORDS = ("the of and to in is that for it as was with be by on not he his but at are this have "
         "from or had an they which one you were all her she there would their we him been has "
         "when who will no more if out so up said what its about than into them can only other "
         "time new some could these two may first then do any like my now over such our man me "
         "even most made after also did many off before must well back through years much").split()


def _text_page(rng):
    return (" ".join(rng.choices(WORDS, k=1000)).encode() + b" " * PAGE)[:PAGE]


def _mixed_page(rng):
    dice = rng.random()
    if dice < 0.5:
        return bytes(PAGE)
    return _text_page(rng) if dice < 0.8 else rng.randbytes(PAGE)


def blob(content, size=64 * MIB):
    """SIZE bytes of `zero`, `mixed` (half zero, 30 % text, 20 % random pages) or `random`."""
    if content not in _blobs:
        rng = random.Random(1)
        if content == "zero":
            data = bytes(size)
        elif content == "random":
            data = rng.randbytes(size)
        elif content == "mixed":
            data = b"".join(_mixed_page(rng) for _ in range(size // PAGE))
        else:
            raise ValueError(content)
        _blobs[content] = data
    return _blobs[content]


def warm(size):
    """Touches and frees SIZE bytes. On a virtual machine the first touch of memory its own host
    has not backed yet costs ten times the usual, and would be charged to whoever comes first."""
    with open("/proc/meminfo") as info:
        available = next(int(l.split()[1]) for l in info if l.startswith("MemAvailable")) * 1024
    if size > available * 3 // 4:
        return
    populate_write = 23  # MADV_POPULATE_WRITE, Linux 5.14
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as region:
        try:
            region.madvise(mmap.MADV_HUGEPAGE)
            region.madvise(populate_write)
        except OSError:
            for at in range(0, size, PAGE):
                region[at] = 1


def mappings(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            span, perms, _, _, _, *name = line.split(maxsplit=5)
            begin, end = (int(x, 16) for x in span.split("-"))
            yield begin, end, perms, name[0].strip() if name else ""


def find_ram(pid, size):
    """Address at which process PID has its guest's RAM: its writable mapping of that size."""
    exact, larger = [], []
    for begin, end, perms, _ in mappings(pid):
        if perms.startswith("rw"):
            (exact if end - begin == size else larger if end - begin > size else []).append(begin)
    if len(exact) + len(larger) < 1:
        raise RuntimeError(f"process {pid} maps no {size // MIB} MiB of guest memory")
    return (exact or larger)[0]


def prefill(pid, size, content, touched):
    """Fills a guest's RAM from outside, TOUCHED bytes of it, and tells the guest to begin."""
    base = find_ram(pid, size)
    chunk = memoryview(blob(content))
    mem = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    try:
        at = GUEST_FILL_BASE
        while at < min(size, touched):
            n = min(len(chunk), min(size, touched) - at)
            wrote = os.pwrite(mem, chunk[:n], base + at)
            if not wrote:
                raise RuntimeError(f"process {pid} ended while its guest's memory was filled")
            at += wrote
        os.pwrite(mem, b"\1", base + GUEST_GO)
    finally:
        os.close(mem)


def overhead_resident(pid, size):
    """Bytes resident in process PID besides its guest's RAM."""
    ram = find_ram(pid, size)
    total, skip = 0, False
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if head:
                begin = int(head[1], 16)
                skip = ram <= begin < ram + size
            elif line.startswith("Rss:") and not skip:
                total += int(line.split()[1]) * 1024
    return total
