"""`tandem download`: history of some symbols through alpaca-py, into Parquet files and into Postgres; goes on where it was broken off."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, TypeVar

import pyarrow.parquet as pq
import typer

from tandem import settings as settings_module
from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.alpaca_market import data_feed
from tandem.adapters.config_files import load_sectors
from tandem.adapters.history_parts import ADJUSTMENTS, TIMEFRAMES, TRADES, Part, Wanted, fetch, joined, part_file, parts_of
from tandem.adapters.history_rows import Origin, store_part, stored_parts
from tandem.adapters.new_york import midnight_ns
from tandem.adapters.postgres import upgrade
from tandem.adapters.replay_control import ReplayControl
from tandem.cli.output import print_json, remark
from tandem.cli.running import postgres_url
from tandem.domain.errors import BadSetting, Permanent, Transient
from tandem.domain.ids import SectorId, Symbol, symbol
from tandem.domain.market import Source
from tandem.settings import Settings

T = TypeVar("T")
_PAUSES_S = (1.0, 3.0, 10.0, 30.0, 60.0)  # between tries of one request; Alpaca's limits count by the minute


def download(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols, e.g. KO PEP.")] = None,
    *,
    sector: Annotated[str, typer.Option(help="All symbols of this sector of config/sectors.yaml, besides those named.")] = "",
    first_day: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD in New York.")],
    end_day: Annotated[str, typer.Option("--to", help="First day that is no longer wanted; default: up to now.")] = "",
    timeframe: Annotated[str, typer.Option(help="1min, 5min, 1d, or trades.")] = "1min",
    adjustment: Annotated[str, typer.Option(help="raw, split, dividend or all; Postgres takes raw only.")] = "raw",
    out: Annotated[Path | None, typer.Option(help="Folder for Parquet: parts/, and one file of all of them.")] = None,
    postgres: Annotated[bool, typer.Option("--postgres", help="Into the table bars.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> None:
    """Fetch bars or trades of the past, from Alpaca or from whatever TANDEM_ALPACA_HISTORY_URL names.

    A part that was fetched is not fetched again: the same command goes on where it was broken off.
    """
    settings = settings_module.load()
    wanted = _wanted(
        settings,
        symbols=_symbols(settings, symbols or [], sector),
        timeframe=timeframe,
        adjustment=adjustment,
        span=(midnight_ns(first_day), midnight_ns(end_day) if end_day else time.time_ns()),
    )
    if out is None and not postgres:
        raise BadSetting("nowhere to put it: name a folder with --out, or say --postgres")
    if postgres and (timeframe == TRADES or adjustment != "raw"):
        raise BadSetting("--postgres takes raw bars: the table bars is what services trade on")
    history = _history(settings)
    try:
        origin = _origin(settings)
        done: dict[str, object] = {"source": origin.source.value, "replay_id": origin.replay_id}
        if out is not None:
            file, rows = _to_files(history, wanted, out, origin)
            done |= {"file": str(file), "rows": rows}
        if postgres:
            done["bars_added"] = _to_postgres(history, wanted, postgres_url(settings), origin, out)
    finally:
        history.close()
    if json:
        print_json(done)
        return
    if "file" in done:
        typer.echo(f"{done['file']}: {done['rows']:,} rows")
    if postgres:
        typer.echo(f"{done['bars_added']:,} bars added as {origin.source.value} {origin.replay_id}".rstrip())


def _to_files(history: MarketHistory, wanted: Wanted, out: Path, origin: Origin) -> tuple[Path, int]:
    """The file of all parts, and its rows."""
    files = []
    parts = parts_of(wanted)
    for number, part in enumerate(parts, 1):
        file = part_file(out, wanted, part)
        files.append(file)
        if file.is_file():
            remark(f"{number}/{len(parts)} {part.name}: there already")
            continue
        rows = _patiently(lambda part=part, file=file: fetch(history, wanted, part, file))  # type: ignore[misc]
        remark(f"{number}/{len(parts)} {part.name}: {rows:,} rows")
    label = "" if origin.source is Source.LIVE else f"-{origin.source.value}"
    target = out / f"{wanted.timeframe}{label}.parquet"
    return target, joined(files, wanted, target)


def _to_postgres(history: MarketHistory, wanted: Wanted, url: str, origin: Origin, out: Path | None) -> int:
    """How many bars are new in the table."""
    upgrade(url)
    there, added = stored_parts(url, origin), 0
    parts = parts_of(wanted)
    for number, part in enumerate(parts, 1):
        if part.key in there:
            remark(f"{number}/{len(parts)} {part.name}: stored already")
            continue
        new = _store(history, wanted, part, url, origin=origin, folder=out)
        added += new
        remark(f"{number}/{len(parts)} {part.name}: {new:,} bars stored")
    return added


def _store(history: MarketHistory, wanted: Wanted, part: Part, url: str, *, origin: Origin, folder: Path | None) -> int:
    """A part from its file where it was just fetched, else by way of a file that goes again."""

    with tempfile.TemporaryDirectory(prefix="tandem-download-") as passing:
        file = part_file(folder or Path(passing), wanted, part)
        if not file.is_file():
            _patiently(lambda: fetch(history, wanted, part, file))
        table = pq.read_table(file)
    return _patiently(lambda: store_part(url, wanted, part, table, origin))


def _patiently(work: Callable[[], T]) -> T:
    """The result, tried again while the other side is away or wants us to wait."""
    for pause_s in _PAUSES_S:
        try:
            return work()
        except Transient as error:
            remark(f"waiting {pause_s:g} s: {error}")
            time.sleep(pause_s)
    return work()


def _wanted(settings: Settings, *, symbols: tuple[Symbol, ...], timeframe: str, adjustment: str, span: tuple[int, int]) -> Wanted:
    faults = []
    if timeframe not in TIMEFRAMES:
        faults.append(f"--timeframe {timeframe}: allowed are {', '.join(TIMEFRAMES)}")
    if adjustment not in ADJUSTMENTS:
        faults.append(f"--adjustment {adjustment}: allowed are {', '.join(ADJUSTMENTS)}")
    if not symbols:
        faults.append("no symbols: name them, or a sector with --sector")
    if span[0] >= span[1]:
        faults.append("--to must be after --from")
    if faults:
        raise BadSetting("; ".join(faults))
    data_feed(settings.alpaca_feed)
    return Wanted(symbols=symbols, timeframe=timeframe, adjustment=adjustment, feed=settings.alpaca_feed, from_ns=span[0], until_ns=span[1])


def _symbols(settings: Settings, named: list[str], sector: str) -> tuple[Symbol, ...]:
    found = set(named)
    if sector:
        sectors = load_sectors(settings.config_dir).sectors
        if sector not in sectors:
            raise BadSetting(f"--sector {sector}: known are {', '.join(sectors)}")
        found |= set(sectors[SectorId(sector)])
    try:
        return tuple(sorted(symbol(name.upper()) for name in found))
    except ValueError as error:
        raise BadSetting(str(error)) from error


def _history(settings: Settings) -> MarketHistory:
    key, secret = settings.alpaca_key_id.get_secret_value(), settings.alpaca_secret_key.get_secret_value()
    if not key or not secret:
        raise BadSetting("TANDEM_ALPACA_KEY_ID and TANDEM_ALPACA_SECRET_KEY are not set (any text for a recycler)")
    return MarketHistory(key_id=key, secret_key=secret, feed=settings.alpaca_feed, url=settings.alpaca_history_url or None)


def _origin(settings: Settings) -> Origin:
    """What the other side is: Alpaca, or a recycler, which says which replay it plays."""
    if not settings.alpaca_history_url:
        return Origin(source=Source.LIVE, replay_id="")
    key, secret = settings.alpaca_key_id.get_secret_value(), settings.alpaca_secret_key.get_secret_value()
    try:
        with closing(ReplayControl(settings.alpaca_history_url, key_id=key, secret_key=secret, name="download")) as control:
            return Origin(source=Source.RECYCLED, replay_id=control.status().replay_id)
    except (BadSetting, Permanent):
        return Origin(source=Source.LIVE, replay_id="")
