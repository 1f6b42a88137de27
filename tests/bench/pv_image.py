# SPDX-License-Identifier: Apache-2.0
"""The files that are the same everywhere: a directory for this machine, an initramfs for guests."""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from lablib import debian, guest_kernel, image  # noqa: E402

HERE = os.path.join(ROOT, "tests", "bench", "guest")
PACKAGES = ["redis-server", "redis-tools", "tcc"]
# Real sources of this project that tcc can compile, and with few headers of others.
SOURCES = ("vmm/boot/*.c", "vmm/engine/pv/shadow*.c", "migrate/plan*.c")
LEAST_SOURCES = 15


def _needs_of(source, work):
    """All files that compiling SOURCE reads, or None where tcc does not compile it."""
    tree = debian.unpacked("tcc")
    done = subprocess.run([os.path.join(tree, "usr/bin/tcc"), "-vv", "-I.", "-c", source, "-o",
                           os.path.join(work, "object"),
                           f"-B{os.path.join(tree, 'usr/lib/x86_64-linux-gnu/tcc')}"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    names = re.findall(r"^-> +(.*)", done.stdout, re.MULTILINE)
    return {os.path.normpath(name) for name in names if not name.startswith(tree)}


def _compile_files(work):
    """What /bench/src needs, as image.add_files() takes it."""
    needs = [_needs_of(os.path.relpath(path, ROOT), work)
             for pattern in SOURCES for path in sorted(glob.glob(os.path.join(ROOT, pattern)))]
    needs = [n for n in needs if n]
    if len(needs) < LEAST_SOURCES:
        raise RuntimeError(f"tcc compiles only {len(needs)} of {', '.join(SOURCES)}")
    return [f"{path}:{path}" if os.path.isabs(path) else
            f"{os.path.join(ROOT, path)}:bench/src/{path}"
            for path in sorted(set().union(*needs))]


class Files:
    """In directory WORK: TREE, INITRD, and UML, Debian's user-mode Linux."""

    def __init__(self, work, build):
        self.tree, self.initrd = os.path.join(work, "tree"), os.path.join(work, "initrd")
        self.kernel = os.path.join(work, "kernel")
        kernel = guest_kernel.cached()
        if not kernel:
            raise RuntimeError("no kernel for the paravirtual engine: run tools/guest-kernel")
        shutil.copyfile(kernel, self.kernel)  # the cache may not be everybody's to read
        self.uml = os.path.join(debian.unpacked("user-mode-linux"), "usr/bin/linux.uml")
        add = [os.path.join(HERE, "pv-run"), os.path.join(HERE, "pv-redis-load"),
               f"{os.path.join(HERE, 'pv-compile')}:bench/compile",
               os.path.join(build, "tests", "bench", "pv-micro"), *_compile_files(work)]
        os.mkdir(self.tree)
        image.stage(self.tree, PACKAGES)
        image.add_files(self.tree, add)
        image.initramfs(self.initrd, guest_kernel.NoModules, PACKAGES, add)
        subprocess.run(["unshare", "--user", "--map-root-user", "chroot", self.tree,
                        "/bin/busybox", "--install", "-s", "/bin"], check=True,
                       stderr=subprocess.DEVNULL)
