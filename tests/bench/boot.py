# SPDX-License-Identifier: Apache-2.0
"""A stock kernel from exec of its monitor to its first program, beside QEMU, in the lab."""
import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from lablib import cli, debian, image, remote  # noqa: E402
from lablib.state import Lab  # noqa: E402

WORDS = "guest: first program"  # tools/guest/init
CMDLINE = "console=ttyS0 quiet panic=-1"
ONCE = os.path.join(ROOT, "tests", "bench", "boot_once.py")
HOST, MEMORY_MIB, CPUS = "host1", 512, 2
MACHINES = {"q35": ["-M", "q35"], "pc": ["-M", "pc"],
            "microvm": ["-M", "microvm,rtc=on,pit=off,pic=off"]}


def qemu(machine, kernel, initrd):
    fifo = "/run/boot-qemu/serial"
    return fifo, ["qemu-system-x86_64", *MACHINES[machine], "-accel", "kvm", "-cpu", "host",
                  "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config",
                  "-display", "none", "-chardev", f"file,id=s,path={fifo}", "-serial", "chardev:s",
                  "-kernel", kernel, "-initrd", initrd, "-append", CMDLINE]


def segue(build, lab, kernel, initrd):
    path = os.path.join(lab.share, "boot.yaml")
    with open(path, "w", encoding="ascii") as file:
        json.dump({"name": "boot", "cpu": {"model": "host", "count": CPUS},
                   "memory": f"{MEMORY_MIB}M",
                   "kernel": {"image": kernel, "initrd": initrd, "cmdline": CMDLINE}}, file)
    return "/run/boot-segue/boot.log", [os.path.join(build, "vmm", "segue-vmm"), "--state-dir",
                                        "/run/boot-segue", "--force", "/lab/share/boot.yaml"]


def once(lab, fifo, argv):
    code, out, err = remote.run(lab, HOST, [sys.executable, "-S", "-E", ONCE, fifo, WORDS, *argv],
                                timeout=150)
    if code:
        raise RuntimeError(f"{argv[0]}: {err.decode(errors='replace')}")
    return float(out)


def measure(lab, build, runs):
    """{who: [ms]}, taken in turns."""
    kernel = debian.kernel("cloud")
    initrd = os.path.join(lab.share, "boot.initrd")
    image.initramfs(initrd, kernel)
    seen = "/lab/share/boot.initrd"
    ways = {"segue": segue(build, lab, kernel.image, seen)}
    ways |= {f"QEMU {m}": qemu(m, kernel.image, seen) for m in MACHINES}
    results = {name: [] for name in ways}
    for run in range(runs + 1):  # the first brings the files into the host's cache
        for name, way in ways.items():
            took = once(lab, *way)
            if run:
                results[name].append(took)
                print(f"  boot: {name}: {took:.0f} ms", file=sys.stderr, flush=True)
    return results


def bench_boot(report, build, runs):
    lab = Lab("bench-boot")
    if cli.main(["up", "--name", lab.name, "--hosts", "1", "--no-rdma", "--see", build]):
        raise RuntimeError("the lab does not come up")
    lab.load()
    try:
        results = measure(lab, build, runs)
    finally:
        lab.remove()
    medians = {name: statistics.median(took) for name, took in results.items()}
    print("== boot: exec to the guest's first program, in the lab\n" +
          "\n".join(f"{name:14} {took:6.0f} ms" for name, took in medians.items()), flush=True)
    ours = medians.pop("segue")
    best = min(medians, key=medians.get)
    report.row("boot", "cloud-kernel", "ms", "lower", ours, medians[best], best)
