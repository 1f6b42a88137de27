# SPDX-License-Identifier: Apache-2.0
"""Guest images out of Debian packages: initramfs archives and disks, without root."""
import os
import shutil
import subprocess
import tempfile

from . import cpio, debian

GUEST = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest")
MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng",
           "virtio_balloon", "ext4", "crc32c_generic", "button", "evdev", "pvpanic_mmio",
           "af_packet"]
NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian",
              "usr/share/bash-completion", "usr/lib/x86_64-linux-gnu/gconv", "usr/share/info")
LINKS = ("bin", "sbin", "lib", "lib64")  # Debian keeps these below usr


class ImageError(Exception):
    pass


def _run(argv, **options):
    done = subprocess.run(argv, stderr=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise ImageError(f"{argv[0]}: {words or done.returncode}")


def _busybox():
    path = shutil.which("busybox")
    if not path:
        raise ImageError("no busybox here: run tools/deps")
    return path


def select(packages, full):
    """PACKAGES and what they need: all of it, or only the libraries."""
    if full:
        return debian.closure(packages)
    seen, todo = [], list(packages)
    while todo:
        name = debian.provider(todo.pop())
        if name in seen:
            continue
        seen.append(name)
        todo += [need for need in debian.depends(name)
                 if need.startswith("lib") or need in packages]
    return sorted(seen)


def stage(target, packages, full=False):
    """Lay the files of PACKAGES out in directory TARGET."""
    for link in LINKS:
        os.makedirs(os.path.join(target, "usr", link), exist_ok=True)
        os.symlink(f"usr/{link}", os.path.join(target, link))
    for package in select(packages, full):
        tree = debian.unpacked(package)
        for part in os.listdir(tree):
            inside = os.path.join("usr", part) if part in LINKS else part
            _copy(os.path.join(tree, part), os.path.join(target, inside))
    _copy(_busybox(), os.path.join(target, "usr/bin/busybox"))
    if not os.path.lexists(os.path.join(target, "usr/bin/sh")):
        os.symlink("busybox", os.path.join(target, "usr/bin/sh"))
    for path in NOT_NEEDED:
        shutil.rmtree(os.path.join(target, path), ignore_errors=True)
    for path in ("etc", "root", "tmp", "run", "var/tmp", "dev", "proc", "sys"):
        os.makedirs(os.path.join(target, path), exist_ok=True)
    _accounts(target)


def _copy(source, target):
    if os.path.islink(source) or not os.path.isdir(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    else:
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _accounts(target):
    for name, line in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n")):
        path = os.path.join(target, "etc", name)
        if not os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(line)


def add_files(target, specs):
    """Each SPEC is FILE or FILE:PATH-IN-THE-IMAGE; without a path it becomes a program."""
    for spec in specs:
        source, _, inside = spec.partition(":")
        if not os.path.exists(source):
            raise ImageError(f"--add {source}: no such file")
        inside = inside.lstrip("/") or f"programs/{os.path.basename(source)}"
        _copy(source, os.path.join(target, inside))


def _base(archive, kernel, modules):
    """What every initramfs has: busybox, /init, services and modules."""
    archive.file("init", os.path.join(GUEST, "init"), 0o755)
    archive.file("etc/acpi/PWRF/00000080", os.path.join(GUEST, "power-button"), 0o755)
    archive.file("www/cgi-bin/run", os.path.join(GUEST, "run.cgi"), 0o755)
    archive.tree(os.path.join(GUEST, "services"), "services")
    archive.character("dev/console", 5, 1)
    archive.character("dev/null", 1, 3, 0o666)
    order = kernel.resolve([name for name in modules if kernel.has(name)])
    for module in order:
        archive.file(f"modules/{os.path.basename(module)}", os.path.join(kernel.modules, module))
    archive.data("modules/order",
                 "".join(os.path.basename(module) + "\n" for module in order).encode())


def initramfs(output, kernel, packages=(), add=(), modules=(), full=False, compress="lz4"):
    """Write an initramfs to OUTPUT: busybox, and PACKAGES and files of ADD if there are any."""
    with tempfile.TemporaryDirectory(prefix="segue-image-") as work:
        tree, plain = os.path.join(work, "tree"), os.path.join(work, "plain")
        os.mkdir(tree)
        if packages:
            stage(tree, packages, full)
        add_files(tree, add)
        with open(plain, "wb") as out:
            archive = cpio.Archive(out)
            archive.tree(tree)
            _base(archive, kernel, MODULES + list(modules))
            if not packages:  # else it came with them
                archive.file("bin/busybox", _busybox(), 0o755)
            archive.finish()
        _compress(plain, output, compress)


def _compress(plain, output, how):
    partial = f"{output}.{os.getpid()}"
    if how == "none":
        shutil.copyfile(plain, partial)
    elif how == "lz4":  # the kernel reads only the legacy frame
        _run(["lz4", "-l", "-q", "-f", plain, partial])
    else:
        with open(partial, "wb") as out:
            _run(["gzip", "-n", "-6", "-c", plain], stdout=out)
    os.rename(partial, output)


def disk(output, size, packages=(), add=(), full=False, label="root", direct_tree=None):
    """Write an ext4 disk of SIZE bytes to OUTPUT, with PACKAGES, files of ADD, or nothing."""
    partial = f"{output}.{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="segue-image-") as work:
        tree = direct_tree or os.path.join(work, "tree")
        os.makedirs(tree, exist_ok=True)
        if packages:
            stage(tree, packages, full)
        add_files(tree, add)
        with open(partial, "wb") as file:
            file.truncate(size)
        argv = [shutil.which("mke2fs") or "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", label,
                "-E", "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"]
        _run(argv + (["-d", tree] if os.listdir(tree) else []) + [partial])
    os.rename(partial, output)


def disk_errors(path):
    """What is wrong with the ext4 file system in PATH, which nobody has open; "" if nothing."""
    done = subprocess.run([shutil.which("e2fsck") or "/sbin/e2fsck", "-f", "-n", path],
                          capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr if done.returncode else ""


def disk_file(path, inside):
    """The content of the file INSIDE the ext4 file system in PATH; empty if there is none."""
    argv = [shutil.which("debugfs") or "/sbin/debugfs", "-R", f"cat /{inside}", path]
    return subprocess.run(argv, capture_output=True, check=False).stdout
