# SPDX-License-Identifier: Apache-2.0
"""Medians, a table for people, and rows for programs."""
import json
import statistics

# key of a result: (what, unit, which way is better, digits)
METRICS = {
    "total": ("total time", "ms", "lower", 0),
    "blackout": ("blackout: last sign of the guest at the source to the first at the destination",
                 "ms", "lower", 1),
    "worst gap": ("longest silence of the guest in the whole move, rounds included", "ms", "lower", 1),
    "cpu": ("processor seconds a GiB, both sides, without the guest", "s/GiB", "lower", 3),
    "resident": ("resident besides guest memory", "MiB", "lower", 1),
    "wire": ("sent", "MiB", "lower", 0),
}


def median(results, key):
    values = [r[key] for r in results if r.get(key) is not None]
    return statistics.median(values) if values else None


class Report:
    def __init__(self):
        self.rows = []

    def row(self, bench, case, unit, better, ours=None, peer=None, peer_name=""):
        self.rows.append({"bench": bench, "case": case, "unit": unit, "ours": ours, "peer": peer,
                          "peer_name": peer_name,
                          "ratio": ours / peer if ours is not None and peer else None,
                          "better": better})

    def case(self, name, ours, peers):
        """OURS: results; PEERS: setting -> results. The peer of a row is the best setting."""
        for key, (_, unit, better, _) in METRICS.items():
            medians = {s: median(r, key) for s, r in peers.items()}
            medians = {s: m for s, m in medians.items() if m is not None}
            mine = median(ours, key)
            if mine is None and not medians:
                continue
            best = min(medians, key=medians.get) if medians else None
            self.row(f"move-{key}", name, unit, better, mine, medians.get(best),
                     f"QEMU {best}" if best else "QEMU did not finish")

    def summary(self):
        """Ours against QEMU's best setting for each figure, a line each."""
        lines = [f"{'case':28} {'figure':14} {'segue':>9} {'QEMU':>9} {'ratio':>6}  QEMU's setting"]
        for r in self.rows:
            if r["bench"].startswith("move-") and r["ours"] is not None:
                peer = f"{r['peer']:9.2f} {r['ratio']:6.2f}" if r["ratio"] else f"{'-':>9} {'-':>6}"
                lines.append(f"{r['case']:28} {r['bench'][5:] + ' ' + r['unit']:14} {r['ours']:9.2f} "
                             f"{peer}  {r['peer_name'].removeprefix('QEMU ')}")
        return "\n".join(lines)

    def write(self, path):
        with open(path, "w") as out:
            json.dump(self.rows, out, indent=1)
            out.write("\n")


def cell(results, key):
    if not results:
        return ""
    value = median(results, key)
    if value is None:
        return "-"
    failed = sum(r.get("total") is None for r in results)
    return f"{value:.{METRICS[key][3]}f}" + (f" ({failed} lost)" if failed and key == "total" else "")


def table(name, ours, peers):
    """One case as text: a line a setting, medians over the runs."""
    keys = [k for k in METRICS if any(median(r, k) is not None for r in [ours, *peers.values()])]
    lines = [["", *(f"{k} {METRICS[k][1]}" for k in keys)]]
    for label, results in [("segue", ours), *((f"QEMU {s}", r) for s, r in peers.items())]:
        if results:
            lines.append([label, *(cell(results, k) for k in keys)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [f"== {name}"]
    for line in lines:
        text.append("  ".join([line[0].ljust(widths[0]),
                               *(v.rjust(w) for v, w in zip(line[1:], widths[1:]))]))
    return "\n".join(text)
