# SPDX-License-Identifier: Apache-2.0
"""The commands of tools/lab."""
import argparse
import io
import os
import shutil
import signal
import socket
import sys
import tarfile
import threading

from . import debian, host, life, remote
from .state import Lab, LabError, labs_dir

EPILOG = """\
examples:
  tools/lab up --see /tmp/build
  tools/lab exec host1 uname -r
  tools/lab up --name b --hosts 3 --host-opts 1:npt=0 --cpu-model 2:max,-avx2
  tools/lab power-off host2; tools/lab power-on host2
  tools/lab cut host1; tools/lab heal host1
  tools/lab down

Hosts are host1, host2, ... at 10.77.0.1, 10.77.0.2, ... on bridge br0. The machine's own
files are visible in them, read-only underneath; /lab/share is one directory for all hosts
and this machine (`tools/lab status` tells where); disks are /dev/lab/NAME in every host.
exit status: of `exec`, the command's own; else 0, 1 (failed), 2 (usage), 255 (host is gone)
"""


def cmd_up(args):
    clock = life.Clock(args.quiet)
    lab = Lab(args.name)
    conf = life.make_conf(args)
    lab.create(conf)
    try:
        life.begin(lab, args.disk or ["shared:4G"], clock, args.timeout)
    except BaseException:
        if args.keep:
            print(f"kept for a look: {lab.dir}", file=sys.stderr)
        else:
            lab.remove()
        raise
    return 0


def cmd_down(args):
    names = sorted(os.listdir(labs_dir())) if args.all else [args.name]
    for name in names:
        lab = Lab(name)
        if not os.path.isdir(lab.dir):
            if not args.all:
                raise LabError(f"no lab {name} is up")
            continue
        lab.remove()
    return 0


def cmd_status(args):
    names = [args.name] if args.name_given else sorted(os.listdir(labs_dir()))
    for name in names:
        lab = Lab(name)
        if not lab.exists():
            if args.name_given:
                raise LabError(f"no lab {name} is up")
            continue
        lab.load()
        running = lab.running()
        print(f"lab {name}: {lab.dir}, share {lab.share}")
        for kind in ("hub-process", "disks"):
            print(f"  {kind:12} {'process %d' % running[kind] if kind in running else 'dead'}")
        for each, about in lab.conf["hosts"].items():
            print(f"  {each:12} 10.77.0.{about['index']:<4} {_power(lab, each)}")
        for disk, path in lab.conf["disks"].items():
            print(f"  /dev/lab/{disk:8} {path}")
    return 0


def _power(lab, name):
    pid = lab.pid(name)
    if pid is None:
        return "off"
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        stopped = file.read().rpartition(")")[2].split()[0] == "T"
    return f"{'stalled' if stopped else 'on'}, process {pid}"


# One host -------------------------------------------------------------------

def _late_options(args):
    """Take options between HOST and the command, too; return the command."""
    words = list(args.command)
    late = argparse.ArgumentParser(prog="tools/lab exec", add_help=False)
    _exec_options(late, argparse.SUPPRESS)
    own = []
    while words and words[0].startswith("-"):
        own.append(words.pop(0))
        if own[-1] == "--":
            own.pop()
            break
        if own[-1] in ("--log", "--cwd", "--env", "--timeout") and words:
            own.append(words.pop(0))
    late.parse_args(own, args)
    return words


def cmd_exec(args):
    lab = Lab(args.name).load()
    argv = _late_options(args)
    if not argv:
        raise LabError("exec: no command")
    env = dict(word.partition("=")[::2] for word in args.env or [])
    stdin = None if args.no_stdin or args.detach or sys.stdin.isatty() else 0
    names = list(lab.conf["hosts"]) if args.host == "all" else [lab.host(args.host)]
    code = 0
    for name in names:
        code = max(code, remote.stream(
            lab, name, argv, stdin=None if len(names) > 1 else stdin, detach=args.detach,
            log=args.log, cwd=args.cwd or os.getcwd(), env=env, timeout=args.timeout))
    return code


def cmd_put(args):
    lab = Lab(args.name).load()
    name, target = lab.host(args.host), args.to
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(args.source, arcname=os.path.basename(target))
    read, write = os.pipe()

    def feed():
        with os.fdopen(write, "wb") as pipe:
            pipe.write(data.getbuffer())
    threading.Thread(target=feed).start()
    where = os.path.dirname(target) or "/"
    script = 'mkdir -p "$0" && exec /lab/bin/busybox tar -x -f - -C "$0"'
    remote.check(lab, name, ["/bin/sh", "-c", script, where], stdin=read)
    return 0


def cmd_get(args):
    lab = Lab(args.name).load()
    source = args.source.rstrip("/")
    code, out, err = remote.run(lab, lab.host(args.host), [
        "/lab/bin/busybox", "tar", "-c", "-f", "-", "-C", os.path.dirname(source) or "/",
        os.path.basename(source)])
    if code != 0:
        raise LabError(err.decode(errors="replace").strip())
    target = os.path.abspath(args.to)
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        for member in tar.getmembers():
            member.name = (os.path.basename(target) +
                           member.name[len(os.path.basename(source)):])
            tar.extract(member, os.path.dirname(target))
    return 0


def cmd_power_off(args):
    lab = Lab(args.name).load()
    with lab.lock():
        lab.kill(lab.host(args.host))
    return 0


def cmd_power_on(args):
    lab, clock = Lab(args.name).load(), life.Clock()
    name = lab.host(args.host)
    options = args.host_opts and dict(o.partition("=")[::2] for o in args.host_opts)
    life.power_on(lab, name, args.cpu_model, options)
    if not args.no_wait:
        life.settle(lab, name, clock, args.timeout)
    return 0


def _signal(args, number):
    lab = Lab(args.name).load()
    lab.signal(lab.host(args.host), number)
    return 0


def cmd_stall(args):
    return _signal(args, signal.SIGSTOP)


def cmd_unstall(args):
    return _signal(args, signal.SIGCONT)


def cmd_clock(args):
    lab = Lab(args.name).load()
    for name in lab.conf["hosts"]:
        if lab.pid(name):
            print(f"{name}: set to within {remote.set_clock(lab, name) * 1000:.1f} ms")
    return 0


# Network ---------------------------------------------------------------------

def _tell_hub(args, verb):
    lab = Lab(args.name).load()
    names = [lab.host(args.host)] + ([lab.host(args.other)] if args.other else [])
    if args.carrier:
        with host.monitor(lab, names[0]) as connection:
            connection.command("set_link", name="lab", up=verb == "heal")
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
        control.connect(lab.path("hub"))
        control.send(" ".join([verb] + names).encode())
    return 0


def cmd_cut(args):
    return _tell_hub(args, "cut")


def cmd_heal(args):
    return _tell_hub(args, "heal")


def cmd_net(args):
    lab = Lab(args.name).load()
    name = lab.host(args.host)
    netem = []
    for word, value in (("delay", args.delay), ("loss", args.loss), ("rate", args.rate)):
        netem += [word, value] if value else []
    if not netem:
        remote.run(lab, name, ["tc", "qdisc", "del", "dev", "lab0", "root"])
        return 0
    remote.check(lab, name, ["tc", "qdisc", "replace", "dev", "lab0", "root", "netem",
                             "limit", "20000", *netem])
    return 0


def cmd_tap(args):
    lab = Lab(args.name).load()
    tap = args.tap
    script = ("ip link show $0 >/dev/null 2>&1 || ip tuntap add dev $0 mode tap && "
              "ip link set $0 master br0 up")
    names = list(lab.conf["hosts"]) if args.host == "all" else [lab.host(args.host)]
    for name in names:
        remote.check(lab, name, ["/bin/sh", "-c", script, tap])
    return 0


def cmd_see(args):
    lab = Lab(args.name).load()
    for path in life.visible([args.path]):
        if path in lab.conf["see"]:
            continue
        lab.conf["see"].append(path)
        lab.save()
        for name in lab.conf["hosts"]:
            if lab.pid(name):
                remote.check(lab, name, ["/bin/sh", "-c", 'mkdir -p "$0" && '
                                         'mount --bind "/lab/live$0" "$0"', path])
    return 0


def cmd_logs(args):
    lab = Lab(args.name).load()
    names = [lab.host(args.host)] if args.host else list(lab.conf["hosts"])
    for name in names:
        for kind in (".console", ".log"):
            try:
                with open(lab.path(name + kind), "rb") as file:
                    print(f"--- {name}{kind}", flush=True)
                    shutil.copyfileobj(file, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
            except FileNotFoundError:
                pass
    return 0


# Command line ------------------------------------------------------------------

def parser():
    top = argparse.ArgumentParser(
        prog="tools/lab", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Emulated hosts with hardware KVM, on any machine and without root.")
    name = {"default": None, "metavar": "LAB", "help": "which lab (default: main)"}
    top.add_argument("--name", dest="top_name", **name)
    sub = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(word, text, *positional):
        each = sub.add_parser(word, help=text, description=text)
        each.add_argument("--name", **name)
        for argument in positional:
            each.add_argument(argument)
        each.set_defaults(run=globals()["cmd_" + word.replace("-", "_")])
        return each

    _up(verb("up", "start a lab"))
    verb("down", "end a lab, all of it").add_argument("--all", action="store_true",
                                                      help="every lab of this user")
    verb("status", "what is up")
    _exec(verb("exec", "run a command in a host (`all`: in each, one after the other)", "host"))
    verb("put", "copy a file or directory into a host", "host", "source", "to")
    verb("get", "copy a file or directory from a host", "host", "source", "to")
    verb("power-off", "pull a host's plug", "host")
    on = verb("power-on", "switch a host on again, and wait for it", "host")
    on.add_argument("--no-wait", action="store_true")
    on.add_argument("--cpu-model", metavar="MODEL", help="from now on another processor")
    on.add_argument("--host-opts", action="append", metavar="KEY=VALUE",
                    help="from now on these, and not those it had")
    on.add_argument("--timeout", type=float, default=120, metavar="S")
    for word, text in (("cut", "cut a host, or a pair of hosts, off: frames vanish"),
                       ("heal", "undo a cut")):
        each = verb(word, text, "host")
        each.add_argument("other", nargs="?", help="only between HOST and this one")
        each.add_argument("--carrier", action="store_true", help="pull the cable: the host sees it")
    verb("stall", "stop a host's clock and processors, as a hang would", "host")
    verb("unstall", "let a stalled host go on", "host")
    verb("clock", "set all hosts' clocks to this machine's")
    net = verb("net", "shape what a host sends (no option: as it was)", "host")
    for option, text in (("--rate", "for example 100mbit"), ("--delay", "for example 5ms"),
                         ("--loss", "for example 1%%")):
        net.add_argument(option, help=text)
    verb("tap", "make a tap for a guest on a host's br0 (`all`: on each)", "host", "tap")
    verb("see", "make a directory of this machine visible at its own path", "path")
    verb("logs", "print consoles and QEMU's words").add_argument("host", nargs="?")
    return top


def _up(up):
    up.add_argument("--hosts", type=int, default=2, choices=range(1, 10), metavar="N")
    up.add_argument("--cpus", type=int, default=2, metavar="K", help="of each host (default: 2)")
    up.add_argument("--memory", default="3G", metavar="M", help="of each host (default: 3G)")
    up.add_argument("--mtu", type=int, default=9000)
    up.add_argument("--host-opts", action="append", default=[], metavar="I:KEY=VALUE",
                    help="a kvm_amd parameter (npt=0), or a kernel parameter with a dot in it")
    up.add_argument("--cpu-model", action="append", default=[], metavar="I:MODEL",
                    help="QEMU's -cpu of a host, such as max,-avx2 (default: %s)" % life.MODEL)
    up.add_argument("--disk", action="append", default=[], metavar="NAME:SIZE|NAME=FILE",
                    help="a disk all hosts share, /dev/lab/NAME (default: shared:4G)")
    up.add_argument("--see", action="append", default=[], metavar="DIR",
                    help="a directory under /tmp or /run that hosts shall see too")
    up.add_argument("--no-rdma", action="store_true", help="no soft RoCE device")
    up.add_argument("--timeout", type=float, default=120, metavar="S")
    up.add_argument("--keep", action="store_true", help="when it fails, leave it for a look")
    up.add_argument("--quiet", action="store_true")


def _exec(each):
    _exec_options(each, None)
    each.add_argument("command", nargs=argparse.REMAINDER)


def _exec_options(each, unset):
    flag = False if unset is None else unset
    each.add_argument("--detach", action="store_true", default=flag,
                      help="print its process number and do not wait")
    each.add_argument("--log", metavar="FILE", default=unset,
                      help="the host's file its output goes to")
    each.add_argument("--cwd", metavar="DIR", default=unset,
                      help="default: this directory if the host has it, else /")
    each.add_argument("--env", action="append", metavar="NAME=VALUE", default=unset)
    each.add_argument("--timeout", type=float, metavar="S", default=unset)
    each.add_argument("-n", "--no-stdin", action="store_true", default=flag)


def _terminated(number, _):
    raise KeyboardInterrupt(number)


def main(argv=None):
    """Ended by a signal or not, `up` leaves a whole lab or none."""
    if argv is None:
        signal.signal(signal.SIGTERM, _terminated)
    args = parser().parse_args(argv)
    args.name_given = bool(args.name or args.top_name)
    args.name = args.name or args.top_name or "main"
    if not args.name.replace("-", "").isalnum():
        parser().error(f"--name {args.name}: letters, digits and - only")
    try:
        return args.run(args)
    except remote.Unreachable as error:
        print(f"tools/lab: {error}", file=sys.stderr)
        return 255
    except (LabError, debian.PackageError, OSError) as error:
        print(f"tools/lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
