#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator can ask of a move: predict, limit, cancel, record; and be refused."""
import os
import signal
import subprocess
import sys
import time

from lib import ROOT, Case, Guest, check, main, say, wait_until

DIRTY = "dirty_mib=16 beat_us=1000 verify=1"
# Random content and a slow link: such a move takes seconds, long enough to look at.
SLOW = "fill=random fill_mib=16 fill_base=0x1000000 beat_us=1000 dirty_mib=1 rate=200"


def start(case, cmdline=DIRTY, **options):
    guest = case.guest(cmdline, **options)
    monitor = case.a.run(guest)
    Guest.wait_alive(case.a, 0, word="stress: ready", seconds=60)
    return guest, monitor


def goes_on(host):
    Guest.wait_alive(host, len(host.serial()))
    check(host.show()["state"] == "running", host.show())


def dry_run():
    """a prediction, and nothing sent"""
    with Case() as case:
        guest, _ = start(case)
        target = case.b.receive(guest)
        done = case.a.move(target.listen, "--dry-run", ok=False)
        check(done.json["outcome"] == "predicted", done.json, done.stderr)
        prediction = done.json["progress"]["prediction"]
        check(int(prediction["total_us"]) > 0 and prediction["words"], prediction)
        check("the link carries" in prediction["words"], prediction)
        check(int(prediction["bandwidth"]) > 1 << 20, prediction)
        say("predicted:", prediction["words"])
        check(case.b.show()["state"] == "receiving", case.b.show())
        goes_on(case.a)


def bandwidth():
    """a limit is kept to"""
    with Case() as case:
        guest, _ = start(case, SLOW)
        target = case.b.receive(guest)
        limit = 8 << 20
        begin = time.monotonic()
        done = case.a.move(target.listen, "--bandwidth", "8M", "--compression", "none")
        seconds = time.monotonic() - begin
        sent = int(done.json["progress"]["bytes_sent"])
        say(f"{sent >> 20} MiB in {seconds:.1f} s: {sent / seconds / (1 << 20):.1f} MiB/s")
        check(sent >= 16 << 20, "not even the random pages were sent")
        # What is left for the last round goes unhindered: that is the guest's blackout.
        check(sent / seconds < limit * 1.25, "the limit was 8 MiB/s")
        Guest.wait_alive(case.b, 0)


def wait_sending(host):
    """Until a first round that takes seconds is on its way."""
    wait_until("bytes sent", lambda: int(host.show().get("progress", {}).get("bytes_sent", 0)) > 1 << 20)


def cancel():
    """in mid-move, the guest stays, and can be moved afterwards"""
    with Case() as case:
        guest, monitor = start(case, SLOW)
        target = case.b.receive(guest)
        move = case.a.begin("move", "g", "--to", target.listen, "--bandwidth", "2M", "--json")
        wait_sending(case.a)
        begin = time.monotonic()
        case.a.segue("cancel", "g")
        code = move.wait(20)
        out, err = move.communicate()
        say(f"cancelled within {time.monotonic() - begin:.2f} s")
        check(code == 4, f"exit {code}: {out} {err}")
        goes_on(case.a)
        # What had arrived is of no use to anybody; a new destination is.
        target.kill()
        again = case.b.receive(guest)
        case.a.move(again.listen)
        Guest.wait_alive(case.b, 0)
        monitor.wait_end()


def interrupt():
    """Ctrl-C on the command cancels too"""
    with Case() as case:
        guest, _ = start(case, SLOW)
        target = case.b.receive(guest)
        move = case.a.begin("move", "g", "--to", target.listen, "--bandwidth", "2M", "--json")
        wait_sending(case.a)
        begin = time.monotonic()
        move.send_signal(signal.SIGINT)
        code = move.wait(20)
        out, err = move.communicate()
        say(f"cancelled within {time.monotonic() - begin:.2f} s")
        check(code == 4, f"exit {code}: {out} {err}")
        goes_on(case.a)


def refused(case, theirs, word):
    """The destination is another machine: the move is refused before a page is sent."""
    target = case.b.receive(theirs)
    done = case.a.move(target.listen, ok=False)
    say(f"refused: {done.json['text']}")
    check(done.returncode == 6, f"exit {done.returncode}: {done.stdout} {done.stderr}")
    check(word in done.json["text"], f"{word!r} is not in {done.json['text']!r}")
    check(int(done.json.get("progress", {}).get("pages_sent", 0)) == 0, "pages were sent", done.json)
    goes_on(case.a)


def refused_memory():
    """another memory size"""
    with Case() as case:
        start(case)
        refused(case, case.guest(DIRTY, memory_mib=130), "130 MiB")


def refused_cpus():
    """another number of processors"""
    with Case() as case:
        start(case)
        refused(case, case.guest(DIRTY, cpus=2), "1 vCPU")


def nobody_there():
    """nobody listens"""
    with Case() as case:
        guest, _ = start(case)
        target = case.b.receive(guest)
        target.kill()
        done = case.a.move(target.listen, ok=False)
        check(done.returncode == 6, f"exit {done.returncode}: {done.stdout} {done.stderr}")
        goes_on(case.a)


def record():
    """the recording satisfies the independent decoder"""
    with Case() as case:
        guest, _ = start(case)
        target = case.b.receive(guest)
        case.a.move(target.listen, "--record", "tape")
        Guest.wait_alive(case.b, 0, word="V", seconds=60)
        checker = os.path.join(ROOT, "tools", "stream-check")
        done = subprocess.run([sys.executable, checker, os.path.join(case.a.dir, "tape")],
                              capture_output=True, text=True)
        say("stream-check:", (done.stdout or done.stderr).strip().splitlines()[-1])
        check(done.returncode == 0, done.stdout, done.stderr)


main(dry_run, bandwidth, cancel, interrupt, refused_memory, refused_cpus, nobody_there, record)
