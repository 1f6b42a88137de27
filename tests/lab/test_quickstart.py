#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The witnesses of tools/quickstart must notice what is lost, and its report must say so.

Also where it takes place, what it advises where it cannot, and that it leaves nothing behind.

Usage: test_quickstart.py BUILD-DIRECTORY
"""
import os
import shutil
import sys
import tempfile
import time
import types
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools"))
from lablib import image  # noqa: E402
from quickstartlib import base, clients, disk, main, native, report, strays  # noqa: E402


def open_site(test):
    """Three hosts until TEST ends; it is skipped where there can be none."""
    site = native.NativeSite()
    test.addCleanup(site.close)
    try:
        site.open(base.Progress())
    except base.QuickstartError as error:
        test.skipTest(str(error))
    return site


class Witnesses(unittest.TestCase):
    """Clients on one host and a plain Redis server, with the guest's address, on another."""

    def setUp(self):
        if not shutil.which("redis-server"):
            self.skipTest("no redis-server here")
        self.site = open_site(self)
        self.site.clients, self.site.rate = 2, 200
        self.site.check("host1", ["ip", "address", "add", "10.77.0.100/24", "dev", "br0"])
        self.site.start("host1", ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no",
                                  "--save", "", "--appendonly", "yes", "--dir",
                                  self.site.outside("")], "redis.log")
        self.redis("ping")
        self.clients = clients.Clients(self.site)
        self.clients.start()

    def redis(self, *words):
        for _ in range(50):
            code, out, _ = self.site.run("host2", ["redis-cli", "-h", "10.77.0.100", *words])
            if code == 0:
                return out.strip()
            time.sleep(0.1)
        self.fail("redis-server does not answer")
        return None

    def test_nothing_lost(self):
        counted = self.clients.finish()
        self.assertGreater(counted["increments"], 5)
        self.assertEqual((counted["increments_lost"], counted["connections_reset"]), (0, 0))
        with open(self.site.outside(os.path.join(*disk.LOG.split("/")[-2:])), "rb") as log:
            self.assertEqual(disk.count_increments(log.read()), counted["increments_held"])

    def test_lost_increment(self):
        key = self.redis("keys", "count-*").split()[0]
        self.redis("decr", key)
        time.sleep(0.2)
        self.assertGreater(self.clients.finish()["increments_lost"], 0)

    def test_lost_increment_of_redis_cli(self):
        self.redis("decr", clients.KEY)
        time.sleep(0.5)
        self.assertGreater(self.clients.finish()["increments_lost"], 0)

    def test_reset_connections(self):
        self.redis("client", "kill", "type", "normal")
        time.sleep(0.5)
        self.assertGreater(self.clients.finish()["connections_reset"], 0)


def a_result(**changes):
    answer = {"progress": {
        "round": 3, "bytes_sent": 1 << 20, "pages_sent": 512, "pages_zero": 0, "pages_raw": 512,
        "pages_lz4": 0, "pages_delta": 0, "pages_unchanged": 0, "elapsed_us": 1500000,
        "blackout": {"total": 2500}}}
    moves = [report.Move("host1", "host2", answer, gap, 2 * gap) for gap in (4.0, 5.0, 9.0)]
    counted = {"increments": 10, "increments_lost": 0, "connections": 2, "connections_reset": 0,
               "sent_again": 3, "increments_held": 11, "increments_on_disk": 11, "disk_errors": ""}
    counted.update(changes)
    backwards = counted.pop("backwards", 0)
    options = types.SimpleNamespace(memory="256M", cpus=2, move_options=())
    return report.make(native.NativeSite("pv"), options, moves, counted,
                       {"guest": 1.0, "client": 2.0}, backwards, 12.0, "that is how")


class Report(unittest.TestCase):
    def test_figures(self):
        result = a_result()
        self.assertEqual(result["blackout_ms"], {
            "monitor": {"median": 2.5, "max": 2.5}, "guest": {"median": 5.0, "max": 9.0},
            "client": {"median": 10.0, "max": 18.0}})
        self.assertEqual((result["engine"], result["moves"], result["total_s"]), ("pv", 3, 12.0))
        self.assertEqual(result["each"][0]["compression"], 2.0)

    def test_verdict(self):
        self.assertTrue(report.good(a_result()))
        self.assertIn("Nothing was lost", report.text(a_result()))
        self.assertIn("that is how", report.text(a_result()))
        for bad in ({"increments_lost": 1}, {"connections_reset": 1}, {"backwards": 1},
                    {"increments_on_disk": 10}, {"disk_errors": "a hole"}):
            with self.subTest(**bad):
                self.assertFalse(report.good(a_result(**bad)))
                self.assertNotIn("Nothing was lost", report.text(a_result(**bad)))


def redis_command(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word)
                                              for word in words)


class Disk(unittest.TestCase):
    def setUp(self):
        work = self.enterContext(tempfile.TemporaryDirectory(prefix="segue-test-"))
        log = os.path.join(work, "log")
        with open(log, "wb") as file:
            for words in ("INCR k", "INCRBY k 0", "incr k", "DEL incr"):
                file.write(redis_command(words.encode().split()))
        self.path = os.path.join(work, "disk")
        image.disk(self.path, 4 << 20, add=[f"{log}:/{disk.LOG}"])

    def test_good(self):
        self.assertEqual(disk.look(self.path), {"disk_errors": "", "increments_on_disk": 2})

    def test_bad(self):
        with open(self.path, "r+b") as file:
            file.seek(5 << 10)  # group descriptors, bitmaps, inodes
            file.write(bytes(64 << 10))
        self.assertTrue(disk.look(self.path)["disk_errors"])

    def test_other_file(self):
        image.disk(self.path, 4 << 20)
        self.assertEqual(disk.look(self.path)["increments_on_disk"], 0)


class Choice(unittest.TestCase):
    def choose(self, obstacle, engine="auto", lab=False):
        with mock.patch.object(main.prepare, "kvm_obstacle", lambda: obstacle):
            kind, engine, why = main.choose(types.SimpleNamespace(engine=engine, lab=lab))
        return kind.name, engine, why

    def test_kvm_where_it_can(self):
        self.assertEqual(self.choose(None)[:2], ("native", "kvm"))
        self.assertEqual(self.choose(None, "pv")[:2], ("native", "pv"))
        self.assertEqual(self.choose(None, lab=True)[:2], ("lab", "kvm"))

    def test_pv_elsewhere(self):
        name, engine, why = self.choose("no processor for it")
        self.assertEqual((name, engine), ("native", "pv"))
        self.assertIn("no processor for it", why)
        self.assertEqual(self.choose("none", lab=True)[:2], ("lab", "kvm"))

    def test_kvm_where_it_cannot(self):
        with self.assertRaisesRegex(base.QuickstartError, "no processor.*\n.*--engine pv"):
            self.choose("no processor for it", "kvm")


class Advice(unittest.TestCase):
    def test_switched_off(self):
        for name, bad, remedy in native.SWITCHES:
            with self.subTest(name), tempfile.TemporaryDirectory() as settings:
                path = os.path.join(settings, name)
                os.makedirs(os.path.dirname(path))
                for value, expected in ((bad, True), ("7", False)):
                    with open(path, "w", encoding="ascii") as file:
                        file.write(f"{value}\n")
                    self.assertEqual(remedy in native.namespace_advice(settings), expected)

    def test_of_ip(self):
        self.assertIn("modprobe tun", native.ip_advice("open: No such file or directory"))
        self.assertIn("bridge", native.ip_advice("Error: Unknown device type."))
        self.assertIn("namespaces", native.ip_advice("RTNETLINK answers: Operation not permitted"))
        self.assertEqual(native.ip_advice("something else"), "")


class NothingLeft(unittest.TestCase):
    def test_processes_and_files(self):
        """Also of a process in the background that nobody knows of."""
        site = open_site(self)
        where = site.dir
        pid = int(site.check("host2", ["sh", "-c", "setsid sleep 1000 >&- 2>&- & echo $!"]))
        self.assertIn(pid, strays.children())
        self.assertGreater(len(strays.children()), 4)
        site.close()
        self.assertEqual(strays.children(), [])
        self.assertFalse(os.path.exists(where))


if __name__ == "__main__":
    base.BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
