# SPDX-License-Identifier: Apache-2.0
"""Packages, the build, the guest's image, and whether this machine can run the guest."""
import json
import os
import sys
import tempfile

from lablib import debian, image

from .base import BUILD, SEGUE, TREE, VMM, QuickstartError, call, call_logged


def install(progress):
    deps = [os.path.join(TREE, "tools/deps"), "--build", "--lab"]
    code, missing, _ = call(deps + ["--check"])
    if code == 0:
        return
    progress.say(f"installing {len(missing.split())} Debian packages and what they need "
                 "(minutes on a fresh machine)")
    log = os.path.join(tempfile.gettempdir(), f"segue-quickstart-{os.getuid()}-deps.log")
    call_logged(deps, log)
    os.unlink(log)


def build(progress):
    log = os.path.join(BUILD, "quickstart.log")
    os.makedirs(BUILD, exist_ok=True)
    if os.path.exists(log):
        os.unlink(log)
    progress.say("building in build/")
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        call_logged(["meson", "setup", "--buildtype=release", BUILD, TREE], log)
    call_logged(["ninja", "-C", BUILD], log)


def guest_image(progress, path):
    """Write the guest's initial file system to PATH; the kernel that goes with it."""
    progress.say("making the guest: Debian's cloud kernel, busybox, redis-server")
    try:
        kernel = debian.kernel("cloud")
        image.initramfs(path, kernel, packages=["redis-server", "redis-tools"],
                        add=[os.path.join(BUILD, "tests/lab/clockwatch")])
    except (debian.PackageError, image.ImageError) as error:
        raise QuickstartError(f"{error}\n(the guest is made of Debian packages: "
                              "`apt-get download` must work)") from error
    return kernel


def native_obstacle(kernel):
    """Why guests with a stock kernel cannot run right here, or None: by starting one."""
    with tempfile.TemporaryDirectory(prefix="segue-quickstart-") as state:
        spec = os.path.join(state, "probe.yaml")
        with open(spec, "w", encoding="ascii") as file:
            json.dump({"name": "probe", "memory": "128M", "kernel": {"image": kernel.image}}, file)
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
