# SPDX-License-Identifier: Apache-2.0
"""Builds the paravirtual guest's kernel: Debian's Linux source, guest/linux on top.

Everything happens in the cache (~/.cache/segue), nothing is installed and nothing needs
root. A kernel is kept under a hash of all it is made from, so that asking again is free;
a change of a few files is compiled in the tree of the last build.
"""
import argparse
import fcntl
import filecmp
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import time

from . import debian

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OVERLAY = os.path.join(TOP, "guest", "linux")
ABI = os.path.join(TOP, "guest", "abi.h")
ABI_IN_TREE = "arch/um/include/asm/segue-abi.h"
SOURCE = "linux-source-6.1"
BUILD_TOOLS = ("flex", "bison", "m4", "bc")
# Parts of Linux that no paravirtual guest can have; what Kconfig reads of them stays.
LEFT_OUT = ("drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/staging", "sound")
KEPT_BUILDS = 3
REPORT_EVERY = 5  # seconds

EPILOG = """\
examples:
  tools/guest-kernel                 builds if need be, prints where the kernel is
  tools/guest-kernel --output linux  ... and copies it
  tools/guest-kernel --jobs 8
"""


class KernelError(Exception):
    pass


class Progress:
    def __init__(self, quiet):
        self.begun = time.monotonic()
        self.quiet = quiet
        self.reported = self.begun

    def say(self, text):
        if not self.quiet:
            seconds = time.monotonic() - self.begun
            print(f"[{seconds:6.1f} s] {text}", file=sys.stderr, flush=True)

    def count(self, files):
        if time.monotonic() - self.reported >= REPORT_EVERY:
            self.reported = time.monotonic()
            self.say(f"compiled {files} files")


def _files(top):
    for where, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            yield os.path.join(where, name)


def _hash(paths, *words):
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\0")
    for path in paths:
        digest.update(os.path.relpath(path, TOP).encode() + b"\0")
        with open(path, "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:16]


def _run(argv, cwd=None, **options):
    done = subprocess.run(argv, cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
                          **options)
    if done.returncode != 0:
        raise KernelError(f"{' '.join(argv)}:\n{done.stdout.strip()}")
    return done.stdout


def _patches():
    return sorted(glob.glob(os.path.join(OVERLAY, "patches", "*.patch")))


def _identity():
    """What the kernel will be made from, and what its source tree will."""
    version = debian.candidate(SOURCE)
    if not version:
        raise KernelError(f"no package {SOURCE}: run `apt-get update` first")
    compiler = _run(["gcc", "--version"]).splitlines()[0]
    tree = _hash(_patches(), version)
    return _hash([ABI, *_files(OVERLAY)], version, compiler), tree


def _environment():
    """Finds the build's tools: installed ones, or those of packages in the cache."""
    env = dict(os.environ, LC_ALL="C", KBUILD_BUILD_USER="segue", KBUILD_BUILD_HOST="segue")
    for package in BUILD_TOOLS:
        if shutil.which(package):
            continue
        tree = debian.unpacked(package)
        env["PATH"] = os.path.join(tree, "usr/bin") + os.pathsep + env["PATH"]
        if package == "bison":
            env["BISON_PKGDATADIR"] = os.path.join(tree, "usr/share/bison")
        if package == "m4":
            env["M4"] = os.path.join(tree, "usr/bin/m4")
    return env


def _unpack(tree, progress):
    """Makes the patched source in directory TREE, or leaves nothing there."""
    progress.say(f"fetching {SOURCE}")
    archive = os.path.join(debian.unpacked(SOURCE), "usr/src", f"{SOURCE}.tar.xz")
    partial = f"{tree}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    progress.say("unpacking")
    _run(["tar", "-xf", archive, "--strip-components=1",
          *(f"--exclude=*/{part}/*.{kind}" for part in LEFT_OUT for kind in "ch")], cwd=partial)
    for patch in _patches():
        _run(["patch", "-p1", "--forward", "-i", patch], cwd=partial)
    os.rename(partial, tree)


def _copy(source, target):
    """Only if it differs: make goes by times."""
    if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)


def _lay_over(tree):
    ours = os.path.join(OVERLAY, "arch")
    for path in _files(ours):
        _copy(path, os.path.join(tree, "arch", os.path.relpath(path, ours)))
    _copy(ABI, os.path.join(tree, ABI_IN_TREE))


def _make(tree, *words):
    return ["make", "-C", tree, f"O={tree}.build", "ARCH=um", "SUBARCH=x86_64", "OS=segue",
            *words]


def _follow(output, progress):
    """Tell of make's OUTPUT how much is compiled; that number, and lines with other words."""
    lines, compiled = [], 0
    for line in output:
        if line.startswith("  CC ") or line.startswith("  AS "):
            compiled += 1
            progress.count(compiled)
        elif not line.startswith("  "):
            lines.append(line)
    return compiled, lines


def _compile(tree, env, jobs, progress):
    argv = _make(tree, f"-j{jobs}", "vmlinux")
    with subprocess.Popen(argv, env=env, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as make:
        try:
            compiled, lines = _follow(make.stdout, progress)
        except BaseException:  # leaving this block waits for make
            make.terminate()
            raise
    if make.returncode != 0:
        raise KernelError("the build failed:\n" + "".join(lines[-40:]))
    progress.say(f"compiled {compiled} files")


def _configure(tree, env):
    os.makedirs(f"{tree}.build", exist_ok=True)
    wanted = os.path.join(f"{tree}.build", "wanted-config")
    config = os.path.join(OVERLAY, "config")
    if os.path.exists(wanted) and filecmp.cmp(config, wanted, shallow=False):
        return
    _run(_make(tree, f"KCONFIG_ALLCONFIG={config}", "allnoconfig"), env=env)
    with open(os.path.join(f"{tree}.build", ".config"), encoding="utf-8") as file:
        have = set(file.read().splitlines())
    with open(config, encoding="utf-8") as file:
        lacking = [line for line in file.read().splitlines()
                   if line.startswith("CONFIG_") and line not in have]
    if lacking:
        raise KernelError("not to be had in this Linux: " + ", ".join(lacking))
    shutil.copyfile(config, wanted)


def _forget_old(keep):
    """All but the newest few kernels, and the trees of other patches."""
    kernels = sorted(glob.glob(os.path.join(keep, "vmlinux-*")), key=os.path.getmtime)
    for path in kernels[:-KEPT_BUILDS]:
        os.unlink(path)
    trees = sorted(glob.glob(os.path.join(keep, "tree-*.build")), key=os.path.getmtime)
    for path in trees[:-1]:
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(path.removesuffix(".build"), ignore_errors=True)


def _lock(file, progress):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress.say("another build is under way; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


def build(jobs=0, progress=None):
    """Path of the kernel, an ELF executable; built unless the cache has it."""
    progress = progress or Progress(quiet=True)
    identity, tree_identity = _identity()
    keep = debian.cache_dir("guest-kernel")
    kernel = os.path.join(keep, f"vmlinux-{identity}")
    with open(os.path.join(keep, ".lock"), "w", encoding="ascii") as lock:
        _lock(lock, progress)
        if os.path.exists(kernel):
            os.utime(kernel)
            return kernel
        env = _environment()
        tree = os.path.join(keep, f"tree-{tree_identity}")
        if not os.path.isdir(tree):
            _unpack(tree, progress)
        _lay_over(tree)
        _configure(tree, env)
        progress.say("compiling")
        _compile(tree, env, jobs or os.cpu_count(), progress)
        _run(["objcopy", "--strip-debug", f"{tree}.build/vmlinux", f"{kernel}.partial"])
        os.rename(f"{kernel}.partial", kernel)
        _forget_old(keep)
    return kernel


def cached():
    """Path of the kernel that build() would return at once, or None."""
    kernel = os.path.join(debian.cache_dir("guest-kernel"), f"vmlinux-{_identity()[0]}")
    return kernel if os.path.exists(kernel) else None


class NoModules:
    """In place of debian.Kernel, for an initramfs: everything is built in."""
    modules = ""

    @staticmethod
    def has(_):
        return False

    @staticmethod
    def resolve(_):
        return []


def main():
    parser = argparse.ArgumentParser(
        prog="tools/guest-kernel", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The Linux kernel of paravirtual guests, from Debian's source and "
                    "guest/linux: built once, kept in the cache. Prints its path.")
    parser.add_argument("--output", metavar="FILE", help="copy it there")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="compilers at a time")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    args = parser.parse_args()
    try:
        kernel = build(args.jobs, Progress(args.quiet))
        if args.output:
            shutil.copyfile(kernel, args.output)
    except (KernelError, debian.PackageError, OSError) as error:
        print(f"guest-kernel: {error}", file=sys.stderr)
        return 1
    print(args.output or kernel)
    return 0
