# SPDX-License-Identifier: Apache-2.0
"""Write cpio archives of format "newc", which is what a kernel takes as an initramfs.

Field order and padding: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
Writing them here needs no root for device nodes and gives the same bytes for the same input.
"""
import os
import stat


class Archive:
    def __init__(self, out):
        self._out = out
        self._inode = 0
        self._known = set()

    def _entry(self, path, mode, data=b"", rdev=(0, 0)):
        self._inode += 1
        name = path.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data),
                  0, 0, rdev[0], rdev[1], len(name), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self._out.write(head + b"\0" * (-len(head) % 4))
        self._out.write(data + b"\0" * (-len(data) % 4))

    def directory(self, path, mode=0o755):
        """Add PATH and every directory above it that is not there yet."""
        path = path.strip("/")
        if not path or path in self._known:
            return
        self.directory(os.path.dirname(path))
        self._known.add(path)
        self._entry(path, stat.S_IFDIR | mode)

    def _place(self, path):
        path = path.strip("/")
        self.directory(os.path.dirname(path))
        if path in self._known:
            return None
        self._known.add(path)
        return path

    def data(self, path, data, mode=0o644):
        path = self._place(path)
        if path:
            self._entry(path, stat.S_IFREG | mode, data)

    def file(self, path, source, mode=None):
        if mode is None:
            mode = stat.S_IMODE(os.stat(source).st_mode)
        with open(source, "rb") as file:
            self.data(path, file.read(), mode)

    def symlink(self, path, target):
        path = self._place(path)
        if path:
            self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def character(self, path, major, minor, mode=0o600):
        path = self._place(path)
        if path:
            self._entry(path, stat.S_IFCHR | mode, rdev=(major, minor))

    def tree(self, source, under=""):
        """Add everything below the directory SOURCE, at UNDER."""
        for here, dirs, files in os.walk(source):
            dirs.sort()
            base = os.path.join(under, os.path.relpath(here, source)).replace("/./", "/")
            base = "" if base == "." else base
            self.directory(base)
            for name in sorted(files) + [d for d in dirs if os.path.islink(f"{here}/{d}")]:
                full, inside = os.path.join(here, name), os.path.join(base, name)
                if os.path.islink(full):
                    self.symlink(inside, os.readlink(full))
                elif os.path.isfile(full):
                    self.file(inside, full)

    def finish(self):
        self._entry("TRAILER!!!", 0)
