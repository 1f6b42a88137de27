# SPDX-License-Identifier: Apache-2.0
"""What every part of quickstart uses: its error, its clock, and running programs."""
import os
import signal
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(TREE, "build")
VMM = os.path.join(BUILD, "vmm/segue-vmm")
SEGUE = os.path.join(BUILD, "tools/segue/segue")


class QuickstartError(Exception):
    """Something a person can act on."""


class Progress:
    """Lines for a person, each with the seconds since the start."""

    def __init__(self):
        self.began = time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.began

    def say(self, text):
        print(f"[{self.elapsed():6.1f}] {text}", file=sys.stderr, flush=True)


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


def call_logged(argv, log):
    """Run ARGV with all it says in LOG; when it fails, the error has the last of that."""
    with open(log, "ab") as file:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                              cwd=TREE, check=False)
    if done.returncode != 0:
        with open(log, encoding="utf-8", errors="replace") as file:
            words = "".join(file.readlines()[-15:])
        raise QuickstartError(f"{' '.join(argv)}: exit {done.returncode}; all of it is in "
                              f"{log}, the end is:\n{words}")


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
