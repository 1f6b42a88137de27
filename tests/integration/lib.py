# SPDX-License-Identifier: Apache-2.0
"""Drives monitors the way a person does: a guest file, the segue command, what it prints."""
import json
import os
import subprocess
import sys
import time

SKIP = 77


def build_dir():
    """Where the programs were built: $SEGUE_BUILD (meson sets it), or build/ in the tree."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    return os.environ.get("SEGUE_BUILD", os.path.join(root, "build"))


class Programs:
    def __init__(self, build):
        self.vmm = os.path.join(build, "vmm", "segue-vmm")
        self.segue = os.path.join(build, "tools", "segue", "segue")
        self.image = os.path.join(build, "tests", "guest", "stress.img")
        for path in (self.vmm, self.segue, self.image):
            if not os.path.exists(path):
                raise FileNotFoundError(f"{path} is not built")


def guest_yaml(name, image, cmdline, memory_mib, cpus=1, disks=()):
    """A guest file for one of our small guests; JSON is YAML."""
    return json.dumps({
        "name": name,
        "cpu": {"model": "x86-64-v2", "count": cpus},
        "memory": f"{memory_mib}M",
        "kernel": {"image": image, "cmdline": cmdline},
        "disks": [{"path": d, "readonly": True} for d in disks],
        "allow_emulation": True,
    }, indent=1)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


def say(*words):
    print(f"[{time.strftime('%H:%M:%S')}]", *words, flush=True)
