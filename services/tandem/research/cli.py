"""`tandem research`: the volatility protocols on a file, scored and written as a report.

Decides which protocol gets which options; the protocols compute, research/report.py writes. Each is imported when it is asked for: torch
takes seconds, and `--help` needs none of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tandem import settings as settings_module
from tandem.adapters.config_files import load_sectors
from tandem.adapters.new_york import midnight_ns
from tandem.domain.errors import BadSetting
from tandem.domain.ids import sector_id
from tandem.research.daily_table import parse_day
from tandem.research.records import ProtocolResult
from tandem.trainer.options import load_options

_QUICK_SEEDS, _QUICK_PAIRS = 3, 5
Progress = Callable[[str, int, int], None]  # what runs, steps done, steps in all

Json = Annotated[bool, typer.Option("--json", help="Print the report itself, as JSON, instead of its table.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def research() -> None:
    """Measured comparisons of forecasts on recorded data. Nothing here trades, trains for serving or registers anything."""


class Protocol(StrEnum):
    """Which comparison."""

    PAPER = "paper"
    SPX = "spx"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """The command line, checked."""

    data: Path | None
    test_from: np.datetime64 | None
    test_to: np.datetime64 | None
    seeds: int | None
    seed: int | None
    quick: bool
    definition: str
    sector: str
    bar: str
    pairs_max: int

    def wanted(self, protocol: Protocol) -> tuple[Path, np.datetime64, np.datetime64]:
        """File and test days, of a protocol that cannot do without. Raises BadSetting with all that is missing."""
        if self.data is None or self.test_from is None or self.test_to is None:
            given = {"--data": self.data, "--test-from": self.test_from, "--test-to": self.test_to}
            missing = ", ".join(name for name, value in given.items() if value is None)
            raise BadSetting(f"--protocol {protocol}: {missing} missing, only paper has a default for each")
        return self.data, self.test_from, self.test_to


@app.command()
def volatility(
    *,
    protocol: Annotated[
        Protocol,
        typer.Option(help="paper: five-day volatility of indices. spx: an index's realised variance. spread: variance of pair spreads."),
    ],
    out: Annotated[Path, typer.Option(help="The report, *.json; its table (.md) and figure (.png) go beside it.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or CSV. spx: date, rv5, open_to_close (daily fractions). paper: date, close, with several indices also index; "
            "default: the closes inside the package arch. spread: any market file."
        ),
    ] = None,
    test_from: Annotated[str, typer.Option(help="First test day, YYYY-MM-DD; paper by default: 252 labels before the last.")] = "",
    test_to: Annotated[str, typer.Option(help="Last test day, INCLUDED; what is later is not read. paper: default the data's last.")] = "",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Networks of different seeds; default: paper 20, spx 10, spread as config/spread.yaml.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first of them; default: paper 1, spx 0, spread as the file.")] = None,
    quick: Annotated[bool, typer.Option(help="Few seeds and short training, to see that it runs: not for results.")] = False,
    definition: Annotated[str, typer.Option(help="paper: rms (root mean square) or std (standard deviation) of five days.")] = "rms",
    sector: Annotated[str, typer.Option(help="spread: only this sector; default: all that the file or the configuration names.")] = "",
    bar: Annotated[str, typer.Option(help="spread: length of a bar.")] = "1d",
    pairs_max: Annotated[int, typer.Option(min=1, help="spread: pairs of each sector, the most correlated before the test.")] = 30,
    json: Json = False,
) -> None:
    """Forecasts of every model and its baselines on the same test days: QLIKE, MSE, R2, Diebold-Mariano, confidence set, tails."""
    from tandem.research.report import check_target, write_report  # noqa: PLC0415  (see above)

    check_target(out)  # before hours of work
    request = _Request(
        data=data,
        test_from=parse_day(test_from, "--test-from") if test_from else None,
        test_to=parse_day(test_to, "--test-to") if test_to else None,
        seeds=seeds,
        seed=seed,
        quick=quick,
        definition=definition,
        sector=sector,
        bar=bar,
        pairs_max=pairs_max,
    )
    if request.test_from is not None and request.test_to is not None and request.test_from > request.test_to:
        raise BadSetting(f"--test-from {test_from} is after --test-to {test_to}")
    with _progress() as progress:
        result = {Protocol.PAPER: _paper, Protocol.SPX: _spx, Protocol.SPREAD: _spread}[protocol](request, progress)
    files = write_report(result, out)
    typer.echo(out.read_text().rstrip() if json else files.summary)
    typer.echo(f"{files.document}, {files.markdown.name}, {files.figure.name}", err=True)


@app.command()
def gates(
    *,
    out: Annotated[Path, typer.Option(help="The report, *.json; its tables (.md) go beside it.")],
    replicates: Annotated[int, typer.Option(min=1, help="Rollouts simulated in each world.")] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the first world; each later one has the next.")] = 20260101,
    bars_min: Annotated[int | None, typer.Option(min=20, help="Bars before a verdict; default: the policy's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Any market file: versions refitted on it are compared, too.")] = None,
    test_from: Annotated[str, typer.Option(help="With --data: first day that is judged, YYYY-MM-DD.")] = "",
    test_to: Annotated[str, typer.Option(help="With --data: last one, INCLUDED.")] = "",
    json: Json = False,
) -> None:
    """How often the gate of a rollout lets a worse version pass, and how soon it sees a difference: simulated, and on recorded prices."""
    from tandem.research import gate_report  # noqa: PLC0415  (see above)
    from tandem.research.report import check_target  # noqa: PLC0415  (with it)

    check_target(out)
    if data is not None and not (test_from and test_to):
        raise BadSetting("--data: --test-from and --test-to are missing")
    universe = None
    if data is not None:
        universe = gate_report.universe(
            data, test_from_ns=midnight_ns(str(parse_day(test_from, "--test-from"))), test_to_ns=_after(test_to), config=_config_dir()
        )
    with _progress() as progress:
        table = gate_report.write(
            out, replicates=replicates, seed=seed, bars_min=bars_min, universe=universe, config=_config_dir(), progress=progress
        )
    typer.echo(out.read_text().rstrip() if json else table)


def _after(day: str) -> int:
    return midnight_ns(str(parse_day(day, "--test-to") + np.timedelta64(1, "D")))


def _config_dir() -> Path:
    return settings_module.load().config_dir


def _paper(request: _Request, progress: Progress) -> ProtocolResult:
    from dataclasses import replace  # noqa: PLC0415  (only here)

    from tandem.research import paper  # noqa: PLC0415  (torch)
    from tandem.research.paper_data import Definition  # noqa: PLC0415  (with it)

    if request.definition not in list(Definition):
        raise BadSetting(f"--definition {request.definition}: allowed are {', '.join(Definition)}")
    definition = Definition(request.definition)
    plan = paper.quick_plan(definition) if request.quick else paper.PaperPlan(definition=definition)
    first = 1 if request.seed is None else request.seed
    plan = replace(plan, seeds=tuple(range(first, first + (request.seeds or len(plan.seeds)))))
    return paper.run(request.data, test_from=request.test_from, test_to=request.test_to, plan=plan, progress=progress)


def _spx(request: _Request, progress: Progress) -> ProtocolResult:
    from tandem.research import spx  # noqa: PLC0415  (torch)
    from tandem.research.spx_data import read_table  # noqa: PLC0415  (with it)

    data, test_from, test_to = request.wanted(Protocol.SPX)
    seeds = request.seeds or (_QUICK_SEEDS if request.quick else spx.SEEDS)
    return spx.run(read_table(data), test_from=test_from, test_to=test_to, seeds=seeds, seed=request.seed or 0, progress=progress)


def _spread(request: _Request, progress: Progress) -> ProtocolResult:
    from tandem.research import spread  # noqa: PLC0415  (torch)
    from tandem.research.spread_universe import SpreadRequest, load_spreads  # noqa: PLC0415  (with it)

    data, test_from, test_to = request.wanted(Protocol.SPREAD)
    config_dir = settings_module.load().config_dir
    options = load_options(config_dir / "training.yaml", overlay=config_dir / "spread.yaml")
    chosen = {"members": request.seeds or (1 if request.quick else None), "seed": request.seed}
    network = options.network.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    universe = load_spreads(
        SpreadRequest(
            data=data,
            bar=request.bar,
            test_from_ns=midnight_ns(str(test_from)),
            test_to_ns=midnight_ns(str(test_to + np.timedelta64(1, "D"))),
            sectors=load_sectors(config_dir).sectors,
            sector=sector_id(request.sector) if request.sector else None,
            pairs_max=min(request.pairs_max, _QUICK_PAIRS) if request.quick else request.pairs_max,
        )
    )
    return spread.run(
        universe,
        bar=request.bar,
        options=options.model_copy(update={"network": network}),
        on_refit=lambda done, total: progress("refits", done, total),
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr; one line per thing that runs where that is no terminal."""
    from rich.console import Console  # noqa: PLC0415  (0.1 s)
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def report(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield report
