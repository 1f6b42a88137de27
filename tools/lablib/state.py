# SPDX-License-Identifier: Apache-2.0
"""A lab's directory, and the processes it has running."""
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import time


class LabError(Exception):
    """Something a person can act on."""


def labs_dir():
    base = os.environ.get("SEGUE_LAB_DIR")
    if not base:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        base = f"{runtime}/segue-lab" if runtime else f"/tmp/segue-lab-{os.getuid()}"
    os.makedirs(base, mode=0o700, exist_ok=True)
    if os.stat(base).st_uid != os.getuid():
        raise LabError(f"{base} belongs to somebody else")
    return base


def start_time(pid):
    """When process PID began, in clock ticks since boot; None if there is none such.

    Together with the number it names a process for good: numbers are used again.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError):
        return None


class Lab:
    def __init__(self, name):
        self.name = name
        self.dir = os.path.join(labs_dir(), name)
        if len(self.dir) > 80:
            raise LabError(f"{self.dir}: too long for Unix sockets in it; set SEGUE_LAB_DIR")
        self.conf = {}

    def path(self, *below):
        return os.path.join(self.dir, *below)

    @property
    def share(self):
        return self.path("share")

    def exists(self):
        return os.path.exists(self.path("lab.json"))

    def create(self, conf):
        try:
            os.makedirs(self.dir, mode=0o700)
        except FileExistsError as error:
            raise LabError(f"lab {self.name} is up already; take it down first") from error
        os.makedirs(self.path("share", ".lab"), mode=0o755)
        self.conf = dict(conf, token=secrets.token_hex(16))
        with open(self.path("share", ".lab", "token"), "w", encoding="ascii") as file:
            file.write(self.conf["token"])
        os.chmod(self.path("share", ".lab", "token"), 0o600)
        self.save()

    def save(self):
        temporary = self.path("lab.json.new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.conf, file, indent=1)
        os.rename(temporary, self.path("lab.json"))

    def load(self):
        try:
            with open(self.path("lab.json"), encoding="utf-8") as file:
                self.conf = json.load(file)
        except FileNotFoundError as error:
            raise LabError(f"no lab {self.name} is up (`tools/lab up`)") from error
        return self

    def lock(self):
        """Held while processes are started or stopped."""
        file = open(self.path("lock"), "w", encoding="ascii")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def host(self, name):
        names = self.conf["hosts"]
        if name.isdigit() and f"host{name}" in names:
            name = f"host{name}"
        if name not in names:
            raise LabError(f"no host {name} in lab {self.name}: there are {', '.join(names)}")
        return name

    # Processes ------------------------------------------------------------

    def spawn(self, what, argv, processor=None):
        """
        Start ARGV as the lab's process WHAT, bound to one processor if that is given; its words
        go to WHAT.log.
        """
        bind = None if processor is None else lambda: os.sched_setaffinity(0, {processor})
        with open(self.path(f"{what}.log"), "ab") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True, cwd=self.dir,
                                     preexec_fn=bind)
        with open(self.path(f"{what}.pid"), "w", encoding="ascii") as file:
            file.write(f"{child.pid} {start_time(child.pid)}\n")
        return child

    def pid(self, what):
        """The process number of WHAT if it runs."""
        try:
            with open(self.path(f"{what}.pid"), encoding="ascii") as file:
                pid, began = file.read().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(pid) == int(began) else None

    def running(self):
        names = (name[:-4] for name in sorted(os.listdir(self.dir)) if name.endswith(".pid"))
        return {what: pid for what in names if (pid := self.pid(what))}

    def kill(self, what, number=signal.SIGKILL, wait=10.0):
        pid = self.pid(what)
        if pid is None:
            return
        os.kill(pid, number)
        until = time.monotonic() + wait
        while self.pid(what) and time.monotonic() < until:
            _reap(pid)
            time.sleep(0.01)
        if self.pid(what):
            raise LabError(f"{what} (process {pid}) does not die")

    def signal(self, what, number):
        pid = self.pid(what)
        if pid is None:
            raise LabError(f"{what} does not run")
        os.kill(pid, number)

    def said(self, what, lines=5):
        try:
            with open(self.path(f"{what}.log"), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:]).strip()
        except OSError:
            return ""

    def remove(self):
        for what in self.running():
            self.kill(what)
        shutil.rmtree(self.dir)


def _reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
