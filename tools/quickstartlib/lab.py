# SPDX-License-Identifier: Apache-2.0
"""Three emulated hosts, each with a kernel and a hardware KVM of its own (docs/lab.md)."""
import fcntl
import os

from lablib import cli, remote
from lablib.state import Lab, LabError, labs_dir

from .base import VMM, QuickstartError


class LabSite:
    """Hosts to run things on. NativeSite has the same methods."""

    name = "lab"
    disk = "/dev/lab/root"
    memory_mib = 3600
    # What emulated processors carry without being busy with nothing else.
    clients, rate, tick_ms = 4, 160, 5
    # The blackout a real network allows, 100 ms, is a dozen round trips here on a busy machine.
    downtime = "500ms"

    def __init__(self, engine, disk):
        self.engine = engine
        self.lab = Lab("quickstart")
        self.disk_file = disk
        self.lock = None

    def open(self, progress):
        self.lock = open(os.path.join(labs_dir(), "quickstart.lock"), "w", encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.lock = None
            raise QuickstartError("another quickstart of this user is running") from error
        if os.path.isdir(self.lab.dir):  # of one that was killed
            self.lab.remove()
        progress.say("switching three emulated hosts on")
        code = cli.main(["up", "--name", self.lab.name, "--hosts", "3", "--memory", "1200M",
                         "--no-rdma", "--disk", f"root={self.disk_file}", "--quiet"])
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise QuickstartError("the emulated hosts do not come up")
        self.lab.load()
        for host in ("host1", "host2"):
            cli.main(["tap", "--name", self.lab.name, host, "tap0"])
            self.check(host, ["mkdir", "-p", "-m", "700", self.state_of(host)])

    def close(self):
        if self.lock:
            if os.path.isdir(self.lab.dir):
                self.lab.remove()
            self.lock.close()

    def state_of(self, _):
        return "/run/segue"

    # A file that all hosts see: its path here, and in the hosts

    def outside(self, name):
        return os.path.join(self.lab.share, name)

    def inside(self, name):
        return f"/lab/share/{name}"

    def run(self, host, argv, timeout=60):
        try:
            code, out, err = remote.run(self.lab, host, argv, timeout=timeout,
                                        env={"SEGUE_VMM": VMM})
        except (LabError, OSError) as error:
            raise QuickstartError(f"{host}: {error}") from error
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def check(self, host, argv, timeout=60):
        code, out, err = self.run(host, argv, timeout)
        if code != 0:
            raise QuickstartError(f"{host}: {' '.join(argv)}: exit {code}: {err.strip()}")
        return out

    def start(self, host, argv, log):
        """Start ARGV in HOST with its output in the shared file LOG."""
        code, out, err = remote.run(self.lab, host, argv, detach=True, log=self.inside(log))
        if code != 0:
            raise QuickstartError(f"{host}: {argv[0]}: {err.decode(errors='replace')}")
        return int(out)
