"""`tandem rebaseline`: the pre-market run of all active sectors, once (a CronJob's way) or every day (a daemon's)."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from tandem import settings as settings_module
from tandem.domain.errors import BadSetting, Transient
from tandem.domain.ids import SectorId, sector_id
from tandem.domain.units import NS_PER_S, ns_of, utc
from tandem.settings import Settings

if TYPE_CHECKING:
    from tandem.adapters.market_file import MarketData
    from tandem.trainer.rebaseline import Run, Setup

_POSTGRES = "postgres"
_SESSIONS = {"1d": 1260, "5min": 250, "1min": 60}  # five years, one year, one quarter: enough for the hold-out, soon enough trained
_RETRY_NS = 900 * NS_PER_S  # after a failure, while the day's session has not closed
_WAIT_S_MAX = 60.0  # the clock may be set, or the machine may have slept


def rebaseline(
    *,
    sector: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all active sectors.")] = None,
    data: Annotated[str, typer.Option(help="A Parquet file, or `postgres` for the recorded bars.")] = _POSTGRES,
    bar: Annotated[str, typer.Option(help="1min, 5min or 1d.")] = "1d",
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Train on the last so many; default: 1260 of 1d, 250 of 5min, 60 of 1min.")
    ] = None,
    source: Annotated[str, typer.Option(help="Label of the recorded bars and forecasts; default: TANDEM_SOURCE.")] = "",
    replay_id: Annotated[str, typer.Option(help="Of recycled bars and forecasts.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Run for today and leave; the default.")] = False,
    daemon: Annotated[bool, typer.Option("--daemon", help="Run each day at 06:00 in New York until stopped.")] = False,
    weekly: Annotated[bool, typer.Option("--weekly", help="Train whether or not a need is found.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Decide again on a day that is decided.")] = False,
    at: Annotated[str, typer.Option(help="Run as if it were this time, ISO 8601 with zone; for tests and to catch up on a day.")] = "",
    tracking_uri: Annotated[str, typer.Option(help="MLflow server; default: MLFLOW_TRACKING_URI.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a candidate for each sector that needs one, register it if every gate passes, and store why or why not."""
    if daemon and (once or at or force):
        raise BadSetting("--daemon goes on from day to day: --once, --at and --force are for a single run")
    settings = settings_module.load()
    setup = _setup(settings, data=data, bar=bar, sessions=sessions, source=source, replay_id=replay_id, tracking_uri=tracking_uri)
    names = _sectors(setup, sector)

    def run(now_ns: int) -> "list[Run]":
        return run_day(setup, names, now_ns=now_ns, weekly=weekly, force=force, say=(lambda _: None) if json else typer.echo)

    if daemon:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        serve(run, clock=time.time_ns, stop=stop, say=typer.echo)
        return
    runs = run(_time_ns(at) if at else time.time_ns())
    if json:
        typer.echo(orjson.dumps([_document(one) for one in runs], option=orjson.OPT_INDENT_2).decode())
    if any(one.outcome == "failed" for one in runs):
        raise typer.Exit(1)


def run_day(
    setup: "Setup", sectors: Sequence[SectorId], *, now_ns: int, weekly: bool, force: bool, say: Callable[[str], Any]
) -> "list[Run]":
    """The run of the day that `now_ns` is in, sector by sector; then rankings and trends as of then. Raises Transient without Postgres."""
    # Here, because torch takes seconds to import and `tandem rebaseline --help` needs none of it.
    from tandem.adapters.model_history import ModelHistory  # noqa: PLC0415
    from tandem.adapters.postgres import upgrade  # noqa: PLC0415
    from tandem.trainer.rebaseline import rebaseline as decide  # noqa: PLC0415
    from tandem.trainer.rebaseline import told  # noqa: PLC0415
    from tandem.trainer.schedule import day_of, occasion  # noqa: PLC0415

    upgrade(setup.postgres_url)
    day = occasion(day_of(now_ns))
    runs = []
    for name in sectors:
        one = decide(setup, name, day, now_ns=now_ns, weekly=weekly, force=force)
        say(told(one))
        runs.append(one)
    if any(one.decision is not None for one in runs):
        history = ModelHistory(setup.postgres_url)
        history.refresh_rankings(now_ns)
        history.refresh_trends(now_ns)
    return runs


def serve(run: "Callable[[int], list[Run]]", *, clock: Callable[[], int], stop: threading.Event, say: Callable[[str], Any]) -> None:
    """Run whenever it is past 06:00 in New York on a day that is not done, until `stop` is set.

    A daemon that starts late catches up on its day. After a failure it tries again, as long as the day's session has not closed.
    """
    from tandem.trainer.schedule import day_of, next_run_ns, occasion, run_ns  # noqa: PLC0415  (see run_day)

    due_ns = 0  # at once: what is decided already is not done again
    while not stop.is_set():
        now_ns = clock()
        if now_ns < max(due_ns, run_ns(day_of(now_ns))):
            stop.wait(min(_WAIT_S_MAX, (max(due_ns, run_ns(day_of(now_ns))) - now_ns) / NS_PER_S))
            continue
        try:
            failed = any(one.outcome == "failed" for one in run(now_ns))
        except Transient as error:
            say(f"no run: {error}")
            failed = True
        due_ns = next_run_ns(now_ns)
        if failed and now_ns + _RETRY_NS < occasion(day_of(now_ns)).close_ns:
            due_ns = min(due_ns, now_ns + _RETRY_NS)
        say(f"next run at {utc(due_ns).isoformat()}")


def _setup(settings: Settings, *, data: str, bar: str, sessions: int | None, source: str, replay_id: str, tracking_uri: str) -> "Setup":
    from tandem.adapters.config_files import load_pairs, load_sectors  # noqa: PLC0415  (see run_day)
    from tandem.trainer.options import load_options  # noqa: PLC0415
    from tandem.trainer.rebaseline import Setup  # noqa: PLC0415

    postgres_url = settings.postgres_url.get_secret_value()
    tracking_uri = tracking_uri or settings.mlflow_tracking_uri
    missing = [name for name, value in (("TANDEM_POSTGRES_URL", postgres_url), ("MLFLOW_TRACKING_URI", tracking_uri)) if not value]
    if missing:
        raise BadSetting(f"{' and '.join(missing)} not set: decisions are stored in Postgres, candidates in MLflow")
    if bar not in _SESSIONS:
        raise BadSetting(f"bar {bar!r}: allowed are {', '.join(_SESSIONS)}")
    source = source or settings.source
    declared: dict[SectorId, tuple[Any, ...]] = {}
    for spec in load_pairs(settings.config_dir):
        declared[spec.sector] = (*declared.get(spec.sector, ()), spec.pair)
    return Setup(
        postgres_url=postgres_url,
        tracking_uri=tracking_uri,
        sectors=load_sectors(settings.config_dir),
        declared=declared,
        options=load_options(settings.config_dir / "training.yaml"),
        bar=bar,
        market=_market(postgres_url, data, bar, source, replay_id),
        data_source=source if data == _POSTGRES else "file",
        source=source,
        replay_id=replay_id,
        sessions=sessions or _SESSIONS[bar],
    )


def _market(postgres_url: str, data: str, bar: str, source: str, replay_id: str) -> "Callable[[Sequence[Any], int, int], MarketData]":
    from tandem.adapters.bar_history import load_postgres_market  # noqa: PLC0415  (see run_day)
    from tandem.adapters.market_file import load_market_data  # noqa: PLC0415

    if data == _POSTGRES:
        return lambda symbols, from_ns, to_ns: load_postgres_market(
            postgres_url, symbols, bar, from_ns, to_ns, source=source, replay_id=replay_id
        )
    # All symbols of the file: which of them a sector uses is decided where the panel is made.
    return lambda _symbols, from_ns, to_ns: load_market_data(Path(data), from_ns=from_ns, to_ns=to_ns, drop_bad=True)


def _sectors(setup: "Setup", named: list[str] | None) -> tuple[SectorId, ...]:
    known = setup.sectors.sectors
    try:
        wanted = tuple(dict.fromkeys(map(sector_id, named or setup.sectors.active)))
    except ValueError as error:
        raise BadSetting(str(error)) from error
    if unknown := [name for name in wanted if name not in known]:
        raise BadSetting(f"sector {', '.join(unknown)}: known are {', '.join(known)}")
    return wanted


def _time_ns(text: str) -> int:
    try:
        return ns_of(datetime.fromisoformat(text))
    except ValueError as error:
        raise BadSetting(f"--at {text!r}: expected ISO 8601 with a zone, e.g. 2025-07-07T06:00:00-04:00") from error


def _document(run: "Run") -> dict[str, Any]:
    return {"sector": run.sector, "outcome": run.outcome, "reason": run.reason} | (
        {"decision": asdict(run.decision)} if run.decision is not None else {}
    )
