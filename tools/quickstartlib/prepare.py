# SPDX-License-Identifier: Apache-2.0
"""Packages, the build, what the guest is made of, and whether this machine's KVM can run it."""
import dataclasses
import json
import os
import shutil
import sys
import tempfile

from lablib import debian, guest_kernel, image

from .base import BUILD, SEGUE, TREE, VMM, QuickstartError, call, call_logged, program

DISK_SIZE = 512 << 20
PACKAGES = ["redis-server", "redis-tools"]
NEEDS_APT = "\n(the guest is made of Debian packages: `apt-get download` must work)"


@dataclasses.dataclass
class Parts:
    """The files a guest is made of."""
    kernel: str
    initrd: str
    disk: str


def install(progress, *which):
    """Install those of tools/deps' groups WHICH that are missing."""
    deps = [os.path.join(TREE, "tools/deps"), *which]
    code, missing, _ = call(deps + ["--check"])
    if code == 0:
        return
    if os.getuid() != 0 and not shutil.which("sudo"):
        raise QuickstartError(f"missing packages: {' '.join(missing.split())}\n"
                              f"as root: {' '.join(deps)}")
    progress.say(f"installing {len(missing.split())} Debian packages and what they need "
                 "(minutes on a fresh machine)")
    log = os.path.join(tempfile.gettempdir(), f"segue-quickstart-{os.getuid()}-deps.log")
    call_logged(deps, log, progress)
    os.unlink(log)


def fetch(progress):
    """Bring the guest's packages into the cache: a minute, the first time."""
    debian.tell = progress.now_and_then
    try:
        for package in image.select(PACKAGES, False):
            debian.unpacked(package)
    except debian.PackageError as error:
        raise QuickstartError(f"{error}{NEEDS_APT}") from error


def build(progress):
    log = os.path.join(BUILD, "quickstart.log")
    progress.say("building in build/")
    try:
        os.makedirs(BUILD, exist_ok=True)
        with open(log, "wb"):  # empty
            pass
    except PermissionError as error:
        raise QuickstartError(f"{error}: let the tree's owner build it, then say --no-build "
                              "--no-install") from error
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        call_logged(["meson", "setup", "--buildtype=release", BUILD, TREE], log, progress)
    call_logged(["ninja", "-C", BUILD], log, progress)


def _kernel(progress, engine):
    """Path of the kernel for ENGINE, and an object that knows its modules."""
    if engine == "kvm":
        kernel = debian.kernel("cloud")
        return kernel.image, kernel
    if not guest_kernel.cached():
        progress.say("building the guest's kernel from Debian's source: once, some five minutes")
    return guest_kernel.build(progress=progress), guest_kernel.NoModules


def guest_parts(progress, engine, work):
    """Make what a guest of ENGINE consists of, in directory WORK."""
    try:
        path, kernel = _kernel(progress, engine)
        progress.say("making the guest: a disk with redis-server, an initial file system")
        parts = Parts(path, os.path.join(work, "guest.initrd"), os.path.join(work, "root.raw"))
        image.initramfs(parts.initrd, kernel)
        image.disk(parts.disk, DISK_SIZE, PACKAGES, [program("clockwatch")])
    except (debian.PackageError, guest_kernel.KernelError, image.ImageError) as error:
        raise QuickstartError(f"{error}{NEEDS_APT}") from error
    return parts


def kvm_obstacle():
    """Why stock kernels do not run under this machine's KVM, or None: by starting a monitor."""
    with tempfile.TemporaryDirectory(prefix="segue-quickstart-") as state:
        spec = os.path.join(state, "probe.yaml")
        with open(spec, "w", encoding="ascii") as file:
            json.dump({"name": "probe", "memory": "128M", "engine": "kvm", "kernel": {
                "image": os.path.join(BUILD, "tests/guest/stress.img")}}, file)
        segue = [SEGUE, "--state-dir", state]
        code, _, err = call(segue + ["run", spec, "--paused"], 30, {"SEGUE_VMM": VMM})
        if code == 0:
            call(segue + ["stop", "probe", "--force"], 30)
            return None
        lines = [line for line in err.splitlines() if line.strip()]
        return lines[-1].removeprefix("segue: ").removeprefix("segue-vmm: ") if lines else \
            f"segue-vmm ended with exit code {code}"


def check_memory(needed_mib):
    with open("/proc/meminfo", encoding="ascii") as file:
        free = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in file}["MemAvailable"]
    if free < needed_mib:
        print(f"warning: {free} MiB of memory are free, {needed_mib} would be better",
              file=sys.stderr)
