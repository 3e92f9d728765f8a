#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where the time of a run goes: a picture and a table from a trace of `colt5 bench --profile` or `colt5 run --profile`.

    colt5 bench block.json --profile trace.json --format json >rows.json
    python3 bench/trace_picture.py trace.json --rows rows.json --output trace.svg

The picture has the run's commands from left to right, coloured by the part of the layer they belong to, and under it how long each
kernel took in each part. The table, Markdown on standard output, adds what each reached: operations of products and attention, bytes of
the rest. Where the device's ceilings are known, from --rows, a report of the same run, or from --ceilings, it also says how much of
the time the floor is: the work of each call at the ceiling for operations or for bytes, whichever takes longer. Commands of one call
of an op count as one, under the name of the one that took longest.

Several traces of the same work are taken together: of each command the least time, one after the other. So a machine that others use
too can tell what it takes alone.

--heading picks one of several runs in a trace, by a part of its name; without it the last is taken. Needs Python alone.
"""
import argparse, html, json

COLOURS = {"router": "#b07aa1", "light attention": "#4e79a7", "heavy attention": "#f28e2b", "light feedforward": "#76b7b2",
           "heavy feedforward": "#e15759"}
OTHER, WIDTH, LEFT, BAR = "#9d9d9d", 1120, 300, 22


class Call:
    """One call of an op: its commands, the part they belong to, its work."""

    def __init__(self, commands):
        self.part = commands[0]["args"].get("part", "other")
        self.flop, self.bytes = (sum(e["args"].get(name, 0) for e in commands) for name in ("flop", "bytes"))
        self.kernel = max(commands, key=lambda e: e["dur"])["name"]
        self.us, self.commands = sum(e["dur"] for e in commands), len(commands)


    def floor(self, best):
        """Microseconds at the least."""
        return 1e6 * max(self.flop / best[0], self.bytes / best[1]) if all(best) else 0


class Group:
    """Calls of one kernel in one part."""

    def __init__(self, calls):
        self.part, self.kernel, self.calls, self.each = calls[0].part, calls[0].kernel, len(calls), calls
        self.us, self.commands, self.flop, self.bytes = (sum(getattr(c, name) for c in calls) for name in ("us", "commands", "flop", "bytes"))


def read_run(path, heading):
    with open(path) as file:
        events = json.load(file)["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    device = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    wanted = [pid for pid, name in names.items() if heading in name]
    if not wanted:
        raise SystemExit(f"{path}: no heading has {heading!r}; there are: " + "; ".join(names.values()))
    return names[wanted[-1]], device[wanted[-1]], [e for e in events if e["ph"] == "X" and e["pid"] == wanted[-1]]


def least(runs):
    """One run of the least time of each command."""
    if any([e["name"] for e in events] != [e["name"] for e in runs[0]] for events in runs):
        raise SystemExit("the traces are not of the same commands")
    now, events = 0, []
    for same in zip(*runs):
        dur = min(e["dur"] for e in same)
        events.append({**same[0], "ts": now, "dur": dur})
        now += dur
    return events


def collect(items, key, make):
    found = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return [make(group) for group in found.values()]


def ceilings(path, name):
    """FLOP/s and B/s of the device at its best, from the row with this heading."""
    with open(path) as file:
        for row in json.load(file):
            if name.startswith(f"{row['name']}, {row['dtype']}, {row['batch']} x {row['seq']}") and ("backward" in name) == row["backward"]:
                rate = lambda amount, share: 1e3 * amount / row["median_ms"] / share if share else 0
                return rate(row["flop"], row["product_share"]), rate(row["bytes"], row["copy_share"])
    raise SystemExit(f"{path}: no row is {name!r}")


def reached(group):
    """"80 GFLOP/s" or "1.7 TB/s"."""
    amount, unit = (group.flop, "FLOP/s") if group.flop > 4 * group.bytes else (group.bytes, "B/s")
    if not amount or not group.us:
        return "–"
    rate = amount / group.us / 1e3
    return (f"{rate / 1e3:.3g} T" if rate >= 1e3 else f"{rate:.3g} G") + unit


def colour(part):
    return COLOURS.get(part, OTHER)


def box(x, y, width, height, fill, title):
    return f'<rect x="{x:.2f}" y="{y}" width="{max(width, 0.05):.2f}" height="{height}" fill="{fill}"><title>{html.escape(title)}</title></rect>'


def text(x, y, words, anchor="start", size=13, weight="normal"):
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">{html.escape(words)}</text>'


def timeline(events, y, height):
    whole = max(e["ts"] + e["dur"] for e in events)
    scale = (WIDTH - 40) / whole
    for e in events:
        part = e["args"].get("part", "other")
        yield box(20 + e["ts"] * scale, y, e["dur"] * scale, height, colour(part), f"{part}: {e['name']}, {e['dur'] / 1e3:.3f} ms")
    yield text(20, y + height + 18, "0")
    yield text(WIDTH - 20, y + height + 18, f"{whole / 1e3:.3g} ms", "end")


def legend(events, y):
    times = {}
    for e in events:
        part = e["args"].get("part", "other")
        times[part] = times.get(part, 0) + e["dur"]
    busy, x = sum(times.values()), 20
    for part, us in sorted(times.items(), key=lambda item: -item[1]):
        words = f"{part} {100 * us / busy:.0f} %"
        yield box(x, y - 11, 12, 12, colour(part), part)
        yield text(x + 18, y, words)
        x += 42 + 7.2 * len(words)


def bars(groups, y, most):
    longest = groups[0].us
    busy = sum(g.us for g in groups)
    for i, g in enumerate(groups[:most]):
        top = y + i * BAR
        length = (WIDTH - LEFT - 140) * g.us / longest
        yield text(LEFT - 8, top + 14, f"{g.part}: {g.kernel}", "end", 12)
        yield box(LEFT, top + 2, length, BAR - 5, colour(g.part), f"{g.us / 1e3:.3f} ms")
        yield text(LEFT + length + 6, top + 14, f"{g.us / 1e3:.3g} ms, {100 * g.us / busy:.0f} %", size=12)


def picture(title, events, groups, most):
    height = 190 + BAR * min(most, len(groups))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" fill="#222">',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', text(20, 28, title, size=15, weight="bold"),
             *legend(events, 56), *timeline(events, 72, 64), *bars(groups, 176, most), "</svg>"]
    return "\n".join(parts) + "\n"


def table(groups, best):
    busy = sum(g.us for g in groups)
    known = all(best)
    yield "| part | kernel | calls | commands | ms | share | reached |" + (" floor |" if known else "")
    yield "| --- | --- | --- | --- | --- | --- | --- |" + (" --- |" if known else "")
    for g in groups:
        if g.us < 0.001 * busy:
            continue
        floor = sum(call.floor(best) for call in g.each)
        yield (f"| {g.part} | `{g.kernel}` | {g.calls} | {g.commands} | {g.us / 1e3:.3g} | {100 * g.us / busy:.1f} % | {reached(g)} |" +
               (f" {100 * floor / g.us:.0f} % |" if known else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="+")
    parser.add_argument("--rows", help="the report of --format json")
    parser.add_argument("--ceilings", nargs=2, type=float, default=(0, 0), metavar=("FLOP/s", "B/s"), help="instead")
    parser.add_argument("--heading", default="", help="part of a run's name")
    parser.add_argument("--output", help="the picture, SVG")
    parser.add_argument("--most", type=int, default=12, help="bars in the picture")
    options = parser.parse_args()
    found = [read_run(path, options.heading) for path in options.trace]
    name, device, events = found[0] if len(found) == 1 else (*found[0][:2], least([run[2] for run in found]))
    calls = collect(events, lambda e: (e["args"]["call"], e["args"].get("part")), Call)
    groups = sorted(collect(calls, lambda c: (c.part, c.kernel), Group), key=lambda g: -g.us)
    best = ceilings(options.rows, name) if options.rows else options.ceilings
    busy, whole = sum(e["dur"] for e in events), max(e["ts"] + e["dur"] for e in events)
    print(f"{name}; {device}: {'' if len(found) == 1 else f'least of {len(found)} traces, '}{len(events)} commands, busy {busy / 1e3:.4g} ms of {whole / 1e3:.4g} ms\n")
    print("\n".join(table(groups, best)))
    if options.output:
        with open(options.output, "w") as file:
            file.write(picture(f"{name} on {device}", events, groups, options.most))


if __name__ == "__main__":
    main()
