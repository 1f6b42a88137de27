# SPDX-License-Identifier: Apache-2.0
"""Three network namespaces as hosts, where this machine's KVM runs guests itself.

The hosts share this machine's kernel, clock and processors, but not their networks: each has
a bridge of its own that only a veth joins to the others'. Needs no root: without it, the
namespaces are in a user namespace.
"""
import os
import shutil
import subprocess
import tempfile

from .base import SEGUE, VMM, QuickstartError, call

HOSTS = ("host1", "host2", "host3")


class NativeSite:
    """The same methods as LabSite."""

    engine = "kvm on this machine"
    name = "native"
    memory_mib = 1200
    clients, rate, tick_ms = 8, 8000, 1
    downtime = "100ms"

    def __init__(self):
        self.dir = None
        self.holders = {}  # a process in each network namespace keeps it alive
        self.started = []

    def open(self, progress):
        progress.say("making three network namespaces with a bridge between them")
        self.dir = tempfile.mkdtemp(prefix="segue-quickstart-")
        self._hold("switch", ["unshare", "--net"] if os.getuid() == 0 else
                   ["unshare", "--user", "--map-root-user", "--net"])
        for host in HOSTS:
            self._hold(host, self._enter("switch") + ["unshare", "--net"])
        self._ip("switch", "link add br0 type bridge")
        self._ip("switch", "link set br0 up")
        for index, host in enumerate(HOSTS, 1):
            self._wire(index, host)

    def _hold(self, name, unshare):
        holder = subprocess.Popen(unshare + ["sh", "-c", "echo; exec sleep infinity"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, start_new_session=True)
        self.holders[name] = holder
        if not holder.stdout.readline():
            words = holder.stderr.read().decode(errors="replace").strip()
            raise QuickstartError(f"no namespaces here ({words}): run as root")

    def _wire(self, index, host):
        self._ip("switch", f"link add port{index} type veth peer name lan0 "
                           f"netns {self.holders[host].pid}")
        self._ip("switch", f"link set port{index} master br0 up")
        self._ip(host, "link set lo up")
        self._ip(host, "link add br0 type bridge")
        self._ip(host, "link set lan0 master br0 up")
        self._ip(host, "tuntap add dev tap0 mode tap")
        self._ip(host, "link set tap0 master br0 up")
        self._ip(host, f"address add 10.77.0.{index}/24 dev br0")
        self._ip(host, "link set br0 up")
        os.mkdir(os.path.join(self.dir, host), 0o700)

    def _enter(self, name):
        argv = ["nsenter", "--net", "--target", str(self.holders[name].pid)]
        return argv if os.getuid() == 0 else argv + ["--user", "--preserve-credentials"]

    def _ip(self, name, words):
        code, _, err = call(self._enter(name) + [shutil.which("ip") or "/sbin/ip"] + words.split())
        if code != 0:
            raise QuickstartError(f"ip {words}: {err.strip()}")

    def close(self):
        for host in HOSTS:
            if self.dir and os.path.isdir(os.path.join(self.dir, host)):
                self._end_guests(host)
        for process in self.started + list(self.holders.values()):
            process.kill()
            process.communicate()
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _end_guests(self, host):
        for name in {each.split(".")[0] for each in os.listdir(os.path.join(self.dir, host))}:
            self.run(host, [SEGUE, "--state-dir", self.state_of(host), "stop", name, "--force"])

    def state_of(self, host):
        return os.path.join(self.dir, host)

    def outside(self, name):
        return os.path.join(self.dir, name)

    inside = outside

    def run(self, host, argv, timeout=60):
        return call(self._enter(host) + argv, timeout, {"SEGUE_VMM": VMM})

    def check(self, host, argv, timeout=60):
        code, out, err = self.run(host, argv, timeout)
        if code != 0:
            raise QuickstartError(f"{host}: {' '.join(argv)}: exit {code}: {err.strip()}")
        return out

    def start(self, host, argv, log):
        with open(self.outside(log), "wb") as file:
            process = subprocess.Popen(self._enter(host) + argv, stdin=subprocess.DEVNULL,
                                       stdout=file, stderr=file, start_new_session=True)
        self.started.append(process)  # nsenter becomes the program: one process number
        return process.pid
