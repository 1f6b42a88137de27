# SPDX-License-Identifier: Apache-2.0
"""tools/quickstart: builds, boots a guest, moves it there and back, and tells what came of it."""
import argparse
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# pylint: disable=wrong-import-position
from lablib.state import LabError  # noqa: E402
from quickstartlib import base, disk, prepare, report  # noqa: E402
from quickstartlib.clients import Clients  # noqa: E402
from quickstartlib.guest import CPUS, Guest  # noqa: E402
from quickstartlib.lab import LabSite  # noqa: E402
from quickstartlib.native import NativeSite  # noqa: E402

QUIET_SECONDS = 5
SETTLE_SECONDS = 1

EPILOG = """\
It installs missing Debian packages (through sudo if you are not root), builds in build/, and
boots Linux with a Redis server as a guest. Redis clients on a third host count and keep their
connections open while the guest moves there and back. The hosts are network namespaces.

Where this machine's KVM runs stock kernels, the guest is one of those. Elsewhere it is Linux
for the paravirtual engine, which needs no hardware virtualization; its kernel is built first,
once, which takes some five minutes. --lab shows KVM even there, on three emulated machines
(docs/lab.md).

examples:
  tools/quickstart
  tools/quickstart --moves 4 --json result.json
  tools/quickstart --engine pv --no-install --no-build

exit status: 0 nothing was lost; 1 something was, or it failed; 2 usage; 130 interrupted
"""


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/quickstart", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="See a running Redis server move between hosts, from a fresh machine on.")
    parser.add_argument("--moves", type=int, default=20, metavar="N",
                        help="single moves (default: 20, ten times there and back)")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    parser.add_argument("--cpus", type=int, choices=range(1, 9), metavar="N",
                        help="of the guest, 1 to 8 (default: 2; always 1 under pv)")
    parser.add_argument("--memory", default="256M", metavar="SIZE",
                        help="of the guest (default: 256M)")
    parser.add_argument("--downtime", metavar="TIME",
                        help="longest blackout a move may expect when it switches over "
                             "(default: 100ms; 500ms on emulated hosts)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--engine", choices=("auto", *CPUS), default="auto",
                       help="kvm, pv, or auto (default): kvm where it can")
    where.add_argument("--lab", action="store_true", help="KVM on emulated hosts: minutes")
    parser.add_argument("--no-install", action="store_true", help="the packages are there")
    parser.add_argument("--no-build", action="store_true", help="build/ is up to date")
    options = parser.parse_args()
    if options.moves < 1:
        parser.error("--moves: 1 or more")
    return options


def choose(options):
    """The kind of site, its engine, and why it is those."""
    if options.lab:
        return LabSite, "kvm", "--lab asks for it"
    if options.engine == "pv":
        return NativeSite, "pv", "--engine pv asks for it"
    obstacle = prepare.kvm_obstacle()
    if not obstacle:
        return NativeSite, "kvm", "this machine's KVM runs stock kernels"
    if options.engine == "kvm":
        raise base.QuickstartError(f"not under KVM here: {obstacle}\n(--engine pv needs none; "
                                   "--lab emulates hosts that have it)")
    return NativeSite, "pv", f"no stock kernels under KVM here ({obstacle})"


def prepared(options, progress, work):
    """Everything there but the hosts: the site, what the guest is made of, and why so."""
    if not options.no_install:
        prepare.install(progress, "--build", "--guest", *(["--lab"] if options.lab else []))
    prepare.fetch(progress)
    if not options.no_build:
        prepare.build(progress)
    kind, engine, why = choose(options)
    if engine == "pv" and (options.cpus or 1) > 1:
        raise base.QuickstartError(f"--cpus {options.cpus}: the paravirtual engine has one")
    progress.say(f"engine {engine}, {kind.name}: {why}")
    parts = prepare.guest_parts(progress, engine, work)
    return kind(engine, parts.disk), parts, why


def observed(guest, clients):
    """What guest and clients saw since they were last asked."""
    client_ms = clients.gap()
    guest_ms, backwards = guest.clock()
    return guest_ms, client_ms, backwards


def move_about(guest, clients, count, progress):
    moves, backwards = [], 0
    for number in range(1, count + 1):
        source, to = guest.at, "host2" if guest.at == "host1" else "host1"
        observed(guest, clients)
        answer = guest.move(to)
        time.sleep(SETTLE_SECONDS)
        guest_ms, client_ms, backwards = observed(guest, clients)
        moves.append(report.Move(source, to, answer, guest_ms, client_ms))
        progress.say(moves[-1].line(number, count))
    return moves, backwards


def begin(site, parts, options, progress):
    """A guest that answers its clients, which count."""
    guest = Guest(site, parts, options)
    progress.say(f"booting the guest at host1: {guest.memory}, {guest.cpus} vCPU")
    guest.start("host1", 120)
    clients = Clients(site)
    clients.start()
    progress.say(f"Redis answers; {site.clients + 1} connections from host3 count. "
                 f"First {QUIET_SECONDS} s without a move")
    return guest, clients


def perform(site, parts, options, progress, why):
    prepare.check_memory(site.memory_mib)
    site.open(progress)
    guest, clients = begin(site, parts, options, progress)
    observed(guest, clients)
    time.sleep(QUIET_SECONDS)
    guest_ms, client_ms, _ = observed(guest, clients)
    moves, backwards = move_about(guest, clients, options.moves, progress)
    counted = clients.finish()
    progress.say("switching the guest off, looking at its disk")
    guest.stop()
    counted.update(disk.look(parts.disk))
    return report.make(site, guest, moves, counted, {"guest": guest_ms, "client": client_ms},
                       backwards, progress.elapsed(), why)


def quickstart(options, progress, work):
    site, parts, why = prepared(options, progress, work)
    try:
        result = perform(site, parts, options, progress, why)
    finally:
        base.uninterruptible()
        progress.say("cleaning up")
        site.close()
    if options.json:
        with open(options.json, "w", encoding="ascii") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    print(report.text(result))
    return 0 if report.good(result) else 1


def main():
    options, progress = arguments(), base.Progress()
    base.interruptible()
    try:
        with tempfile.TemporaryDirectory(prefix="segue-quickstart-") as work:
            return quickstart(options, progress, work)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (base.QuickstartError, prepare.debian.PackageError, LabError, OSError) as error:
        print(f"tools/quickstart: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
