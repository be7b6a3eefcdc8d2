"""`python -m chaos.table [--page docs/reliability.md] REPORT...`: the results of chaos runs, as they stand on the reliability page.

Printed, or with --page written between the page's two marks.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from chaos.schedule import FaultKind
from chaos.ways import ways

BEGIN, END = "<!-- chaos.table: begin -->", "<!-- chaos.table: end -->"


def main(arguments: list[str]) -> int:
    """Print or write the results."""
    parser = argparse.ArgumentParser(prog="python -m chaos.table", description=__doc__)
    parser.add_argument("report", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, help="Write them into this page.")
    options = parser.parse_args(arguments)
    told = results([orjson.loads(path.read_bytes()) for path in options.report], [way.kind for way in ways().values()])
    if options.page is None:
        print(told)
    else:
        options.page.write_text(placed(options.page.read_text(), told))
    return 0


def results(reports: list[Any], kinds: Iterable[FaultKind]) -> str:
    """What was run, a table of the invariants, and one of all kinds of fault, of those that no seed had, too."""
    seeds = {name: seed for report in reports for name, seed in report["seeds"].items() if name != "clean"}
    return "\n".join((*_summary(reports, seeds), "", *_invariants(reports), "", *_faults(seeds, kinds)))


def placed(page: str, told: str) -> str:
    """The page with this between its marks. Raises ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} or, after it, {END}")
    return f"{before}{begin}\n\n{told}\n\n{end}{after}"


def _summary(reports: list[Any], seeds: dict[str, Any]) -> list[str]:
    took = [sum(seed["seconds"].values()) for seed in seeds.values()]
    stood = [seed.get("market_stood_still_s", 0.0) for seed in seeds.values()]
    broken = [name for name, seed in seeds.items() if any(row["violated"] for row in seed["invariants"].values())]
    numbers = sorted(int(name.removeprefix("seed-")) for name in seeds)
    data, commits = reports[0]["data"], sorted({report["commit"] for report in reports})
    faults, orders = (sum(count) for count in zip(*((len(seed["faults"]), seed["orders"]) for seed in seeds.values()), strict=True))
    return [
        f"{len(seeds)} seeds ({numbers[0]} to {numbers[-1]}) over {data['bars']} bars of {data['file']} ({data['bar']}), commit",
        f"{', '.join(commits)}: {faults} faults, {orders:,} orders. A seed takes {median(took):.0f} s in the middle, {max(took):.0f} s at",
        f"most; the market stood still for {max(stood):.0f} s at most. Seeds that broke an invariant: **{', '.join(broken) or 'none'}**.",
    ]


def _invariants(reports: list[Any]) -> list[str]:
    rows: dict[str, list[int]] = {}
    for seed in (seed for report in reports for seed in report["seeds"].values()):
        for name, told in seed["invariants"].items():
            row = rows.setdefault(name, [0, 0, 0])
            row[0] += told["checked"]
            row[1] += told["violated"]
            row[2] += told["checked"] > 0
    head = ["| Invariant | Cases | Violated | Runs in which there was a case |", "| --- | ---: | ---: | ---: |"]
    return head + [f"| {name} | {checked:,} | {violated:,} | {runs} |" for name, (checked, violated, runs) in rows.items()]


def _faults(seeds: dict[str, Any], kinds: Iterable[FaultKind]) -> list[str]:
    counts = {(kind.number, kind.name): 0 for kind in kinds}
    for fault in (fault for seed in seeds.values() for fault in seed["faults"]):
        key = (fault["number"], fault["kind"])
        counts[key] = counts.get(key, 0) + 1
    head = ["| # | Kind | Times |", "| ---: | --- | ---: |"]
    return head + [f"| {number} | {kind} | {count} |" for (number, kind), count in sorted(counts.items())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
