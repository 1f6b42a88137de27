# SPDX-License-Identifier: Apache-2.0
"""What every part of quickstart uses: its error, its clock, and running programs."""
import contextlib
import os
import signal
import subprocess
import time

from lablib import guest_kernel

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(TREE, "build")
VMM = os.path.join(BUILD, "vmm/segue-vmm")
SEGUE = os.path.join(BUILD, "tools/segue/segue")


class QuickstartError(Exception):
    """Something a person can act on."""


class Progress(guest_kernel.Progress):
    """Lines for a person, each with the seconds since the start."""

    def __init__(self):
        super().__init__(quiet=False)

    def elapsed(self):
        return time.monotonic() - self.begun

    def now_and_then(self, text):
        """Of many short steps only some, so that a person sees it go on."""
        if time.monotonic() - self.reported >= guest_kernel.REPORT_EVERY:
            self.reported = time.monotonic()
            self.say(f"  {text}")


def program(name):
    """A program that watches from inside a guest, or from another host."""
    return os.path.join(BUILD, "tests/lab", name)


def call(argv, timeout=None, env=None):
    """Run ARGV here; (exit code, stdout, stderr)."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=timeout, check=False,
                              env=dict(os.environ, **(env or {})))
    except subprocess.TimeoutExpired as error:
        raise QuickstartError(f"{' '.join(argv)}: no end after {timeout} s") from error
    return done.returncode, done.stdout, done.stderr


def _last_lines(path, count):
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file.readlines()[-count:]]


def _wait_telling(process, log, progress):
    """Until PROCESS ends, say now and then how far it is by its own last line in LOG."""
    while True:
        try:
            return process.wait(guest_kernel.REPORT_EVERY)
        except subprocess.TimeoutExpired:
            progress.say(f"  {''.join(_last_lines(log, 1))[:72]}")


def call_logged(argv, log, progress):
    """Run ARGV with all it says in LOG; when it fails, the error has the last of that."""
    with open(log, "ab") as file, \
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                             cwd=TREE) as process:
        try:
            code = _wait_telling(process, log, progress)
        except BaseException:
            with contextlib.suppress(PermissionError):  # sudo passes on a terminal's Ctrl-C itself
                process.terminate()
            raise
    if code != 0:
        words = "\n".join(_last_lines(log, 15))
        raise QuickstartError(f"{' '.join(argv)}: exit {code}; all of it is in {log}, the end "
                              f"is:\n{words}")


def interruptible():
    """Let Ctrl-C and a request to terminate both end in good order."""
    def interrupt(number, _):
        raise KeyboardInterrupt(number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def uninterruptible():
    """While cleaning up: a second Ctrl-C must not leave half of it behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
