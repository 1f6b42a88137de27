# SPDX-License-Identifier: Apache-2.0
"""The lab's test cases. Each gets the bed and leaves no guest behind."""
import json
import signal
import time

from labtest import EXIT_REFUSED, STATE, Clock, Guest, disk_files, expect, say

# An emulated guest processor does tens of millions of instructions a second, and an interrupt
# takes thousands of them: the loads are such that it copes.
MEMVERIFY = ["memverify", "--mib", "32", "--threads", "2", "--rate", "300"]
CLOCKWATCH = ["clockwatch", "--serve", "6000", "--tick", "5"]
TCP_RATE = "64K"
TCPCHECK = ["tcpcheck", "--serve", "6001", "--rate", TCP_RATE]
FSLOAD = ["fsload", "/data", "--rate", "12", "--files", "4", "--size", "256K"]
CASES = []


def case(function):
    CASES.append(function)
    return function


def check_memory(guest):
    report = guest.ask(5001)
    expect(report["errors"] == 0, f"guest memory is wrong: {report}")
    expect(report["pages"] > 0, f"memverify did nothing: {report}")
    return report


def there_and_back(guest, rounds=1):
    for _ in range(2 * rounds):
        guest.move()


class TcpLoad:
    """A stream from HOST to the guest that lasts until stop()."""

    def __init__(self, guest, host, seconds):
        self.bed, self.host, self.log = guest.bed, host, "/lab/share/tcpcheck.json"
        self.bed.sh(host, f": >{self.log}")
        self.pid = self.bed.start(host, [
            self.bed.program("tcpcheck"), "--connect", f"{Guest.ADDRESS}:6001", "--seconds",
            str(seconds), "--rate", TCP_RATE], self.log)

    def stop(self):
        """Ask for an end in good order, and say what came of it."""
        self.bed.sh(self.host, f"kill -USR1 {self.pid}")
        out = ""
        for _ in range(300):
            out = self.bed.sh(self.host, f"cat {self.log}").strip()
            if out.endswith("}"):
                return json.loads(out.splitlines()[-1])
            time.sleep(0.2)
        raise AssertionError(f"tcpcheck does not end: {out}")


@case
def boot(bed, _):
    """a stock cloud kernel boots with 2 vCPUs and answers both hosts"""
    guest = Guest(bed, "boot", [MEMVERIFY, CLOCKWATCH])
    try:
        guest.start(bed.hosts[0])
        out = guest.shell("nproc; uname -r; cat /sys/class/net/eth0/address; lsmod")
        lines = out.splitlines()
        expect(lines[0] == "2", "processors:", lines[0])
        expect("cloud-amd64" in lines[1], "kernel:", lines[1])
        for module in ("virtio_net", "virtio_console", "virtio_rng", "virtio_balloon"):
            expect(module in out, f"no {module}")
        bed.sh(bed.hosts[1], f"curl -s --max-time 10 --data true http://{guest.ADDRESS}/cgi-bin/run")
        check_memory(guest)
        guest.power_button()
    finally:
        guest.end()


@case
def lab_itself(bed, _):
    """the hosts are two machines: network, disk, cuts, stalls and clocks"""
    one, two = bed.hosts[:2]
    bed.sh(one, "cut -d' ' -f1 </proc/sys/kernel/random/boot_id >/lab/share/one")
    expect(bed.sh(two, "cat /proc/sys/kernel/random/boot_id /lab/share/one | uniq | wc -l")
           .strip() == "2", "both hosts are one")
    bed.sh(one, "head -c 4096 /dev/urandom >/tmp/x; "
           "dd if=/tmp/x of=/dev/lab/data oflag=direct bs=4096 seek=7 2>/dev/null")
    sums = [bed.sh(one, "md5sum </tmp/x"),
            bed.sh(two, "dd if=/dev/lab/data iflag=direct bs=4096 skip=7 count=1 2>/dev/null "
                        "| md5sum")]
    expect(sums[0] == sums[1], "the shared disk is not shared")
    server = bed.start(two, [bed.program("clockwatch"), "--serve", "6000"])

    def answers():
        out = bed.sh(one, f"{bed.program('clockwatch')} --ask 10.77.0.2:6000 --seconds 1",
                     check=False)
        return json.loads(out)
    try:
        clock = answers()
        expect(clock["answered"] > 0, "no way from host to host")
        expect(abs(clock["realtime"]["last_ms"]) < 50, f"clocks differ: {clock}")
        bed.cut(two)
        expect(answers()["answered"] == 0, "a cut host answers")
        bed.heal(two)
        expect(answers()["answered"] > 0, "a healed host does not answer")
        bed.lab.signal(two, signal.SIGSTOP)
        expect(answers()["answered"] == 0, "a stalled host answers")
        bed.lab.signal(two, signal.SIGCONT)
        expect(answers()["answered"] > 0, "a host does not go on after a stall")
    finally:
        bed.lab.signal(two, signal.SIGCONT)
        bed.heal(two)
        bed.sh(two, f"kill {server}")


@case
def clocks(bed, _):
    """an idle guest's clocks go on through moves, as an observer that stays sees them"""
    guest = Guest(bed, "clocks", [CLOCKWATCH])
    try:
        guest.start(bed.hosts[0])
        clock = Clock(guest, bed.hosts[0])
        for number in range(4):
            blackout = guest.move()["progress"]["blackout"]["total"] / 1000
            shift, inside = clock.check(blackout, f"move {number + 1}:")
            say(f"move {number + 1}: to {guest.at}, blackout {blackout:.1f} ms, clock "
                f"{shift:+.1f} ms, guest saw {inside['longest_gap_ms']:.0f} ms")
    finally:
        guest.end()


@case
def loaded_moves(bed, options):
    """many moves there and back under memory, disk, TCP and clock load"""
    bed.fresh_disk()
    guest = Guest(bed, "loaded", [MEMVERIFY, CLOCKWATCH, TCPCHECK, FSLOAD], disk=True)
    try:
        guest.start(bed.hosts[0])
        tcp = TcpLoad(guest, bed.hosts[1], 3600)
        clock = Clock(guest, bed.hosts[0])
        for number in range(options.moves):
            progress = guest.move()["progress"]
            blackout = progress["blackout"]["total"] / 1000
            shift, inside = clock.check(blackout, f"move {number + 1}:")
            pages = check_memory(guest)["pages"]
            files = guest.ask(5003)
            expect(files["errors"] == 0, f"files are wrong: {files}")
            say(f"move {number + 1}: to {guest.at}, {progress['elapsed_us'] / 1e6:.1f} s, round "
                f"{progress['round']}, blackout {blackout:.1f} ms, clock {shift:+.1f} ms, "
                f"guest saw {inside['longest_gap_ms']:.0f} ms, {pages} pages, "
                f"{files['operations']} file operations")
        expect(any(each["round"] >= 2 for each in guest.moves), "no move was live: one round only")
        result = tcp.stop()
        expect(result["ok"], f"TCP: {result}")
        expect(result["received"] > 0 and result["sent"] > 0, f"TCP did nothing: {result}")
        say(f"TCP: {result}")
        files = guest.ask(5003, "finish")
        expect(files["errors"] == 0 and files["files"], f"files are wrong: {files}")
        guest.power_button()
    finally:
        guest.end()
    disk_files(bed, files["files"])


@case
def redis(bed, _):
    """a Redis server with clients does not lose an answer or a connection"""
    guest = Guest(bed, "redis", kind="redis", words="segue.start=redis")
    try:
        guest.start(bed.hosts[0])
        log = "/lab/share/rediscount.json"
        bed.sh(bed.hosts[0], f": >{log}")
        bed.start(bed.hosts[0], [bed.program("rediscount"), "--connect", f"{guest.ADDRESS}:6379",
                                 "--connections", "6", "--rate", "600", "--seconds", "45"], log)
        time.sleep(2)
        there_and_back(guest)
        out = bed.sh(bed.hosts[0], f"cat {log}").strip()
        expect(not out, f"the clients ended before the moves did: {out}")
        for _ in range(300):
            out = bed.sh(bed.hosts[0], f"cat {log}").strip()
            if out.endswith("}"):
                break
            time.sleep(0.3)
        result = json.loads(out.splitlines()[-1])
        expect(not result["errors"] and not result["resets"] and result["answers"], f"{result}")
        say(f"{result}, blackout at most {guest.blackout_ms():.1f} ms")
    finally:
        guest.end()


@case
def no_nested_paging(bed, _):
    """a host without nested paging boots a guest, and is source and destination"""
    guest = Guest(bed, "npt", [MEMVERIFY, CLOCKWATCH])
    try:
        bed.npt(bed.hosts[1], False)
        guest.start(bed.hosts[1])
        there_and_back(guest)
        expect(guest.at == bed.hosts[1], f"it is at {guest.at}")
        check_memory(guest)
        say(f"blackouts {[each['blackout']['total'] / 1000 for each in guest.moves]} ms")
    finally:
        guest.end()
        bed.npt(bed.hosts[1], True)


@case
def standard_kernel(bed, _):
    """Debian's standard kernel boots and moves there and back"""
    guest = Guest(bed, "standard", [MEMVERIFY, CLOCKWATCH], kind="standard")
    try:
        guest.start(bed.hosts[0])
        expect("cloud" not in guest.shell("uname -r"), "this is the cloud kernel")
        clock = Clock(guest, bed.hosts[0])
        there_and_back(guest)
        shift, _ = clock.check(sum(each["blackout"]["total"] for each in guest.moves) / 1000)
        say(f"blackout at most {guest.blackout_ms():.1f} ms, clock {shift:+.1f} ms")
        check_memory(guest)
    finally:
        guest.end()


@case
def reboot_in_mid_move(bed, _):
    """a guest that reboots while it moves runs on, at one host only"""
    guest = Guest(bed, "reboot", [MEMVERIFY, CLOCKWATCH])
    try:
        guest.start(bed.hosts[0])
        listen, why = guest.receive(bed.hosts[1])
        expect(listen, why)
        first = guest.shell("cat /proc/sys/kernel/random/boot_id").strip()
        guest.shell("(sleep 1; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        code, answer, err = bed.segue(guest.at, "move", guest.name, "--to", listen, "--json",
                                      "--bandwidth", "20M")
        say(f"move: exit {code}, {answer.get('outcome')} {err}")
        where = guest.running_at()
        expect(len(where) == 1, f"it runs at {where}")
        expect((where[0] == bed.hosts[1]) == (code == 0), f"exit {code}, but it runs at {where}")
        guest.at = where[0]
        for _ in range(30):
            guest.wait_up()
            second = guest.shell("cat /proc/sys/kernel/random/boot_id", check=False)
            if second and second.strip() != first:
                break
            time.sleep(1)
        expect(second and second.strip() != first, "it did not reboot")
        expect(guest.running_at() == where, f"it runs at {guest.running_at()}")
        check_memory(guest)
    finally:
        guest.end()


def begin_move(bed, guest, listen):
    """Start a slow move and come back when it is under way."""
    bed.start(guest.at, [
        "/bin/bash", "-c", f"rm -f /run/move.code; {bed.build}/tools/segue/segue "
        f"--state-dir {STATE} move {guest.name} --to {listen} --json --bandwidth 10M "
        ">/run/move.json 2>&1; echo $? >/run/move.code"])
    time.sleep(3)
    expect(guest.state(guest.at) == "moving", f"{guest.state(guest.at)}: not moving yet")


def end_of_move(bed, guest):
    """Wait for the move to end, which it must, and with a failure."""
    for _ in range(400):
        code = bed.sh(guest.at, "cat /run/move.code 2>/dev/null; true").strip()
        if code:
            break
        time.sleep(0.3)
    expect(code not in ("", "0"), f"the move ended with {code!r}")
    say(f"move: exit {code}: {bed.sh(guest.at, 'tail -c 300 /run/move.json').strip()}")
    expect(guest.state(guest.at) == "running", f"{guest.at}: {guest.state(guest.at)}")
    check_memory(guest)


@case
def network_cut_in_mid_move(bed, _):
    """a move whose network is cut leaves the guest running at its source"""
    guest = Guest(bed, "cut", [MEMVERIFY, CLOCKWATCH])
    try:
        guest.start(bed.hosts[0])
        listen, why = guest.receive(bed.hosts[1])
        expect(listen, why)
        begin_move(bed, guest, listen)
        bed.cut(bed.hosts[1])
        end_of_move(bed, guest)
        bed.heal(bed.hosts[1])
        expect(guest.running_at() == [guest.at], f"it runs at {guest.running_at()}")
        bed.segue(bed.hosts[1], "stop", guest.name, "--force")
        guest.move()
        check_memory(guest)
    finally:
        bed.heal(bed.hosts[1])
        guest.end()


@case
def destination_loses_power(bed, _):
    """a destination that loses power in mid-move leaves the guest running at its source"""
    guest = Guest(bed, "power", [MEMVERIFY, CLOCKWATCH])
    try:
        guest.start(bed.hosts[0])
        listen, why = guest.receive(bed.hosts[1])
        expect(listen, why)
        begin_move(bed, guest, listen)
        bed.lab.kill(bed.hosts[1])
        end_of_move(bed, guest)
        bed.power_cycle(bed.hosts[1])
        guest.move()
        check_memory(guest)
    finally:
        if not bed.lab.pid(bed.hosts[1]):
            bed.power_cycle(bed.hosts[1])
        guest.end()


def refused(bed, guest, to):
    """TO must not get the guest, nor one page of it, and the guest must not notice."""
    listen, why = guest.receive(to)
    if not listen:
        say(f"refused at receive: {why}")
        return why
    code, answer, err = bed.segue(guest.at, "move", guest.name, "--to", listen, "--json")
    why = f"exit {code}: {err} {answer.get('text', '')}"
    expect(code == EXIT_REFUSED, f"not refused: {why} {answer}")
    sent = answer.get("progress", {}).get("pages_sent", 0)
    expect(sent == 0, f"{sent} pages were sent before the refusal")
    say(f"refused: {why}")
    return why


@case
def missing_cpu_feature(bed, _):
    """a destination whose processor lacks a feature is refused before a page is sent"""
    try:
        bed.power_cycle(bed.hosts[1], cpu="max,-la57,-avx2")
        for model in ("x86-64-v3", "host"):
            guest = Guest(bed, "feature", [MEMVERIFY, CLOCKWATCH], model=model)
            try:
                guest.start(bed.hosts[0])
                why = refused(bed, guest, bed.hosts[1])
                expect("avx2" in why.lower(), f"{model}: AVX2 is not named: {why}")
                expect(guest.running_at() == [guest.at], f"it runs at {guest.running_at()}")
                check_memory(guest)
            finally:
                guest.end()
        guest = Guest(bed, "feature", [MEMVERIFY, CLOCKWATCH], model="x86-64-v2")
        try:
            guest.start(bed.hosts[0])
            there_and_back(guest)
            check_memory(guest)
        finally:
            guest.end()
    finally:
        bed.power_cycle(bed.hosts[1], cpu="max,-la57")
