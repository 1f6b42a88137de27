# SPDX-License-Identifier: Apache-2.0
"""Redis clients on the third host: connections that stay, and counters that must not lose one.

Three witnesses: `rediscount`, which knows on every connection what the next answer must be;
a stock `redis-cli` that increments one more counter on one connection; and the server, which
says in the end what the counters are and how often somebody connected.
"""
import json
import os
import time

from .base import QuickstartError, program
from .guest import ADDRESS, REDIS_PORT, tcp_report

HOST = "host3"
REPORT_PORT = 5005
KEY = "quickstart"


class Clients:
    def __init__(self, site):
        self.site = site
        self.pids = {}
        self.connections_before = self.again_before = 0

    def start(self):
        server = f"{ADDRESS}:{REDIS_PORT}"
        self._start("rediscount", [
            program("rediscount"), "--connect", server, "--connections",
            str(self.site.clients), "--rate", str(self.site.rate), "--seconds", "86400",
            "--report", str(REPORT_PORT)])
        self._start("redis-cli", ["redis-cli", "-h", ADDRESS, "-p", str(REDIS_PORT),
                                  "-r", "-1", "-i", "0.1", "incr", KEY])
        self._wait_busy()
        self.connections_before = self._server_connections()
        self.again_before = self.sent_again()

    def _start(self, name, argv):
        self.pids[name] = self.site.start(HOST, argv, f"{name}.log")

    def _wait_busy(self):
        for _ in range(100):
            if self.report()["answers"] > self.site.clients and self._cli_answers():
                return
            time.sleep(0.2)
        raise QuickstartError("the Redis clients get no answers")

    def report(self, command=""):
        return tcp_report(self.site, HOST, "127.0.0.1", REPORT_PORT, command)

    def gap(self):
        """The longest time without an answer on a connection since the last call, in ms."""
        return self.report("reset")["longest_gap_ms"]

    def sent_again(self):
        """How many segments TCP has sent more than once on the clients' host."""
        lines = self.site.check(HOST, ["grep", "^Tcp:", "/proc/net/snmp"]).splitlines()
        names, values = (line.split() for line in lines)
        return int(values[names.index("RetransSegs")])

    def _redis(self, *words):
        return self.site.check(HOST, ["timeout", "30", "redis-cli", "-h", ADDRESS, "--raw",
                                      *words])

    def _server_connections(self):
        for line in self._redis("info", "stats").splitlines():
            key, _, value = line.strip().partition(":")
            if key == "total_connections_received":
                return int(value)
        raise QuickstartError("the Redis server does not tell its connections")

    def _cli_answers(self):
        with open(self.site.outside("redis-cli.log"), encoding="utf-8") as file:
            return [line.strip() for line in file if line.endswith("\n") and line.strip()]

    def _signal(self, name, number):
        self.site.run(HOST, ["sh", "-c", f"kill -{number} {self.pids[name]}"])

    def finish(self):
        """Stop counting; what was counted, lost and broken."""
        connections = self._server_connections() - self.connections_before - 1  # this asking
        self._signal("redis-cli", "TERM")
        counted = self._finish_rediscount()
        answers = self._cli_answers()
        numbers = [int(each) for each in answers if each.isdigit()]
        keys = [key for key in self._redis("keys", "count-*").split() if key]
        held = sum(int(each) for each in self._redis("mget", *keys).split())
        held_cli = int(self._redis("get", KEY))
        # Of redis-cli's last increment the answer may not have been written any more.
        lost_cli = _missing(numbers) + (held_cli - len(numbers) not in (0, 1))
        return {
            "increments": counted["answers"] + len(numbers),
            "increments_held": held + held_cli,
            "increments_lost": max(abs(counted["answers"] - held), counted["errors"]) + lost_cli,
            "sent_again": self.sent_again() - self.again_before,
            "connections": self.site.clients + 1,
            "connections_reset": max(counted["resets"] + len(answers) - len(numbers),
                                     connections),
        }

    def _finish_rediscount(self):
        self._signal("rediscount", "USR1")
        path = self.site.outside("rediscount.log")
        for _ in range(150):
            if os.path.getsize(path):
                with open(path, encoding="utf-8") as file:
                    lines = file.read().splitlines()
                if lines and lines[-1].endswith("}"):
                    return json.loads(lines[-1])
            time.sleep(0.2)
        raise QuickstartError("the clients wait for answers that do not come")


def _missing(numbers):
    """How many of the answers 1, 2, 3, ... are not where they should be."""
    return sum(number != place for place, number in enumerate(numbers, 1))
