#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The witnesses of tools/quickstart must notice what is lost, and its report must say so.

Usage: test_quickstart.py BUILD-DIRECTORY
"""
import os
import shutil
import sys
import time
import types
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools"))
from quickstartlib import base, clients, native, report  # noqa: E402


class Witnesses(unittest.TestCase):
    """Clients on one host and a plain Redis server, with the guest's address, on another."""

    def setUp(self):
        if not shutil.which("redis-server"):
            self.skipTest("no redis-server here")
        self.site = native.NativeSite()
        self.site.clients, self.site.rate = 2, 200
        self.addCleanup(self.site.close)
        try:
            self.site.open(base.Progress())
        except base.QuickstartError as error:
            self.skipTest(str(error))
        self.site.check("host1", ["ip", "address", "add", "10.77.0.100/24", "dev", "br0"])
        self.site.start("host1", ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no",
                                  "--save", ""], "redis.log")
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
    counted = {"increments": 10, "increments_lost": 0, "connections": 2, "connections_reset": 0}
    counted.update(changes)
    backwards = counted.pop("backwards", 0)
    options = types.SimpleNamespace(memory="256M", cpus=2, move_options=())
    return report.make(native.NativeSite(), options, moves, counted,
                       {"guest": 1.0, "client": 2.0}, backwards, 12.0, None)


class Report(unittest.TestCase):
    def test_figures(self):
        result = a_result()
        self.assertEqual(result["blackout_ms"], {
            "monitor": {"median": 2.5, "max": 2.5}, "guest": {"median": 5.0, "max": 9.0},
            "client": {"median": 10.0, "max": 18.0}})
        self.assertEqual((result["moves"], result["total_s"]), (3, 12.0))
        self.assertEqual(result["each"][0]["compression"], 2.0)

    def test_verdict(self):
        self.assertTrue(report.good(a_result()))
        self.assertIn("Nothing was lost", report.text(a_result()))
        for bad in ({"increments_lost": 1}, {"connections_reset": 1}, {"backwards": 1}):
            with self.subTest(**bad):
                self.assertFalse(report.good(a_result(**bad)))
                self.assertNotIn("Nothing was lost", report.text(a_result(**bad)))


if __name__ == "__main__":
    base.BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
