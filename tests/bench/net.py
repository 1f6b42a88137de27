# SPDX-License-Identifier: Apache-2.0
"""The two places a guest moves between: plain loopback, or two network namespaces and a cable."""
import os
import subprocess


def _sh(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


class Loopback:
    name = "loopback"
    address = "127.0.0.1"
    bytes_per_second = None

    def source(self, argv):
        return argv

    def destination(self, argv):
        return argv

    def close(self):
        pass


class Shaped:
    """A veth pair with a token bucket at either end; needs root."""

    address = "10.213.7.2"

    def __init__(self, gbit):
        if os.geteuid():
            raise PermissionError("shaped links need root (network namespaces, tc)")
        self.name = f"{gbit} Gb/s"
        self.bytes_per_second = gbit * 125_000_000
        self.a, self.b = f"segue-a{os.getpid()}", f"segue-b{os.getpid()}"
        _sh("ip", "netns", "add", self.a)
        _sh("ip", "netns", "add", self.b)
        _sh("ip", "-n", self.a, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", self.b)
        for ns, host in ((self.a, "10.213.7.1"), (self.b, self.address)):
            _sh("ip", "-n", ns, "addr", "add", host + "/24", "dev", "cable")
            _sh("ip", "-n", ns, "link", "set", "lo", "up")
            _sh("ip", "-n", ns, "link", "set", "cable", "up")
            # The bucket holds what one timer tick lets through (tc-tbf(8): rate / HZ, HZ 250).
            _sh("ip", "netns", "exec", ns, "tc", "qdisc", "add", "dev", "cable", "root", "tbf",
                "rate", f"{gbit}gbit", "burst", str(max(512 << 10, self.bytes_per_second // 250)),
                "latency", "20ms")

    def source(self, argv):
        return ["ip", "netns", "exec", self.a] + argv

    def destination(self, argv):
        return ["ip", "netns", "exec", self.b] + argv

    def close(self):
        for ns in (self.a, self.b):
            subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)


def link(name):
    return Loopback() if name == "loopback" else Shaped(int(name.removesuffix("G")))


def raw_tcp(where, rawtcp, streams, mib):
    """GB/s of bare TCP on that link, now."""
    with subprocess.Popen(where.destination([rawtcp, "receive", where.address, str(streams)]),
                          stdout=subprocess.PIPE, text=True) as receiver:
        port = receiver.stdout.readline().split()[1]
        subprocess.run(where.source([rawtcp, "send", where.address, port, str(streams), str(mib)]),
                       check=True)
        words = receiver.stdout.readline().split()
    return int(words[1]) / int(words[3])
