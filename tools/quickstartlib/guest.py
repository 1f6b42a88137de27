# SPDX-License-Identifier: Apache-2.0
"""The guest: Linux with a Redis server on its disk, started, moved and stopped by Segue."""
import json
import os
import shlex
import shutil
import time

from .base import SEGUE, QuickstartError

ADDRESS = "10.77.0.100"
REDIS_PORT, CLOCK_PORT = 6379, 5004
NAME = "redis"
CPUS = {"kvm": 2, "pv": 1}
MODELS = {"kvm": "x86-64-v2", "pv": "host"}


def tcp_report(site, host, address, port, command=""):
    """The JSON object that a program at ADDRESS:PORT answers COMMAND with, asked from HOST."""
    script = (f"exec 3<>/dev/tcp/{address}/{port}; echo {shlex.quote(command)} >&3; "
              "timeout 30 cat <&3")
    for last in (False, False, True):
        code, out, err = site.run(host, ["bash", "-c", script])
        try:
            return json.loads(out)
        except ValueError:
            if last:
                raise QuickstartError(f"{address}:{port} as asked from {host} answers "
                                      f"{out!r}, exit {code} {err}") from None
            time.sleep(0.5)
    return None


class Guest:
    def __init__(self, site, parts, options):
        self.site, self.at, self.port = site, None, 7000
        self.memory, self.cpus = options.memory, options.cpus or CPUS[site.engine]
        self.move_options = ("--downtime", options.downtime or site.downtime,
                             "--if-unconverged", "keep-trying", "--time-limit", "5m")
        self.file = site.inside(f"{NAME}.yaml")
        shutil.copy(parts.initrd, site.outside("guest.initrd"))
        with open(site.outside(f"{NAME}.yaml"), "w", encoding="ascii") as file:
            json.dump(self._spec(parts), file, indent=1)  # JSON is YAML

    def _spec(self, parts):
        line = ["console=ttyS0", "panic=-1", "segue.root=/dev/vda", f"segue.ip={ADDRESS}/24",
                f"segue.name={NAME}", "segue.start=redis",
                f"segue.run=clockwatch,--serve,6000,--tick,{self.site.tick_ms}"]
        return {"name": NAME, "engine": self.site.engine, "memory": self.memory,
                "cpu": {"model": MODELS[self.site.engine], "count": self.cpus},
                "kernel": {"image": parts.kernel, "initrd": self.site.inside("guest.initrd"),
                           "cmdline": " ".join(line)},
                "disks": [{"path": self.site.disk, "direct": True}],
                "nets": [{"tap": "tap0", "mac": "52:54:00:77:10:01"}],
                "console": True, "entropy": True}

    def segue(self, host, *args, timeout=120):
        return self.site.run(host, [SEGUE, "--state-dir", self.site.state_of(host), *args],
                             timeout)

    def log(self, host):
        path = os.path.join(self.site.state_of(host), f"{NAME}.log")
        code, out, _ = self.site.run(host, ["tail", "-n", "12", path], 20)
        return f"--- {host}, the end of {path}:\n{out}" if code == 0 else ""

    def start(self, host, patience):
        code, _, err = self.segue(host, "run", self.file)
        if code != 0:
            raise QuickstartError(f"{host} does not start the guest: {err.strip()}")
        self.at = host
        until = time.monotonic() + patience
        while True:
            code, out, _ = self.site.run("host3", ["timeout", "5", "redis-cli", "-h", ADDRESS,
                                                   "ping"])
            if code == 0 and out.strip() == "PONG":
                return
            if time.monotonic() > until:
                raise QuickstartError(f"the guest did not come up in {patience} s\n"
                                      f"{self.log(host)}")
            time.sleep(0.5)

    def move(self, to):
        """Move it to host TO; what segue says about that, as from --json."""
        source, self.port = self.at, self.port + 1
        listen = f"10.77.0.{to.removeprefix('host')}:{self.port}"
        code, _, err = self.segue(to, "receive", self.file, "--listen", listen)
        if code != 0:
            raise QuickstartError(f"{to} does not wait for the guest: {err.strip()}")
        code, out, err = self.segue(source, "move", NAME, "--to", listen, "--json",
                                    *self.move_options, timeout=600)
        answer = json.loads(out) if out.strip() else {}
        if code != 0 or answer.get("outcome") != "moved":
            raise QuickstartError(
                f"the move from {source} to {to} failed: exit {code}, "
                f"{answer.get('outcome')}: {answer.get('text') or err.strip()}\n"
                f"{self.log(source)}{self.log(to)}")
        self.at = to
        self._see_off(source)
        return answer

    def _see_off(self, host):
        """The monitor that a guest has left ends by itself; see that it does."""
        for _ in range(100):
            code, out, _ = self.segue(host, "show", NAME, "--json", timeout=20)
            if code != 0:
                return
            if json.loads(out).get("state") not in ("moved", "switching"):
                break
            time.sleep(0.2)
        raise QuickstartError(f"{host} still has the guest after it moved away:\n{out}")

    def stop(self):
        """Press its power button: what it has not written to its disk yet, it writes."""
        code, _, err = self.segue(self.at, "stop", NAME, "--timeout", "100s")
        if code != 0:
            raise QuickstartError(f"the guest does not shut down: {err.strip()}\n"
                                  f"{self.log(self.at)}")

    def clock(self):
        """The longest gap between two ticks in the guest since the last call, and more."""
        report = tcp_report(self.site, "host3", ADDRESS, CLOCK_PORT, "reset")
        return report["longest_gap_ms"], report["monotonic_backwards"]
