# SPDX-License-Identifier: Apache-2.0
"""What the lab's tests are written with: hosts, guests, moves, and what must hold."""
import json
import os
import re
import shlex
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TREE, "tools"))
from lablib import cli, debian, host, image, remote  # noqa: E402
from lablib.state import Lab, LabError  # noqa: E402

PROGRAMS = ["memverify", "fsload", "tcpcheck", "clockwatch", "rediscount"]
STATE = "/run/segue"
EXIT_REFUSED = 6
# An emulated link carries 5 to 30 MB a second: within the default a busy guest cannot move.
DOWNTIME = "400ms"
THREADS = """\
for look in 1 2; do
    for comm in $(grep -ls '^segue-vmm$' /proc/[0-9]*/comm); do
        for task in ${comm%comm}task/*; do
            echo "$(cat $task/comm) $(cut -d ' ' -f 3,14,15 $task/stat) $(cat $task/wchan)"
        done
    done
    sleep 1
done"""
EACH_PROCESSOR = "n=$(nproc); while [ $n -gt 0 ]; do n=$((n-1)); taskset -c $n true || exit; done"


class Failed(Exception):
    """Something that must hold does not."""


def expect(true, *words):
    if not true:
        raise Failed(" ".join(str(word) for word in words))


def say(*words):
    print(time.strftime("    %H:%M:%S"), *words, flush=True)


def find_build(given):
    """The build directory: GIVEN, $SEGUE_BUILD, or build/ in the tree."""
    path = given or os.environ.get("SEGUE_BUILD") or os.path.join(TREE, "build")
    path = os.path.realpath(path)
    wanted = ["vmm/segue-vmm", "tools/segue/segue"] + [f"tests/lab/{p}" for p in PROGRAMS]
    missing = [each for each in wanted if not os.path.exists(os.path.join(path, each))]
    return path, missing


class Bed:
    """The lab the tests share."""

    def __init__(self, build, name):
        self.build, self.lab = build, Lab(name)
        self.ours = False
        self.keep = False  # leave a guest that failed for a look

    def up(self):
        if self.lab.exists():
            self.lab.load()
            if self.build not in self.lab.conf["see"] and not self.build.startswith(TREE):
                cli.main(["see", "--name", self.lab.name, self.build])
                self.lab.load()
        else:
            code = cli.main(["up", "--name", self.lab.name, "--see", self.build,
                             "--disk", "data:256M", "--no-rdma"])
            if code:
                raise Failed("the lab does not come up")
            self.ours = True
            self.lab.load()
        cli.main(["tap", "--name", self.lab.name, "all", "tap0"])
        for each in self.hosts:
            self.sh(each, f"mkdir -p {STATE}; chmod 700 {STATE}")

    def down(self):
        if self.ours:
            self.lab.remove()

    def answers(self):
        """Whether every host that is switched on still does what it is told."""
        silent = []
        for each in self.hosts:
            if not self.lab.pid(each):
                continue
            if not self._answers(each):
                say(f"{each} does not answer; its processors are at {self.positions(each)}; "
                    f"its console: {self.console(each)}")
                silent.append(each)
        return not silent

    def _answers(self, where):
        """On each of its processors: where one is stuck, the others may still do much."""
        try:
            return self.run(where, ["/bin/sh", "-c", EACH_PROCESSOR], timeout=30)[0] == 0
        except Exception:  # pylint: disable=broad-except  # however it fails to answer
            return False

    def positions(self, where):
        """What a host that answers no more is executing, by its emulator's word."""
        try:
            with host.monitor(self.lab, where) as monitor:
                looks = [monitor.human("info registers -a") for _ in range(3)]
        except Exception as error:  # pylint: disable=broad-except  # a hang of QEMU itself
            return f"(QEMU's monitor: {error})"
        return [re.findall(r"RIP=([0-9a-f]+)", look) for look in looks]

    def threads(self):
        """Says what the monitors on every host are at: whether their vCPUs run, and wait for what."""
        for each in filter(self.lab.pid, self.hosts):
            words = self.run(each, ["/bin/sh", "-c", THREADS], timeout=30)[1]
            say(f"monitors at {each}, two looks at each thread's state, ticks and place:\n{words}")

    def console(self, where):
        with open(self.lab.path(f"{where}.console"), errors="replace", encoding="utf-8") as file:
            return file.read()[-4000:] or "(nothing)"

    def renew(self):
        """A new lab in the place of one with a hung host, guest images and all."""
        self.lab.remove()
        self.up()
        self.images()

    @property
    def hosts(self):
        return list(self.lab.conf["hosts"])

    def run(self, where, argv, timeout=120):
        code, out, err = remote.run(self.lab, where, argv, timeout=timeout)
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def sh(self, where, script, timeout=120, check=True):
        code, out, err = self.run(where, ["/bin/bash", "-c", script], timeout)
        expect(code == 0 or not check, f"{where}: {script}: exit {code}: {err.strip()}")
        return out

    def start(self, where, argv, log="/dev/null"):
        code, out, err = remote.run(self.lab, where, argv, detach=True, log=log)
        expect(code == 0, f"{where}: {argv}: {err}")
        return int(out)

    def program(self, name):
        return os.path.join(self.build, "tests/lab", name)

    def segue(self, where, *args, timeout=180):
        """Run segue in a host; returns (exit code, its JSON or {}, its words)."""
        argv = [os.path.join(self.build, "tools/segue/segue"), "--state-dir", STATE, *args]
        code, out, err = remote.run(
            self.lab, where, argv, timeout=timeout,
            env={"SEGUE_VMM": os.path.join(self.build, "vmm/segue-vmm")})
        try:
            answer = json.loads(out) if out.strip() else {}
        except ValueError:
            answer = {"words": out.decode(errors="replace")}
        return code, answer, err.decode(errors="replace").strip()

    def power_cycle(self, where, cpu=None, options=None):
        args = ["power-on", "--name", self.lab.name, where]
        args += ["--cpu-model", cpu] if cpu else []
        for key, value in (options or {}).items():
            args += ["--host-opts", f"{key}={value}"]
        if self.lab.pid(where):
            self.lab.kill(where)
        expect(cli.main(args) == 0, f"{where} does not come up again")
        self.lab.load()
        cli.main(["tap", "--name", self.lab.name, where, "tap0"])
        self.sh(where, f"mkdir -p {STATE}; chmod 700 {STATE}")

    def npt(self, where, on):
        """Have KVM in a host use nested paging, or shadow the guest's page tables itself."""
        holder = os.path.join(host.HERE, "hold_kvm.py")
        self.sh(where, "kill $(cat /run/hold-kvm.pid); sleep 0.5; rmmod kvm_amd kvm; "
                f"modprobe kvm_amd npt={int(on)} && chmod 666 /dev/kvm")
        pid = self.start(where, [sys.executable, "-S", "-E", holder])
        self.sh(where, f"echo {pid} >/run/hold-kvm.pid")
        have = self.sh(where, "cat /sys/module/kvm_amd/parameters/npt").strip()
        expect(have == ("Y" if on else "N"), f"{where}: npt is {have}")

    def images(self):
        """The initial file systems guests start from, made anew for this build."""
        add = [self.program(name) for name in PROGRAMS]
        for kind in ("cloud", "standard"):
            image.initramfs(self.image(kind), debian.kernel(kind), add=add)
        image.initramfs(self.image("redis"), debian.kernel("cloud"),
                        packages=["redis-server", "redis-tools"])

    def image(self, kind):
        return os.path.join(self.lab.share, f"{kind}.initrd")

    def fresh_disk(self):
        image.disk(self.lab.path("fresh.raw"), 256 << 20, label="data")
        with open(self.lab.path("fresh.raw"), "rb") as source, \
                open(self.lab.conf["disks"]["data"], "r+b") as target:
            while block := source.read(1 << 20):
                target.write(block)

    def cut(self, *hosts):
        cli.main(["cut", "--name", self.lab.name, *hosts])

    def heal(self, *hosts):
        cli.main(["heal", "--name", self.lab.name, *hosts])


class Guest:
    """A stock kernel on the product, at one of the hosts."""

    ADDRESS = "10.77.0.100"

    def __init__(self, bed, name, run=(), kind="cloud", kernel=None, disk=False, cpus=2,
                 memory="512M", model="x86-64-v2", words=""):
        self.bed, self.name, self.moves = bed, name, []
        self.file = f"/lab/share/{name}.yaml"
        self.port = 7000
        kernel = debian.kernel(kernel or ("standard" if kind == "standard" else "cloud"))
        line = ["console=ttyS0", "panic=-1", f"segue.ip={self.ADDRESS}/24", "segue.shell",
                f"segue.name={name}"]
        line += ["segue.run=" + ",".join(each) for each in run]
        line += ["segue.mount=/dev/vda:/data"] if disk else []
        spec = {
            "name": name, "cpu": {"model": model, "count": cpus}, "memory": memory,
            "kernel": {"image": kernel.image, "initrd": f"/lab/share/{kind}.initrd",
                       "cmdline": " ".join(line + [words]).strip()},
            "nets": [{"tap": "tap0", "mac": "52:54:00:77:10:01"}],
            "console": True, "entropy": True, "balloon": True,
        }
        if disk:
            spec["disks"] = [{"path": "/dev/lab/data", "direct": True, "serial": "data"}]
        with open(os.path.join(bed.lab.share, f"{name}.yaml"), "w", encoding="ascii") as file:
            json.dump(spec, file, indent=1)  # JSON is YAML

        self.at = None

    # Life

    def start(self, where, timeout=90):
        code, answer, err = self.bed.segue(where, "run", self.file, "--json")
        expect(code == 0, f"run at {where}: exit {code}: {err} {answer}")
        self.at = where
        self.wait_up(timeout)

    def wait_up(self, timeout=90):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.shell("true", check=False, patience=2) is not None:
                return
            state = self.state(self.at)
            expect(state not in ("stopped", "panicked", None),
                   f"the guest is {state} instead of booting: {self.log(self.at)}")
        raise Failed(f"the guest does not answer: {self.log(self.at)}")

    def log(self, where):
        code, out, err = remote.run(self.bed.lab, where, [
            "/bin/bash", "-c", f"tail -n 15 {STATE}/{self.name}.log {STATE}/{self.name}*console*"],
            timeout=20)
        return (out + err).decode(errors="replace")[-1500:]

    def show(self, where):
        code, answer, _ = self.bed.segue(where, "show", self.name, "--json", timeout=30)
        return answer if code == 0 else None

    def state(self, where):
        answer = self.show(where)
        return answer.get("state") if answer else None

    def running_at(self):
        """The hosts at which a monitor says that it runs this guest."""
        return [each for each in self.bed.hosts if self.bed.lab.pid(each)
                and self.state(each) in ("running", "moving", "switching")]

    def end(self):
        """Away with it, everywhere, whatever its state."""
        if self.bed.keep and sys.exc_info()[0]:
            return
        for each in self.bed.hosts:
            if self.bed.lab.pid(each):
                self.bed.segue(each, "stop", self.name, "--force", timeout=60)
                self.bed.sh(each, "pkill -9 -x segue-vmm; sleep 0.2; "
                            f"rm -rf {STATE}/{self.name}*", check=False)

    def power_button(self, timeout=40):
        code, _, err = self.bed.segue(self.at, "stop", self.name, timeout=timeout)
        expect(code == 0, f"stop: exit {code}: {err}")

    # Talking to what runs in it

    def shell(self, script, check=True, patience=20):
        """Run a script in the guest; its output, or None if there is no answer."""
        asker = next(each for each in self.bed.hosts if self.bed.lab.pid(each))
        code, out, err = self.bed.run(asker, [
            "curl", "-s", "--max-time", str(patience), "--data-binary", script,
            f"http://{self.ADDRESS}/cgi-bin/run"], timeout=patience + 20)
        expect(code == 0 or not check, f"guest's shell: curl exit {code} {err}")
        if code != 0:
            return None
        body, _, end = out.rpartition("exit ")
        expect(not check or end.strip() == "0", f"guest: {script}: {out}")
        return body

    def ask(self, port, command=""):
        """The report of a program in the guest, which it gives on PORT."""
        script = (f"exec 3<>/dev/tcp/{self.ADDRESS}/{port}; echo {shlex.quote(command)} >&3; "
                  "cat <&3")
        for attempt in range(3):
            out = self.bed.sh(self.bed.hosts[0], f"timeout 30 bash -c {shlex.quote(script)}",
                              check=False)
            try:
                return json.loads(out)
            except ValueError:
                time.sleep(1)
        raise Failed(f"port {port} of the guest gives {out!r}\n{self.log(self.at)}")

    # Moving

    def other(self):
        return next(each for each in self.bed.hosts if each != self.at)

    def receive(self, where):
        """Have a monitor wait for the guest; returns its address, or None and why not."""
        self.port += 1
        index = self.bed.lab.conf["hosts"][where]["index"]
        listen = f"10.77.0.{index}:{self.port}"
        code, answer, err = self.bed.segue(where, "receive", self.file, "--listen", listen,
                                           "--json", timeout=60)
        return (listen, "") if code == 0 else (None, f"exit {code}: {err} {answer}")

    def move(self, to=None, *options):
        """Move the guest, and expect that it works. Returns the JSON answer."""
        to = to or self.other()
        listen, why = self.receive(to)
        expect(listen, f"receive at {to}: {why}")
        code, answer, err = self.bed.segue(self.at, "move", self.name, "--to", listen, "--json",
                                           "--downtime", DOWNTIME, *options)
        expect(code == 0 and answer.get("outcome") == "moved",
               f"move {self.at} -> {to}: exit {code}: {err} {answer}\n"
               f"source: {self.log(self.at)}\ndestination: {self.log(to)}")
        self.clear(self.at)
        self.at = to
        self.moves.append(answer["progress"])
        return answer

    def clear(self, where):
        """A monitor whose guest has gone ends; see that it did, and is out of the way."""
        for _ in range(50):
            state = self.state(where)
            if state is None:
                return
            expect(state == "moved", f"{where} still has the guest, {state}, after a move")
            self.bed.segue(where, "stop", self.name, "--force", timeout=30)
            time.sleep(0.2)
        raise Failed(f"{where}: the monitor of a guest that moved away does not end")

    def blackout_ms(self):
        return max(each["blackout"]["total"] for each in self.moves) / 1000


class Clock:
    """The guest's clocks as seen from one host, before and after something."""

    def __init__(self, guest, observer):
        self.guest, self.observer = guest, observer
        self.before = self.look()

    def look(self):
        """Ask for two seconds; on a machine with much else to do, a second time."""
        argv = [self.guest.bed.program("clockwatch"), "--ask", f"{Guest.ADDRESS}:6000",
                "--seconds", "2", "--interval", "30"]
        for _ in range(3):
            code, out, err = self.guest.bed.run(self.observer, argv)
            if code == 0 and json.loads(out)["used"] >= 5:
                return json.loads(out)
        raise Failed(f"the guest does not tell its time to {self.observer}: {out} {err}\n"
                     f"{self.guest.log(self.guest.at)}")

    def check(self, blackout_ms, what=""):
        """Since the last look the clocks may have gone wrong by blackout and ten milliseconds."""
        before, after = self.before, self.look()
        self.before = after
        for name in ("monotonic", "realtime"):
            shift = middle(after[name]) - middle(before[name])
            doubt = (spread(after[name]) + spread(before[name])) / 2
            expect(abs(shift) <= blackout_ms + 10 + doubt,
                   f"{what} {name} clock is off by {shift:.1f} ms, blackout {blackout_ms:.1f}")
        inside = self.guest.ask(5004)
        backs = {k: v for k, v in inside.items() if k.endswith("backwards") and v
                 and not k.startswith("realtime")}
        expect(not backs, f"{what} a clock went back: {inside}")
        return middle(after["monotonic"]) - middle(before["monotonic"]), inside


def middle(offset):
    return (offset["least_ms"] + offset["most_ms"]) / 2


def spread(offset):
    return offset["most_ms"] - offset["least_ms"]


def disk_files(bed, manifest):
    """Compare the disk, now that no host has it open, with what its user said is on it."""
    import zlib
    path = bed.lab.conf["disks"]["data"]
    errors = image.disk_errors(path)
    expect(not errors, f"e2fsck: {errors}")
    for each in manifest:
        got = image.disk_file(path, each["name"])
        expect(len(got) == each["size"] and zlib.crc32(got) == each["crc32"],
               f"{each['name']}: {len(got)} bytes, crc {zlib.crc32(got)}; want {each}")
