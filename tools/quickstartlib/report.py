# SPDX-License-Identifier: Apache-2.0
"""What came of it, for a person and for a script."""
import statistics
import textwrap

PAGE = 4096
VIEWS = {
    "monitor": "the monitor (from the guest's pause to its resumption)",
    "guest": "the guest (longest gap its own clock saw)",
    "client": "a client (longest wait for an answer on a connection)",
}


class Move:
    """One move: what segue said about it, and what guest and clients saw around it."""

    def __init__(self, source, to, answer, guest_ms, client_ms):
        progress = answer["progress"]
        self.source, self.to = source, to
        self.rounds, self.bytes = progress["round"], progress["bytes_sent"]
        self.pages = {kind: progress[f"pages_{kind}"]
                      for kind in ("sent", "zero", "raw", "lz4", "delta", "unchanged")}
        self.seconds = progress["elapsed_us"] / 1e6
        self.blackout = {"monitor": progress["blackout"]["total"] / 1e3, "guest": guest_ms,
                         "client": client_ms}

    @property
    def compression(self):
        return self.pages["sent"] * PAGE / self.bytes if self.bytes else 0.0

    def line(self, number, count):
        seen = " / ".join(f"{self.blackout[view]:.0f}" for view in VIEWS)
        return (f"move {number} of {count}: {self.source} -> {self.to}, {self.seconds:.1f} s, "
                f"{self.rounds} rounds, {mib(self.bytes)} sent for "
                f"{mib(self.pages['sent'] * PAGE)}, blackout {seen} ms")

    def json(self):
        return {"from": self.source, "to": self.to, "rounds": self.rounds, "bytes": self.bytes,
                "pages": self.pages, "compression": round(self.compression, 2),
                "total_s": round(self.seconds, 3), "blackout_ms": self.blackout}


def mib(size):
    return f"{size / (1 << 20):.1f} MiB"


def spread(values):
    return {"median": round(statistics.median(values), 3), "max": round(max(values), 3)}


def make(site, guest, moves, counted, quiet, backwards, seconds, why):
    """All results, as --json writes them."""
    return {
        "engine": site.engine, "where": site.name, "why": why,
        "guest": {"memory": guest.memory, "cpus": guest.cpus},
        "move_options": " ".join(guest.move_options),
        "moves": len(moves), **counted, "clock_backwards": backwards,
        "total_s": round(seconds, 3),
        "blackout_ms": {view: spread([each.blackout[view] for each in moves])
                        for view in VIEWS} if moves else {},
        "without_move_ms": quiet,
        "each": [each.json() for each in moves],
    }


def good(result):
    return not (result["increments_lost"] or result["connections_reset"]
                or result["clock_backwards"] or result["disk_errors"]
                or result["increments_on_disk"] != result["increments_held"])


def text(result):
    lines = _where(result) + [""]
    lines += _cost(result["each"]) + [""]
    lines += _blackout(result) + [""]
    lines += _losses(result)
    return "\n".join(lines)


GUESTS = {"kvm": "Debian's cloud kernel", "pv": "Linux for the paravirtual engine"}
PLACES = {
    ("native", "kvm"): "It ran natively, under KVM: the hosts were network namespaces of this "
                       "machine.",
    ("native", "pv"): "It ran natively, without hardware virtualization: the hosts were network "
                      "namespaces of this machine.",
    ("lab", "kvm"): "Everything ran in the lab: three machines emulated by QEMU in software, so "
                    "times are ten to thirty times those of real hosts; what is lost or not is "
                    "as real.",
}


def _where(result):
    guest = result["guest"]
    words = [f"{GUESTS[result['engine']]} with redis-server ({guest['memory']}, {guest['cpus']} "
             f"vCPU{'s' if guest['cpus'] > 1 else ''}) moved {result['moves']} times.",
             PLACES[result["where"], result["engine"]], f"Why so: {result['why']}.",
             f"Each move was given {result['move_options']}."]
    return [textwrap.fill(each, 96, break_on_hyphens=False) for each in words]


def _cost(each):
    def row(name, values, form):
        return (f"  {name:28}{form(statistics.median(values)):>12}"
                f"{form(min(values)):>12}{form(max(values)):>12}")
    return [
        f"  {'a move':28}{'median':>12}{'least':>12}{'most':>12}",
        row("rounds", [one["rounds"] for one in each], lambda v: f"{v:g}"),
        row("bytes sent", [one["bytes"] for one in each], mib),
        row("memory sent", [one["pages"]["sent"] * PAGE for one in each], mib),
        row("compression", [one["compression"] for one in each], lambda v: f"{v:.1f} : 1"),
        row("total time", [one["total_s"] for one in each], lambda v: f"{v:.2f} s"),
    ]


def _blackout(result):
    lines = [f"  {'blackout as seen by':58}{'median':>10}{'max':>10}"]
    for view, words in VIEWS.items():
        seen = result["blackout_ms"][view]
        lines.append(f"  {words:58}{seen['median']:>7.1f} ms{seen['max']:>7.1f} ms")
    quiet = result["without_move_ms"]
    lines.append(f"  (with no move under way, the guest's longest gap was {quiet['guest']:.1f} ms "
                 f"and a client's {quiet['client']:.1f} ms)")
    return lines


def _losses(result):
    return [
        f"  increments answered  {result['increments']}",
        f"  increments lost      {result['increments_lost']}",
        f"  sent again by TCP    {result['sent_again']} segments of the clients",
        f"  increments on disk   {result['increments_on_disk']} of {result['increments_held']}",
        f"  connections open     {result['connections']}, from before the first move to after "
        "the last",
        f"  connections reset    {result['connections_reset']}",
        f"  guest's clock back   {result['clock_backwards']} times",
        f"  file system          {result['disk_errors'].strip() or 'clean'}",
        "", "Nothing was lost." if good(result) else "SOMETHING WAS LOST: see above.",
    ]
