"""`tandem screen`: every pair of a universe tested, what each policy would pick, and what became of the picks in the next span."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tandem import settings as settings_module
from tandem.adapters.config_files import load_sectors
from tandem.adapters.new_york import midnight_ns
from tandem.cli.output import print_facts, print_json, print_table, remark
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, sector_id
from tandem.quant.composite import SeedRule
from tandem.research.screen import ScreenRules, screened, write
from tandem.research.screen_policies import POLICIES, FdrRule
from tandem.research.screen_statistics import Progress
from tandem.research.screen_universe import ScreenRequest
from tandem.trainer.options import load_options

BARS_MIN = 250  # a year of days


def screen(
    *,
    data: Annotated[Path, typer.Option(help="Parquet file of trades, bars or closes.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: one row for each pair.")],
    sector: Annotated[
        str, typer.Option(help="Only this sector's symbols: of the file's column `sector`, else of config/sectors.yaml.")
    ] = "",
    screen_from: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD in New York; default: the file's first.")] = "",
    screen_to: Annotated[str, typer.Option("--to", help="First day that is no longer tested on; default: after the file's last.")] = "",
    bar: Annotated[str, typer.Option(help="Length of a bar: 1min, 5min, 1d, or the file's own.")] = "1d",
    policy: Annotated[str, typer.Option(help="What chooses: fdr, seed or none.")] = "fdr",
    persist_bars: Annotated[
        int | None, typer.Option(min=0, help="Bars after --to in which picks must prove themselves; default: as many.")
    ] = None,
    bars_min: Annotated[int, typer.Option(min=40, help="Bars that a symbol, and a pair in common, must have.")] = BARS_MIN,
    lags_max: Annotated[int | None, typer.Option(min=0, help="Most lags that AIC chooses from; default: 12 (T / 100)^(1/4).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Test every pair: cointegration both ways, false-discovery control, hedge ratios, and persistence on the next span."""
    if policy not in POLICIES:
        raise BadSetting(f"--policy {policy}: allowed are {', '.join(POLICIES)}")
    config_dir = settings_module.load().config_dir
    name = _sector(sector)
    request = ScreenRequest(
        data=data,
        sector=name,
        sector_symbols=() if name is None else load_sectors(config_dir).sectors.get(name, ()),
        bar=bar,
        from_ns=midnight_ns(screen_from) if screen_from else None,
        to_ns=midnight_ns(screen_to) if screen_to else None,
        persist_bars=persist_bars,
        bars_min=bars_min,
    )
    options = load_options(config_dir / "training.yaml")
    rules = ScreenRules(
        policy=policy,
        bars_min=bars_min,
        lags_max=lags_max,
        fdr=FdrRule(**options.screening.model_dump(include=set(FdrRule.__slots__))),
        seed=SeedRule(cost_bps=options.cost_bps, bars_min=bars_min),
    )
    with _progress_bar() as progress:
        table, document = screened(request, rules, progress)
    write(out, table, document)
    if as_json:
        print_json(document)
    else:
        _show(document)
    remark(f"{len(table.pairs)} pairs written to {out}")


def _show(document: dict[str, Any]) -> None:
    """Print the summary for people."""
    tests = document["tests"]
    facts = {
        "data": f"{document['data']}, {document['bar']} bars, {document['from'][:10]} to {document['to'][:10]} ({document['bars']} bars)",
        "symbols": f"{document['symbols']} tested, {len(document['rejected'])} left out",
        "pairs": f"{document['pairs']}, of which not tested: {_counts(document['pairs_untested'])}",
        "tests": f"{tests} (both directions)",
        "p < 0.05": f"{document['below_5pct']} ({_share(document['below_5pct'], tests)}); by chance {document['below_5pct_by_chance']:.0f} "
        f"(5 %), of random walks of this length {document['below_5pct_of_random_walks']:.0f} ({document['size_of_the_test']:.1%})",
    }
    following = document["next"]
    facts["next span"] = (
        f"{following['from'][:10]} to {following['to'][:10]} ({following['bars']} bars), {following['measured']} pairs measured, "
        f"{len(following['rejected'])} symbols left out there"
        if following
        else "none: the file ends with the span, or holds too little after it"
    )
    print_facts(facts)
    if document["rejected"]:
        print_table(("symbol", "left out for", "found"), [tuple(r.values()) for r in document["rejected"]])
    rows = [
        (name, str(found["picks"]), str(found["measured"]), *_rates(found), _percent(found["persist_frozen_share"]))
        for name, found in document["policies"].items()
    ]
    counts = ("picks", "measured", "persist", "share", "with its hedge ratio")
    print_table(("pairs", *counts), rows, right=counts, title="How many still pass p < 0.05 in the next span")
    if document["chosen"]:
        numbers = ("p", "q", "half-life", "correlation", "beta", "next p")
        print_table(
            ("chosen", *numbers),
            [_row(found) for found in document["chosen"]],
            right=numbers,
        )


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    numbers = (f"{found['p_value']:.2g}", f"{found['q_value']:.2g}", f"{found['half_life_bars']:.1f}", f"{found['correlation']:.2f}")
    return (found["pair"], *numbers, f"{found['beta']:.3f}", "" if found["next_p"] is None else f"{found['next_p']:.3f}")


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in found.items()) or "0"


def _share(count: int, whole: int) -> str:
    return f"{count / whole:.1%}" if whole else "-"


def _rates(found: dict[str, Any]) -> tuple[str, str]:
    return (str(found["persist"]) if found["measured"] else "-", _percent(found["persist_share"]))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """A bar for each kind of work on stderr, where that is a terminal."""
    from rich.console import Console  # noqa: PLC0415  (0.1 s, and `--help` does without)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Callable[[int], None]] = {}

        def progress(what: str, done: int, whole: int) -> None:
            if what not in tasks:
                number = bars.add_task(what, total=whole)
                tasks[what] = lambda completed: bars.update(number, completed=completed)
            tasks[what](done)

        yield progress


def _sector(text: str) -> SectorId | None:
    if not text:
        return None
    try:
        return sector_id("-".join(text.lower().split()))
    except ValueError as error:
        raise BadSetting(f"--sector: {error}") from error
