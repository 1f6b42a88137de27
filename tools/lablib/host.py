# SPDX-License-Identifier: Apache-2.0
"""One host of the lab: its initrd, its QEMU, its power button."""
import hashlib
import os
import re
import shutil
import time

from . import cpio, debian, qmp, tsc
from .state import LabError

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]


def build_initrd(kernel):
    """The initrd all hosts start from; kept in the cache under what it is made of."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise LabError("no busybox here: run tools/deps")
    sources = [os.path.join(HERE, name) for name in ("host-initrd", "host-init")]
    digest = hashlib.sha256(kernel.tree.encode())
    for source in sources:
        with open(source, "rb") as file:
            digest.update(file.read())
    path = os.path.join(debian.cache_dir("initrd"), f"host-{digest.hexdigest()[:16]}.cpio")
    if os.path.exists(path):
        return path
    with open(f"{path}.{os.getpid()}", "wb") as out:
        archive = cpio.Archive(out)
        archive.file("bin/busybox", busybox, 0o755)
        archive.file("init", sources[0], 0o755)
        archive.file("host-init", sources[1])
        archive.character("dev/console", 5, 1)
        order = kernel.resolve(ROOT_MODULES)
        for module in order:
            archive.file(f"modules/{os.path.basename(module)}",
                         os.path.join(kernel.modules, module))
        lines = "".join(os.path.basename(module) + "\n" for module in order)
        archive.data("modules/order", lines.encode())
        archive.finish()
    os.rename(f"{path}.{os.getpid()}", path)
    return path


def kernel_arguments(lab, name, host):
    conf = lab.conf
    words = ["console=ttyS0", "quiet", "panic=-1", "mitigations=off", "nokaslr", "audit=0",
             "tsc=reliable", "cryptomgr.notests", "random.trust_cpu=on", "net.ifnames=0",
             f"lab.name={name}", f"lab.index={host['index']}", f"lab.mtu={conf['mtu']}",
             f"lab.lib={HERE}", f"lab.rdma={int(conf['rdma'])}"]
    rate = tsc.khz()
    if rate:
        words.append(f"tsc_early_khz={rate}")
    if conf["see"]:
        words.append("lab.see=" + ",".join(conf["see"]))
    for key, value in host["options"].items():
        words.append(f"{key if '.' in key else 'kvm_amd.' + key}={value}")
    return " ".join(words)


def qemu_arguments(lab, name):
    conf, host = lab.conf, lab.conf["hosts"][name]
    argv = [
        "qemu-system-x86_64", "-name", f"segue-lab-{lab.name}-{name}",
        "-machine", "q35,vmport=off,smm=off", "-nodefaults", "-no-user-config",
        "-accel", "tcg,thread=multi,tb-size=512", "-cpu", host["cpu"],
        "-smp", str(conf["cpus"]), "-m", conf["memory"], "-no-reboot",
        "-display", "none", "-vga", "none", "-rtc", "base=utc",
        "-serial", f"file:{lab.path(name + '.console')}",
        "-qmp", f"unix:{lab.path(name + '.qmp')},server=on,wait=off",
        "-kernel", conf["kernel"], "-initrd", conf["initrd"],
        "-append", kernel_arguments(lab, name, host), "-device", "virtio-rng-pci",
    ]
    argv += _shared_directory("root", "/", True) + _shared_directory("live", "/", True)
    argv += _shared_directory("modules", conf["modules"], True)
    argv += _shared_directory("share", lab.share, False)
    mac = f"52:54:00:77:%02x:{host['index']:02x}"
    argv += ["-netdev", "user,id=ctl,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-:1",
             "-device", f"virtio-net-pci,netdev=ctl,mac={mac % 1},romfile="]
    argv += ["-netdev", f"stream,id=lab,server=off,addr.type=unix,addr.path={lab.path('net-' + name)}",
             "-device", f"virtio-net-pci,netdev=lab,mac={mac % 0},romfile=,"
                        f"host_mtu={conf['mtu']}"]
    for disk in conf["disks"]:
        argv += _disk(lab, disk)
    return argv


def _shared_directory(tag, path, readonly):
    options = f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap"
    return ["-virtfs", options + (",readonly=on" if readonly else "")]


def _disk(lab, disk):
    node = f"disk-{disk}"
    return ["-blockdev", f"driver=nbd,node-name={node},server.type=unix,export={disk},"
                         f"server.path={lab.path('nbd')},cache.direct=on",
            "-device", f"virtio-blk-pci,drive={node},serial={disk},share-rw=on"]


def processor(host):
    """
    The one of this machine's processors that a host runs on. The emulation of nested machines
    does not bear two of a host's processors running at the same instant; see docs/lab.md.
    """
    ours = sorted(os.sched_getaffinity(0))
    return ours[(host["index"] - 1) % len(ours)]


def power_on(lab, name):
    """Start the host's QEMU and learn the port its agent can be reached at."""
    if lab.pid(name):
        raise LabError(f"{name} is on already")
    for left in (f"{name}.qmp", f"{name}.console"):
        if os.path.exists(lab.path(left)):
            os.unlink(lab.path(left))
    child = lab.spawn(name, qemu_arguments(lab, name), processor(lab.conf["hosts"][name]))
    while not os.path.exists(lab.path(f"{name}.qmp")):
        try:
            child.wait(0.02)
        except Exception:  # pylint: disable=broad-except  # still running, as hoped
            continue
        raise LabError(f"{name}: QEMU did not start: {lab.said(name)}")
    with monitor(lab, name) as connection:
        users = connection.human("info usernet")
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", users)
    if not found:
        raise LabError(f"{name}: no control port in {users!r}")
    lab.conf["hosts"][name]["port"] = int(found.group(1))
    lab.save()


def monitor(lab, name):
    """The host's QEMU monitor; its socket exists a moment before it accepts."""
    for attempt in range(100):
        try:
            return qmp.Qmp(lab.path(f"{name}.qmp"))
        except ConnectionRefusedError:
            if attempt == 99:
                raise
            time.sleep(0.02)
    return None
