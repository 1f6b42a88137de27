# SPDX-License-Identifier: Apache-2.0
"""How a lab begins: its description, its disks and switch, its hosts one after the other."""
import os
import subprocess
import sys
import threading
import time

from . import debian, host, remote
from .state import LabError

TREE = os.path.dirname(os.path.dirname(host.HERE))
# Five levels of page tables cost an emulated processor a fifth of its speed.
MODEL = "max,-la57"
HIDDEN = ("/tmp", "/run", "/dev/shm")  # a host has its own of these


class Clock:
    """Progress lines, each with the seconds since the start."""

    def __init__(self, quiet=False):
        self.began, self.quiet = time.monotonic(), quiet

    def say(self, text):
        if not self.quiet:
            print(f"[{time.monotonic() - self.began:5.1f}] {text}", file=sys.stderr, flush=True)


def pairs(values, hosts, what):
    """`I:VALUE` options as {host name: [values]}; I may be `all`."""
    result = {}
    for value in values:
        index, colon, rest = value.partition(":")
        names = hosts if index == "all" else [f"host{index}"]
        if not colon or not set(names) <= set(hosts):
            raise LabError(f"{what} {value}: want I:..., I a host's number or `all`")
        for name in names:
            result.setdefault(name, []).append(rest)
    return result


def visible(paths):
    """PATHS that hosts would not see by themselves, being where they have their own."""
    result = []
    for path in map(os.path.realpath, paths):
        if not os.path.isdir(path):
            raise LabError(f"--see {path}: no such directory")
        if any(c in path for c in ", \t"):
            raise LabError(f"--see {path}: no commas and spaces, please")
        if path not in result and path not in HIDDEN:
            result.append(path)
    return result


def make_conf(args):
    names = [f"host{i + 1}" for i in range(args.hosts)]
    options = pairs(args.host_opts, names, "--host-opts")
    models = pairs(args.cpu_model, names, "--cpu-model")
    hosts = {}
    for index, name in enumerate(names, 1):
        own = dict(o.partition("=")[::2] for o in options.get(name, []))
        hosts[name] = {"index": index, "options": own, "cpu": models.get(name, [MODEL])[-1]}
    kernel = debian.kernel("standard")
    see = visible([TREE] + args.see)
    return {"hosts": hosts, "cpus": args.cpus, "memory": args.memory, "mtu": args.mtu,
            "rdma": not args.no_rdma, "see": see, "kernel": kernel.image,
            "modules": kernel.modules, "initrd": host.build_initrd(kernel), "disks": {}}


def make_disks(lab, specs):
    """Each SPEC is NAME:SIZE, or NAME=FILE for an image that exists."""
    for spec in specs:
        if "=" in spec:
            name, _, path = spec.partition("=")
            path = os.path.realpath(path)
        else:
            name, _, size = spec.partition(":")
            path = lab.path(f"disk-{name}.raw")
            _run("truncate", "-s", size, path)
        if not name.isalnum() or len(name) > 20:
            raise LabError(f"--disk {spec}: want NAME:SIZE or NAME=FILE")
        lab.conf["disks"][name] = path
    lab.save()


def _run(*argv):
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")


def start_disks(lab):
    argv = ["qemu-storage-daemon",
            "--nbd-server", f"addr.type=unix,addr.path={lab.path('nbd')},max-connections=0"]
    for name, path in lab.conf["disks"].items():
        argv += ["--blockdev", f"driver=file,node-name={name},filename={path},discard=unmap",
                 "--export", f"type=nbd,id={name},node-name={name},name={name},writable=on"]
    lab.spawn("disks", argv)
    _wait_for(lab, "disks", "nbd")


def start_hub(lab):
    lab.spawn("hub-process", [sys.executable, "-S", "-E", os.path.join(host.HERE, "hub.py"),
                              lab.dir, *lab.conf["hosts"]])
    _wait_for(lab, "hub-process", "hub")


def _wait_for(lab, what, path):
    until = time.monotonic() + 10
    while not os.path.exists(lab.path(path)):
        if lab.pid(what) is None or time.monotonic() > until:
            raise LabError(f"{what} did not start: {lab.said(what)}")
        time.sleep(0.02)


def settle(lab, name, clock, seconds):
    """Wait for a host that was just switched on, and set its clock."""
    until = time.monotonic() + seconds
    remote.wait_up(lab, name, until)
    clock.say(f"{name} answers")
    ready = "until [ -e /run/lab-ready ]; do sleep 0.1; done"
    remote.check(lab, name, ["/bin/sh", "-c", ready], timeout=seconds)
    doubt = remote.set_clock(lab, name)
    clock.say(f"{name} ready, clock set to within {doubt * 1000:.1f} ms")


def settle_all(lab, names, clock, seconds):
    errors = []

    def one(name):
        try:
            settle(lab, name, clock, seconds)
        except (LabError, OSError) as error:
            errors.append(error)
    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def begin(lab, specs, clock, timeout):
    """Everything of a lab whose directory is there."""
    make_disks(lab, specs)
    start_disks(lab)
    start_hub(lab)
    clock.say(f"lab {lab.name}: switch and {len(lab.conf['disks'])} shared disk(s)")
    with lab.lock():
        for name in lab.conf["hosts"]:
            host.power_on(lab, name)
    clock.say(f"{', '.join(lab.conf['hosts'])} switched on")
    settle_all(lab, lab.conf["hosts"], clock, timeout)


def power_on(lab, name, cpu=None, options=None):
    """Switch NAME on, from now on with another processor or other options if given."""
    with lab.lock():
        lab.load()
        about = lab.conf["hosts"][name]
        about["cpu"] = cpu or about["cpu"]
        if options is not None:
            about["options"] = options
        host.power_on(lab, name)
