# SPDX-License-Identifier: Apache-2.0
"""Drives monitors the way a person does: a guest file, the segue command, what it prints.

A Host is a state directory: two of them on one machine are two hosts to a guest that moves.
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
SKIP = 77


def use_build(build):
    """Takes the programs from BUILD; at first $SEGUE_BUILD, or build/ in the tree."""
    global VMM, SEGUE, STRESS
    VMM = os.path.join(build, "vmm", "segue-vmm")
    SEGUE = os.path.join(build, "tools", "segue", "segue")
    STRESS = os.path.join(build, "tests", "guest", "stress.img")


use_build(os.environ.get("SEGUE_BUILD", os.path.join(ROOT, "build")))


class Skip(Exception):
    """Why a test cannot be run here."""


def say(*words):
    print(f"[{time.strftime('%H:%M:%S')}]", *words, flush=True)


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(map(str, words)))


def wait_until(what, condition, seconds=20.0, step=0.01):
    end = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(step)
    return got


def write_guest(path, name, cmdline, memory_mib=128, cpus=1, disks=(), **more):
    """A guest file for the stress guest. JSON is YAML. The CPU model is "host": a KVM that only
    emulates has too few features for any other, and both ends are this machine."""
    with open(path, "w") as out:
        json.dump({
            "name": name, "memory": f"{memory_mib}M", "cpu": {"model": "host", "count": cpus},
            "kernel": {"image": STRESS, "cmdline": cmdline},
            "disks": [d if isinstance(d, dict) else {"path": d, "readonly": True} for d in disks],
            "allow_emulation": True, **more,
        }, out, indent=1)
    return path


# What a monitor built with a sanitizer says when something is wrong with it.
SANITIZER = re.compile(r"(Address|Leak|Thread|Undefined\w*)Sanitizer|runtime error:")


class Monitor:
    """One segue-vmm, our own child, so that its end can be seen."""

    def __init__(self, host, name, guest, receive=None, env=None, wrap=lambda argv: argv,
                 options=()):
        self.host, self.name = host, name
        self.messages_path = os.path.join(host.dir, f"{name}.messages-{host.next_number()}")
        ready, theirs = os.pipe()
        argv = [VMM, "--state-dir", host.dir, "--ready-fd", str(theirs), *options]
        if receive:
            argv += ["--receive", receive]
        with open(self.messages_path, "wb") as messages:
            self.process = subprocess.Popen(
                wrap(argv + [guest]), stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
                pass_fds=[theirs], env={**os.environ, **(env or {})})
        os.close(theirs)
        self.pid = self.process.pid
        try:
            self.listen = self._wait_ready(ready)
        finally:
            os.close(ready)

    def _wait_ready(self, fd):
        line = b""
        end = time.monotonic() + 20
        while not line.endswith(b"\n"):
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                self.kill()
                raise TimeoutError(f"monitor of {self.name} is not ready: {self.messages()}")
            data = os.read(fd, 256)
            if not data:
                self.process.wait()
                raise RuntimeError(f"monitor of {self.name} ended: {self.messages()}")
            line += data
        words = line.decode().split()
        return words[1] if len(words) > 1 else None

    def messages(self):
        with open(self.messages_path, errors="replace") as messages:
            return messages.read()

    def digest(self):
        """What it logged of its guest's memory (SEGUE_TEST_DIGEST=1), the latest."""
        found = re.findall(r"\bdigest ([0-9a-f]{16,})", self.messages())
        return found[-1] if found else None

    def ended(self):
        return self.process.poll() is not None

    def wait_end(self, seconds=10):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"monitor of {self.name} in {self.host.name} does not end: "
                               f"{self.messages()}") from None

    def kill(self):
        if not self.ended():
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Host:
    def __init__(self, parent, name):
        self.name, self.dir = name, os.path.join(parent, name)
        os.mkdir(self.dir, 0o700)
        self.monitors = []
        self.number = 0
        self.wrap = lambda argv: argv  # around the segue command; a monitor has its own

    def next_number(self):
        self.number += 1
        return self.number

    def run(self, guest, name="g", **options):
        self.monitors.append(Monitor(self, name, guest, **options))
        return self.monitors[-1]

    def receive(self, guest, name="g", listen="127.0.0.1:0", **options):
        return self.run(guest, name, receive=listen, **options)

    def segue(self, *words, seconds=60, ok=True):
        """Runs the command; its result, parsed if it was asked for JSON."""
        done = subprocess.run(self.wrap([SEGUE, "--state-dir", self.dir, *words]),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds)
        if ok and done.returncode:
            raise RuntimeError(f"segue {' '.join(words)}: exit {done.returncode}: "
                               f"{done.stderr.strip()} {done.stdout.strip()}")
        if "--json" in words:
            done.json = json.loads(done.stdout) if done.stdout.strip() else None
        return done

    def begin(self, *words):
        return subprocess.Popen([SEGUE, "--state-dir", self.dir, *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def show(self, name="g"):
        return self.segue("show", name, "--json").json

    def move(self, to, *words, name="g", **options):
        return self.segue("move", name, "--to", to, "--json", *words, **options)

    def serial(self, name="g"):
        """All the guest has said on its serial port here."""
        path = os.path.join(self.dir, f"{name}.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="latin1") as log:
            return log.read()

    def close(self):
        for monitor in self.monitors:
            monitor.kill()


class Guest:
    """What the stress guest says of itself, on whatever host it is."""

    @staticmethod
    def check(*hosts):
        for host in hosts:
            text = host.serial()
            if "FAIL" in text:
                raise AssertionError(f"guest in {host.name}: " + text[text.index("FAIL"):].split("\n")[0])

    @staticmethod
    def wait_alive(host, since, seconds=20, word=None):
        """Waits until there is something new after SINCE characters (WORD, if given)."""
        def alive():
            Guest.check(host)
            text = host.serial()[since:]
            return (word in text) if word else len(text) > 0
        wait_until(f"sign of life {word or ''} from the guest in {host.name}", alive, seconds)


class Case:
    """A directory, two hosts, and their end."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="segue-test-")
        self.a, self.b = Host(self.dir, "a"), Host(self.dir, "b")
        self.proxies = []
        return self

    def guest(self, cmdline="", **options):
        return write_guest(os.path.join(self.dir, f"g{len(os.listdir(self.dir))}.yaml"), "g",
                           cmdline, **options)

    def proxy(self, target, mangler=None):
        from proxy import Proxy

        self.proxies.append(Proxy(target, mangler))
        return self.proxies[-1]

    def __exit__(self, kind, *_):
        for proxy in self.proxies:
            proxy.close()
        for host in (self.a, self.b):
            host.close()
        reports = [m.messages() for host in (self.a, self.b) for m in host.monitors
                   if SANITIZER.search(m.messages())]
        if kind not in (None, Skip):
            for host in (self.a, self.b):
                for m in host.monitors:
                    print(f"-- monitor {m.pid} in {host.name} said:\n{m.messages()}")
                print(f"-- serial in {host.name}, end: {host.serial()[-300:]!r}")
        shutil.rmtree(self.dir, ignore_errors=True)
        if reports and kind is None:
            raise AssertionError("a sanitizer complains:\n" + "\n".join(reports))


def needs():
    for path in (VMM, SEGUE, STRESS):
        if not os.path.exists(path):
            raise Skip(f"{path} is not built")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("/dev/kvm is not usable by this user")


def main(*tests):
    """Runs TESTS (functions), all or those named in argv; exit code as meson wants it."""
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    failed = 0
    try:
        needs()
        for test in tests:
            if names and test.__name__ not in names:
                continue
            say(f"{test.__name__}: {(test.__doc__ or '').splitlines()[0]}")
            begin = time.monotonic()
            try:
                test()
                say(f"{test.__name__}: good ({time.monotonic() - begin:.1f} s)")
            except Skip:
                raise
            except Exception:  # every test gets its turn
                failed += 1
                traceback.print_exc()
                say(f"{test.__name__}: FAILED")
    except Skip as why:
        say(f"skipped: {why}")
        sys.exit(SKIP)
    sys.exit(1 if failed else 0)
