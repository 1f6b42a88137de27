#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the lab's own parts that need no emulation: frames, agent, switch, archives."""
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest

sys.dont_write_bytecode = True
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path[:0] = [os.path.join(TREE, "tools"), os.path.join(TREE, "tools", "lablib")]
import agent  # noqa: E402
import hub  # noqa: E402
from lablib import cpio, frames, life, remote  # noqa: E402
from lablib.state import Lab, LabError, start_time  # noqa: E402


class Frames(unittest.TestCase):
    def test_any_cut(self):
        wire = frames.pack(frames.STDOUT, b"abc") + frames.pack(frames.EXIT, b"0")
        for step in range(1, len(wire) + 1):
            reader, got = frames.Reader(), []
            for at in range(0, len(wire), step):
                got += reader.feed(wire[at:at + step])
            self.assertEqual(got, [(frames.STDOUT, b"abc"), (frames.EXIT, b"0")])

    def test_too_long(self):
        with self.assertRaises(ValueError):
            list(frames.Reader().feed(frames.HEAD.pack(frames.STDIN, frames.LIMIT + 1)))


class Agent(unittest.TestCase):
    """The agent as a host runs it, here on loopback."""

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()
        conf = {"token": "secret",
                "hosts": {"host1": {"port": self.listener.getsockname()[1]}}}
        self.lab = types.SimpleNamespace(conf=conf, pid=lambda name: os.getpid())

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=agent.serve, args=(conn, "secret"), daemon=True).start()

    def tearDown(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def run_there(self, script, **options):
        return remote.run(self.lab, "host1", ["/bin/sh", "-c", script], **options)

    def test_outputs_and_code(self):
        self.assertEqual(self.run_there("echo out; echo err >&2; exit 7"),
                         (7, b"out\n", b"err\n"))

    def test_signal(self):
        self.assertEqual(self.run_there("kill -9 $$")[0], 137)

    def test_no_such_program(self):
        code, _, err = remote.run(self.lab, "host1", ["/no/such/program"])
        self.assertEqual(code, 127)
        self.assertIn(b"No such file", err)

    def test_much_output(self):
        code, out, _ = self.run_there("head -c 3000000 /dev/zero")
        self.assertEqual((code, len(out)), (0, 3000000))

    def test_stdin(self):
        read, write = os.pipe()
        os.write(write, b"hello")
        os.close(write)
        self.assertEqual(self.run_there("cat", stdin=read), (0, b"hello", b""))
        os.close(read)

    def test_silent_command_that_lives_on(self):
        code, _, _ = self.run_there("exec >/dev/null 2>&1; sleep 0.5; exit 3")
        self.assertEqual(code, 3)

    def test_daemon_left_behind(self):
        began = time.monotonic()
        self.assertEqual(self.run_there("sleep 5 & echo started"), (0, b"started\n", b""))
        self.assertLess(time.monotonic() - began, 3)

    def test_detach(self):
        code, out, _ = self.run_there("sleep 0.3", detach=True)
        self.assertEqual(code, 0)
        self.assertIsNotNone(start_time(int(out)))

    def test_log(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(self.run_there("echo kept; exit 4", log=file.name), (4, b"", b""))
            self.assertEqual(file.read(), b"kept\n")

    def test_timeout_kills(self):
        with tempfile.NamedTemporaryFile() as file:
            with self.assertRaises(remote.Unreachable):
                self.run_there(f"echo $$ >{file.name}; exec sleep 60", timeout=0.5)
            pid = int(file.read())
        for _ in range(50):
            if start_time(pid) is None:
                return
            time.sleep(0.1)
        self.fail("the command lives on without its client")

    def test_wrong_token(self):
        self.lab.conf["token"] = "guess"
        with self.assertRaises(remote.Unreachable):
            self.run_there("true")

    def test_many_at_once(self):
        codes = []

        def one(number):
            codes.append(self.run_there(f"sleep 0.2; exit {number}")[0])
        threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(codes), list(range(20)))


def frame(target, source, text):
    body = bytes([2, 0, 0, 0, 0, target]) + bytes([2, 0, 0, 0, 0, source]) + text
    if target == 255:
        body = b"\xff" * 6 + body[6:]
    return struct.pack(">I", len(body)) + body


class Switch(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        argv = [sys.executable, os.path.join(TREE, "tools/lablib/hub.py"), self.dir, "a", "b", "c"]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        while not os.path.exists(os.path.join(self.dir, "hub")):
            time.sleep(0.02)
        self.ends = {name: self.connect(name) for name in "abc"}

    def connect(self, name):
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.settimeout(2)
        end.connect(os.path.join(self.dir, f"net-{name}"))
        return end

    def tearDown(self):
        self.process.kill()
        self.process.wait()
        for end in self.ends.values():
            end.close()
        shutil.rmtree(self.dir)

    def tell(self, words):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            control.connect(os.path.join(self.dir, "hub"))
            control.send(words.encode())
        time.sleep(0.1)

    def expect(self, name, *frames_wanted):
        want = b"".join(frames_wanted)
        got = b""
        while len(got) < len(want):
            got += self.ends[name].recv(len(want) - len(got))
        self.assertEqual(got, want)

    def expect_nothing(self, name):
        self.ends[name].settimeout(0.15)
        with self.assertRaises(TimeoutError):
            self.ends[name].recv(1)
        self.ends[name].settimeout(2)

    def test_flood_then_learn(self):
        first = frame(2, 1, b"whoever it is")
        self.ends["a"].sendall(first)
        self.expect("b", first)
        self.expect("c", first)
        answer = frame(1, 2, b"me")
        self.ends["b"].sendall(answer)
        self.expect("a", answer)
        self.expect_nothing("c")

    def test_address_moves(self):
        for end in "b", "c":  # as a guest that announces itself at another host
            hello = frame(255, 9, b"here")
            self.ends[end].sendall(hello)
            self.expect("a", hello)
        # b and c heard each other's announcement.
        self.expect("c", frame(255, 9, b"here"))
        self.expect("b", frame(255, 9, b"here"))
        message = frame(9, 1, b"for you")
        self.ends["a"].sendall(message)
        self.expect("c", message)
        self.expect_nothing("b")

    def test_cut_and_heal(self):
        self.tell("cut b")
        self.ends["a"].sendall(frame(255, 1, b"lost"))
        self.expect("c", frame(255, 1, b"lost"))
        self.expect_nothing("b")
        self.tell("heal b")
        self.tell("cut a c")
        self.ends["a"].sendall(frame(255, 1, b"found"))
        self.expect("b", frame(255, 1, b"found"))
        self.expect_nothing("c")
        self.tell("heal a c")
        self.ends["a"].sendall(frame(255, 1, b"all"))
        self.expect("c", frame(255, 1, b"all"))

    def test_reader_that_stands_still(self):
        block = frame(255, 1, b"x" * 60000) * 20
        for _ in range(10):  # more than the buffer for b, which does not read
            self.ends["a"].sendall(block)
            self.expect("c", block)

    def test_nonsense_closes_only_its_port(self):
        self.ends["a"].sendall(struct.pack(">I", 1 << 30))
        self.assertEqual(self.ends["a"].recv(1), b"")
        self.ends["b"].sendall(frame(255, 2, b"still here"))
        self.expect("c", frame(255, 2, b"still here"))
        self.ends["a"].close()
        self.ends["a"] = self.connect("a")
        time.sleep(0.2)
        self.ends["b"].sendall(frame(255, 2, b"again"))
        self.expect("a", frame(255, 2, b"again"))


class Archive(unittest.TestCase):
    def test_what_cpio_reads(self):
        busybox = shutil.which("busybox")
        if not busybox:
            self.skipTest("no busybox")
        out = io.BytesIO()
        archive = cpio.Archive(out)
        archive.data("a/b/file", b"content", 0o640)
        archive.data("a/b/file", b"a second one is ignored")
        archive.symlink("a/link", "b/file")
        archive.character("dev/console", 5, 1)
        archive.finish()
        with tempfile.TemporaryDirectory() as work:
            done = subprocess.run([busybox, "cpio", "-itv"], input=out.getvalue(), cwd=work,
                                  capture_output=True, check=True)
        listing = done.stdout.decode()
        names = [line.split(" ", 8)[-1].split()[-1] for line in listing.splitlines()]
        for want in ("a", "a/b", "a/b/file", "dev/console"):
            self.assertIn(want, names)
        self.assertEqual(listing.count("a/b/file\n"), 1)
        self.assertRegex(listing, r"-rw-r-----.* 7 ")
        self.assertRegex(listing, r"crw-------.*dev/console")


class Options(unittest.TestCase):
    def test_pairs(self):
        hosts = ["host1", "host2"]
        self.assertEqual(life.pairs(["2:npt=0", "all:x=1"], hosts, "o"),
                         {"host2": ["npt=0", "x=1"], "host1": ["x=1"]})
        for wrong in ("npt=0", "3:npt=0"):
            with self.assertRaises(LabError):
                life.pairs([wrong], hosts, "o")

    def test_stale_pid_is_nobody(self):
        with tempfile.TemporaryDirectory() as work:
            os.environ["SEGUE_LAB_DIR"] = work
            lab = Lab("t")
            lab.create({"hosts": {}})
            with open(lab.path("x.pid"), "w", encoding="ascii") as file:
                file.write(f"{os.getpid()} 1\n")  # our number, another start
            self.assertIsNone(lab.pid("x"))
            lab.kill("x")  # and does not kill us
            with self.assertRaises(LabError):
                lab.create({})
            lab.remove()
            self.assertFalse(lab.exists())


if __name__ == "__main__":
    unittest.main()
