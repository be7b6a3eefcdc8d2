"""A download cut into parts by time, each fetched whole, kept whole, and found again by what was asked for.

A part is a Parquet file, written under another name and then renamed, so that a file which exists is complete. Called by `tandem download`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.market_sales import codes_text
from tandem.adapters.new_york import NEW_YORK
from tandem.domain.errors import BadRecord
from tandem.domain.ids import Symbol, short_hash
from tandem.domain.units import ns_of, rfc3339, utc

TRADES = "trades"
TIMEFRAMES = {"1min": "1Min", "5min": "5Min", "1d": "1Day", TRADES: ""}
ADJUSTMENTS = ("raw", "split", "dividend", "all")
_MONTHS_UPTO_SYMBOLS = 50  # a month of their minutes is 400,000 rows; with more symbols a part is a day
_SYMBOLS_A_REQUEST = 200
_TRADES = pa.schema(
    [
        ("symbol", pa.string()),
        ("ts", pa.timestamp("ns", "UTC")),
        ("price", pa.float64()),
        ("size", pa.int64()),
        ("trade_id", pa.int64()),
        ("conditions", pa.string()),
        ("tape", pa.string()),
    ]
)
_BARS = pa.schema(
    [
        ("symbol", pa.string()),
        ("ts", pa.timestamp("ns", "UTC")),
        *((name, pa.float64()) for name in ("open", "high", "low", "close")),
        ("volume", pa.int64()),
        ("trades", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is downloaded. from_ns, until_ns: [from, until)."""

    symbols: tuple[Symbol, ...]
    timeframe: str
    adjustment: str
    feed: str
    from_ns: int
    until_ns: int

    @property
    def schema(self) -> pa.Schema:
        """The columns of a part: those that the recycler and `tandem backtest` read."""
        return _TRADES if self.timeframe == TRADES else _BARS


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A span of a download. key: the same for the same question, and for no other."""

    name: str
    key: str
    from_ns: int
    until_ns: int


def parts_of(wanted: Wanted) -> list[Part]:
    """The parts in order of time, cut at midnights of New York: years of days, months or days of the rest."""
    edges = [utc(wanted.from_ns).astimezone(NEW_YORK)]
    until = utc(wanted.until_ns).astimezone(NEW_YORK)
    while (following := _next_edge(edges[-1], wanted)) < until:
        edges.append(following)
    return [
        Part(
            name=f"{begin:%Y-%m-%d}",
            key=short_hash(wanted.timeframe, wanted.adjustment, wanted.feed, *wanted.symbols, ns_of(begin), ns_of(end)),
            from_ns=ns_of(begin),
            until_ns=ns_of(end),
        )
        for begin, end in zip(edges, [*edges[1:], until], strict=True)
    ]


def _next_edge(moment: datetime, wanted: Wanted) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if wanted.timeframe == "1d":
        return day.replace(year=day.year + 1, month=1, day=1)
    if wanted.timeframe == TRADES or len(wanted.symbols) > _MONTHS_UPTO_SYMBOLS:
        return (day + timedelta(days=1)).replace(hour=0)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def part_file(folder: Path, wanted: Wanted, part: Part) -> Path:
    """Where a part is kept."""
    return folder / "parts" / f"{wanted.timeframe}-{part.name}-{part.key}.parquet"


def fetch(history: MarketHistory, wanted: Wanted, part: Part, file: Path) -> int:
    """Fetch a part into its file; the rows. Raises Transient, Permanent, BadRecord; then there is no file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    rows = 0
    with pq.ParquetWriter(unfinished, wanted.schema, compression="zstd") as writer:
        for table in _trades(history, wanted, part) if wanted.timeframe == TRADES else _bars(history, wanted, part):
            writer.write_table(table)
            rows += table.num_rows
    unfinished.replace(file)
    return rows


def joined(files: Sequence[Path], wanted: Wanted, target: Path) -> int:
    """All parts as one file in order of time, a part in memory at a time; the rows."""
    unfinished = target.with_suffix(".unfinished")
    rows = 0
    with pq.ParquetWriter(unfinished, wanted.schema, compression="zstd") as writer:
        for file in files:
            table = pq.read_table(file, schema=wanted.schema)
            writer.write_table(table)
            rows += table.num_rows
    unfinished.replace(target)
    return rows


def _requests(wanted: Wanted) -> Iterator[tuple[Symbol, ...]]:
    return (wanted.symbols[start : start + _SYMBOLS_A_REQUEST] for start in range(0, len(wanted.symbols), _SYMBOLS_A_REQUEST))


def _bars(history: MarketHistory, wanted: Wanted, part: Part) -> Iterator[pa.Table]:
    """The part's bars as one table in order of time, then symbol."""
    tables = []
    for symbols in _requests(wanted):
        query = {
            "symbols": ",".join(symbols),
            "timeframe": TIMEFRAMES[wanted.timeframe],
            "adjustment": wanted.adjustment,
            "start": rfc3339(part.from_ns),
            "end": rfc3339(part.until_ns - 1),
        }
        for page in history.pages("/stocks/bars", "bars", query):
            tables += [_bar_table(symbol, bars) for symbol, bars in sorted(page.items()) if bars]
    if tables:
        yield pa.concat_tables(tables).sort_by([("ts", "ascending"), ("symbol", "ascending")])


def _bar_table(symbol: str, bars: Sequence[dict[str, Any]]) -> pa.Table:
    try:
        columns = {
            "symbol": [symbol] * len(bars),
            "ts": _times(bars),
            **{name: [float(bar[name[0]]) for bar in bars] for name in ("open", "high", "low", "close")},
            "volume": [int(bar["v"]) for bar in bars],
            "trades": [int(bar.get("n") or 0) for bar in bars],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord("bar_malformed", f"{symbol}: {error!r} in the answer of history") from error
    return pa.table(columns, schema=_BARS)


def _trades(history: MarketHistory, wanted: Wanted, part: Part) -> Iterator[pa.Table]:
    """The part's trades a slice at a time; what was taken back is left out."""
    for symbols in _requests(wanted):
        for each in history.trades(symbols, part.from_ns, part.until_ns):
            kept = [row for row in each.messages if row["T"] == "t"]
            if not kept:
                continue
            try:
                columns = {
                    "symbol": [str(row["S"]) for row in kept],
                    "ts": np.array([row["t"] for row in kept], np.int64).astype("datetime64[ns]"),
                    "price": [float(row["p"]) for row in kept],
                    "size": [int(row["s"]) or int(row["s"] > 0) for row in kept],  # as live: less than one share is one
                    "trade_id": [int(row["i"]) for row in kept],
                    "conditions": [codes_text(row.get("c")) for row in kept],
                    "tape": [str(row.get("z") or "") for row in kept],
                }
            except (KeyError, TypeError, ValueError) as error:
                raise BadRecord("trade_malformed", f"{error!r} in the answer of history") from error
            yield pa.table(columns, schema=_TRADES)


def _times(rows: Sequence[dict[str, Any]]) -> Any:
    return np.array([str(row["t"]).removesuffix("Z") for row in rows], "datetime64[ns]")
