"""`tandem demo`: the whole platform over recorded data, with a live display and a summary at the end."""

import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tandem import settings as settings_module
from tandem.cli.output import print_json
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.units import utc
from tandem.local.demo import Demo, DemoOptions
from tandem.local.endpoints import PORT_BASE
from tandem.local.replay_watch import Progress as ReplayProgress
from tandem.local.report import Report, lines

_CHECK_S = 0.5


def demo(  # noqa: PLR0917  (Typer passes options by name)
    data: Annotated[
        Path | None, typer.Option(help="Parquet of trades, bars or daily closes; without it 20 US stocks, daily, 1990-2022.")
    ] = None,
    replay_from: Annotated[
        str | None,
        typer.Option(
            "--from", help="Start of the replay; training ends here. YYYY-MM-DD; default: 2017-01-01, of --data after 60 % of its sessions."
        ),
    ] = None,
    replay_to: Annotated[str | None, typer.Option("--to", help="End of the replay, exclusive; default: the end of the data.")] = None,
    train_from: Annotated[str | None, typer.Option(help="Start of training; default: 2012-01-01, of --data its first tick.")] = None,
    bar: Annotated[str | None, typer.Option(help="Length of a bar: 1min, 5min or 1d; default: what suits the file.")] = None,
    speed: Annotated[str, typer.Option(help="Times real time, or max: as fast as the services decide.")] = "max",
    pair: Annotated[list[str] | None, typer.Option(help="Declare a further pair, e.g. IBM-SPY; may be repeated.")] = None,
    sector: Annotated[list[str] | None, typer.Option(help="Only this sector; may be repeated.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of training; by default that of config/training.yaml.")] = None,
    home: Annotated[Path, typer.Option(help="Folder of the run; emptied at start if an earlier demo made it.")] = Path("var/demo"),
    port_base: Annotated[int, typer.Option(envvar="TANDEM_PORT_BASE", help="First of the ports that the platform listens on.")] = PORT_BASE,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and everything else on stderr.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With a dashboard, and after the replay everything stays until Ctrl-C.")] = False,
) -> None:
    """Train on the past of recorded data, replay what follows through the whole platform, and report."""
    console = Console(stderr=json, highlight=False)
    options = DemoOptions(
        home=home,
        data=data,
        train_from=train_from,
        replay_from=replay_from,
        replay_to=replay_to,
        bar=bar,
        speed=speed,
        pairs=tuple(pair or ()),
        sectors=tuple(sector or ()),
        seed=seed,
        port_base=port_base,
    )
    try:
        if report is not None and not report.resolve().parent.is_dir():
            raise BadSetting(f"--report {report}: there is no folder {report.resolve().parent}")
        done = _run(console, options, keep=keep)
        if report is not None:
            report.write_bytes(orjson.dumps(done.document(), option=orjson.OPT_INDENT_2))
    except TandemError as error:
        console.print(f"[red]demo:[/red] {error}", markup=True, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("stopped")
        raise typer.Exit(130) from error
    if json:
        print_json(done.document())
    elif not keep:
        _print(console, done)
    if report is not None:
        console.print(f"report: {report}")
    if not done.ledger_equals_broker or done.ticks_replayed != done.ticks_in_kafka:
        raise typer.Exit(1)
    if not (json or keep):
        console.print(f"\nto work with it: {shlex.join(again(options, done))}", markup=False, soft_wrap=True)


def again(options: DemoOptions, report: Report) -> list[str]:
    """The command that starts the platform of an ended demo, over the same days."""
    data = [] if options.data is None else ["--data", str(options.data), "--bar", report.bar]
    return ["tandem", "up", "--home", str(options.home), *data, "--from", str(report.data["replayed"]["from"])[:10], "--detach"]


def _run(console: Console, options: DemoOptions, *, keep: bool) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("starting", total=1.0, note="")

        def say(line: str) -> None:
            console.print(f"[dim]{line}[/dim]", soft_wrap=True)

        def show(now: ReplayProgress) -> None:
            day = "" if now.event_ns is None else f"{utc(now.event_ns):%Y-%m-%d %H:%M} UTC"
            note = f"{now.ticks:,} ticks"
            if now.equity_usd is not None:
                note += f", {now.open_pairs} pairs open, equity {float(now.equity_usd):,.0f} USD"
            if now.waiting_for and now.state == "late":
                note += f", waiting for {', '.join(now.waiting_for)}"
            display.update(task, completed=now.share, description=f"replay {day}", note=note)

        def stay(report: Report, check: Callable[[], None]) -> None:
            display.stop()
            _print(console, report)
            console.print("everything stays up: Ctrl-C stops it")
            with suppress(KeyboardInterrupt):
                while True:
                    check()
                    time.sleep(_CHECK_S)

        return Demo(options=options, settings=settings_module.load(), say=say, show=show, keep=stay if keep else None).run()


def _print(console: Console, report: Report) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, text in lines(report):
        table.add_row(f"[bold]{label}[/bold]", text)
    console.print()
    console.print(table)
