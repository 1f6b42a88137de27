# SPDX-License-Identifier: Apache-2.0
"""Three network namespaces of this machine as hosts, for either engine.

The hosts share this machine's kernel, clock and processors, but not their networks: each has
a bridge of its own that only a veth joins to the others'. All of it is in a user namespace,
so that it needs no root, and has no rights outside.
"""
import os
import shutil
import subprocess
import tempfile

from . import strays
from .base import TREE, VMM, QuickstartError, call

HOSTS = ("host1", "host2", "host3")
# What the clients ask for: connections, requests a second of all of them; and the guest's tick.
LOADS = {"kvm": (8, 8000, 1), "pv": (8, 2000, 1)}
SWITCHES = (  # a setting, what it must not be, what to do
    ("kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"),
)
TOOLS = (  # what `ip` says, and what to do
    ("Unknown device type", "the kernel has no bridge or veth: sudo modprobe -a bridge veth"),
    ("open: No such file", "there is no /dev/net/tun: sudo modprobe tun"),
    ("open: Permission denied", "/dev/net/tun is not for everybody: sudo chmod 666 /dev/net/tun"),
)


def namespace_advice(settings="/proc/sys"):
    """What keeps an ordinary user from making namespaces, as far as SETTINGS tell."""
    for name, bad, remedy in SWITCHES:
        try:
            with open(os.path.join(settings, name), encoding="ascii") as file:
                if file.read().strip() == bad:
                    return f"switched off by {name.replace('/', '.')}; to allow them: {remedy}"
        except OSError:
            continue
    return "something around this process forbids them, perhaps a container: run outside, or " \
           "as root"


def ip_advice(words):
    for said, remedy in TOOLS:
        if said in words:
            return f" ({remedy})"
    return f" (user namespaces: {namespace_advice()})" if "not permitted" in words else ""


class NativeSite:
    """The same methods as LabSite."""

    name = "native"
    memory_mib = 1200
    downtime = "100ms"

    def __init__(self, engine="kvm", disk=None):
        self.engine, self.disk = engine, disk
        self.clients, self.rate, self.tick_ms = LOADS[engine]
        self.dir = None
        self.userns = True
        self.holders = {}  # a process in each network namespace keeps it alive
        self.started = []

    def open(self, progress):
        progress.say("making three network namespaces with a bridge between them")
        strays.adopt()
        self.dir = tempfile.mkdtemp(prefix="segue-quickstart-")
        self._hold_switch(progress)
        for host in HOSTS:
            self._hold(host, self._enter("switch") + ["unshare", "--net"])
        self._ip("switch", "link add br0 type bridge")
        self._ip("switch", "link set br0 up")
        for index, host in enumerate(HOSTS, 1):
            self._wire(index, host)

    def _hold_switch(self, progress):
        """In a user namespace; root can do without, where there is none or it is in the way."""
        why = self._hold("switch", ["unshare", "--user", "--map-root-user", "--net"], True)
        if os.getuid() != 0:
            if why:
                raise QuickstartError(f"no user namespaces ({why}): {namespace_advice()}")
            return
        if not why and call(self._enter("switch") + ["test", "-x", TREE])[0]:
            why = f"{TREE} cannot be reached without them"
        if why:
            progress.say(f"not in a user namespace, but with root's rights: {why}")
            self.userns = False
            self._hold("switch", ["unshare", "--net"])

    def _hold(self, name, unshare, may_fail=False):
        """Start a process that keeps a new namespace; what is wrong if it MAY_FAIL, else None."""
        self._release(name)
        # It ends with its input, so with this process, even if that is killed.
        holder = subprocess.Popen(unshare + ["sh", "-c", "echo; exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, start_new_session=True)
        self.holders[name] = holder
        if holder.stdout.readline():
            return None
        words = holder.stderr.read().decode(errors="replace").strip()
        if not may_fail:
            raise QuickstartError(f"no namespaces here ({words}): {namespace_advice()}")
        return words

    def _release(self, name):
        holder = self.holders.pop(name, None)
        if holder:
            holder.kill()
            holder.communicate()

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
        return argv + ["--user", "--preserve-credentials"] if self.userns else argv

    def _ip(self, name, words):
        code, _, err = call(self._enter(name) + [shutil.which("ip") or "/sbin/ip"] + words.split())
        if code != 0:
            raise QuickstartError(f"ip {words}: {err.strip()}{ip_advice(err)}")

    def close(self):
        for process in self.started:
            process.kill()
            process.communicate()
        for name in list(self.holders):
            self._release(name)
        strays.end()  # monitors, if there are any
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def state_of(self, host):
        return os.path.join(self.dir, host)

    def outside(self, name):
        return os.path.join(self.dir, name)

    inside = outside

    def run(self, host, argv, timeout=60):
        result = call(self._enter(host) + argv, timeout, {"SEGUE_VMM": VMM})
        strays.reap([process.pid for process in [*self.started, *self.holders.values()]])
        return result

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
