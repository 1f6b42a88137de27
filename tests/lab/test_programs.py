#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs that watch guests must notice what they are there to notice.

Usage: test_programs.py DIRECTORY-OF-THE-PROGRAMS
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

WHERE = ""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Program:
    """A program that runs until the end of a `with`."""

    def __init__(self, name, *args):
        self.argv = [os.path.join(WHERE, name), *map(str, args)]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def ask(port, command=""):
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
                conn.sendall(command.encode() + b"\n")
                return json.loads(conn.makefile().read())
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise TimeoutError(f"nobody on port {port}")


def wait_for(port, true, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        report = ask(port)
        if true(report):
            return report
        time.sleep(0.1)
    raise TimeoutError(report)


def run(name, *args):
    done = subprocess.run([os.path.join(WHERE, name), *map(str, args)], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


class MemVerify(unittest.TestCase):
    def end_of_largest_mapping(self, pid):
        """Its memory: what the kernel joined to it was mapped later, and so lies below."""
        best = (0, 0)
        with open(f"/proc/{pid}/maps", encoding="ascii") as lines:
            for line in lines:
                found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p", line)
                if found:
                    start, end = (int(each, 16) for each in found.groups())
                    best = max(best, (end - start, end))
        return best[1]

    def check(self, content, *options):
        port = free_port()
        with Program("memverify", "--mib", 24, "--content", content, "--port", port,
                     *options) as it:
            before = wait_for(port, lambda report: report["passes"] >= 2)
            self.assertEqual(before["errors"], 0)
            at = self.end_of_largest_mapping(it.process.pid) - 1000 * 4096 + 808
            with open(f"/proc/{it.process.pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(at)
                byte = memory.read(1)[0]
                memory.seek(at)
                memory.write(bytes([byte ^ 0x10]))
            report = wait_for(port, lambda report: report["errors"])
            self.assertEqual(report["first_error"]["word"], 101)

    def test_flipped_bit(self):
        for content in "random", "text", "delta", "zero":
            with self.subTest(content):
                self.check(content)

    def test_flipped_bit_on_scattered_pages(self):
        self.check("random", "--scattered")


class Crowd(unittest.TestCase):
    COUNT = 40

    def start(self, port, *options):
        return Program("crowd", "--processes", self.COUNT, "--port", port, *options)

    def test_laps_and_end(self):
        port = free_port()
        with self.start(port):
            self.assertEqual([ask(port, "lap")["laps"] for _ in range(3)], [1, 2, 3])
            report = ask(port, "finish")
        self.assertEqual((report["errors"], report["ended"], report["over"]),
                         (0, self.COUNT, True))

    def test_end_with_tokens_on_their_way(self):
        port = free_port()
        with self.start(port, "--tokens", 8):
            wait_for(port, lambda report: report["laps"] > 50)
            report = ask(port, "finish")
        self.assertEqual((report["errors"], report["ended"]), (0, self.COUNT))

    def test_one_of_them_is_gone(self):
        port = free_port()
        with self.start(port) as it:
            ask(port, "lap")
            with open(f"/proc/{it.process.pid}/task/{it.process.pid}/children",
                      encoding="ascii") as children:
                os.kill(int(children.read().split()[self.COUNT // 2]), 9)
            report = wait_for(port, lambda report: report["over"])
        self.assertGreater(report["errors"], 0)


class FsLoad(unittest.TestCase):
    def test_clean_then_changed_behind_its_back(self):
        port = free_port()
        with tempfile.TemporaryDirectory() as directory, \
                Program("fsload", directory, "--files", 2, "--size", "64K", "--port", port):
            wait_for(port, lambda report: report["operations"] > 300)
            self.assertEqual(ask(port)["errors"], 0)
            for _ in range(200):
                for name in os.listdir(directory):
                    try:
                        with open(os.path.join(directory, name), "r+b") as file:
                            file.write(b"\xa5" * 8192)
                    except FileNotFoundError:
                        pass
                if ask(port)["errors"]:
                    return
            self.fail("foreign content went unnoticed")

    def test_manifest(self):
        import zlib
        port = free_port()
        with tempfile.TemporaryDirectory() as directory, \
                Program("fsload", directory, "--files", 3, "--size", "128K", "--port", port):
            wait_for(port, lambda report: report["operations"] > 200)
            files = ask(port, "finish")["files"]
            self.assertEqual(sorted(f["name"] for f in files), sorted(os.listdir(directory)))
            for each in files:
                with open(os.path.join(directory, each["name"]), "rb") as file:
                    data = file.read()
                self.assertEqual((len(data), zlib.crc32(data)), (each["size"], each["crc32"]))


class Proxy(threading.Thread):
    """Carries one connection on, and damages it in one of three ways."""

    def __init__(self, target, damage):
        super().__init__(daemon=True)
        self.target, self.damage = target, damage
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def carry(self, source, sink, count):
        done = 0
        while data := source.recv(65536):
            if self.damage == "flip" and count and done < 100000 <= done + len(data):
                data = bytearray(data)
                data[100000 - done] ^= 1
            if self.damage == "lose" and count and done < 100000 <= done + len(data):
                data = data[:-1]
            done += len(data)
            sink.sendall(data)
            if self.damage == "break" and done > 100000:
                source.close()
                break
        sink.shutdown(socket.SHUT_WR)

    def guard(self, *args):
        try:
            self.carry(*args)
        except OSError:
            pass

    def run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self.guard, args=(client, server, False), daemon=True).start()
        self.guard(server, client, True)


class TcpCheck(unittest.TestCase):
    def connection(self, damage):
        port, report = free_port(), free_port()
        with Program("tcpcheck", "--serve", port, "--report", report, "--rate", "1M"):
            ask(report)
            proxy = Proxy(port, damage)
            proxy.start()
            return run("tcpcheck", "--connect", f"127.0.0.1:{proxy.port}", "--seconds", 1,
                       "--rate", "1M")

    def test_clean(self):
        code, result = self.connection(None)
        self.assertEqual((code, result["ok"]), (0, True), result)
        self.assertGreater(result["received"], 200000)

    def test_damage(self):
        for damage in "flip", "lose", "break":
            with self.subTest(damage):
                code, result = self.connection(damage)
                self.assertEqual((code, result["ok"]), (1, False), result)
                if damage == "flip":
                    self.assertEqual((result["errors"], result["first_error"]), (1, 100000))


class FakeRedis(threading.Thread):
    """Counts, and at the hundredth time does it as DAMAGE says."""

    def __init__(self, damage):
        super().__init__(daemon=True)
        self.damage, self.values, self.asked = damage, {}, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn:
            for line in conn.makefile("rb"):
                words = line.split()
                step = int(words[2]) if words[0] == b"INCRBY" else 1
                self.asked += 1
                if self.asked == 100 and self.damage == "forget":
                    self.values[words[1]] -= 2
                if self.asked == 100 and self.damage == "break":
                    return
                self.values[words[1]] = self.values.get(words[1], 0) + step
                conn.sendall(b":%d\r\n" % self.values[words[1]])


class RedisCount(unittest.TestCase):
    def count(self, damage):
        server = FakeRedis(damage)
        server.start()
        return run("rediscount", "--connect", f"127.0.0.1:{server.port}", "--seconds", 1,
                   "--connections", 1)

    def test_clean(self):
        code, result = self.count(None)
        self.assertEqual((code, result["errors"], result["resets"]), (0, 0, 0))
        self.assertGreater(result["answers"], 100)

    def test_lost_increments(self):
        code, result = self.count("forget")
        self.assertEqual((code, result["errors"]), (1, 1))

    def test_broken_connection(self):
        code, result = self.count("break")
        self.assertEqual((code, result["errors"], result["resets"]), (1, 0, 1))


class ClockWatch(unittest.TestCase):
    def test_standstill_is_seen(self):
        port, report = free_port(), free_port()
        with Program("clockwatch", "--serve", port, "--report", report) as it:
            ask(report)
            code, result = run("clockwatch", "--ask", f"127.0.0.1:{port}", "--seconds", 1)
            self.assertEqual(code, 0)
            self.assertLess(abs(result["monotonic"]["last_ms"]), 20)
            it.process.send_signal(19)
            time.sleep(0.7)
            it.process.send_signal(18)
            seen = wait_for(report, lambda now: now["longest_gap_ms"] >= 600)
            self.assertEqual(seen["monotonic_backwards"], 0)

    def test_nobody_there(self):
        code, result = run("clockwatch", "--ask", f"127.0.0.1:{free_port()}", "--seconds", 1)
        self.assertEqual((code, result["answered"]), (1, 0))


if __name__ == "__main__":
    WHERE = os.path.realpath(sys.argv.pop(1))
    unittest.main()
