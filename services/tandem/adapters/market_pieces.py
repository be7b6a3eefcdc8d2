"""Recorded market data read piece by piece, so that a file of any size needs the memory of one piece. What the kinds of files mean.

Besides the kinds that adapters/market_file.py reads as a whole (trades, bars, closes, wide closes) there are two that a replay needs:
  quotes   symbol, ts, bid, bid_size, ask, ask_size   (a side that is not there has price 0)
  events   symbol, ts, event, and the columns that its events use: price, size, trade_id, low, high, reason
           event: halt, resume, short_restriction, short_restriction_end, band, correction, cancel
A file of trades may have a column trade_id; without it the rows of a symbol are counted; and conditions and tape (market_sales.py), without
which every trade sets prices. Called by adapters/tick_store.py only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.adapters.market_columns import Columns
from tandem.adapters.market_file import ALLOWED, BAR_DTYPE, TRADE_ID_MAX, sessions_of, symbol_column
from tandem.adapters.market_sales import Sale, flags_of, sale_columns, sales_of
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    TICK_DTYPE,
)
from tandem.domain.units import NS_PER_MS

PIECE_ROWS = 131_072  # read at once: some tens of MB with everything that is made of them
_READ_BYTES = 1 << 20  # of a column at a time, however large a row group is
_SIZE_MAX = int(np.iinfo(TICK_DTYPE["size"]).max)
_SYMBOLS_MAX = 65_535  # TICK_DTYPE counts symbols in 16 bits
COUNTED = -1  # trade_id of a row whose file has no ids: numbered after the merge
_REASONS_MAX = 4_096
_SALES_MAX = 4_096  # different tapes and codes; a day of the consolidated tape has some hundred
ROW_DTYPE = np.dtype([("tick", TICK_DTYPE)])
SALE_ROW_DTYPE = np.dtype([("tick", TICK_DTYPE), ("sale", "<u2")])  # of trades with conditions: the number in Names.sales
BAR_ROW_DTYPE = np.dtype([("tick", TICK_DTYPE), ("bar", BAR_DTYPE), ("row", "<i8")])
Rows = NDArray[np.void]

_BARS = ("open", "high", "low", "close", "volume")
_QUOTES = ("bid", "bid_size", "ask", "ask_size")
_ALLOWED_MORE = "quotes (symbol, ts, bid, bid_size, ask, ask_size) or events (symbol, ts, event, ...)"
_EVENT_VALUES = ("price", "size", "trade_id", "low", "high")


class FileKind(StrEnum):
    """What a file holds."""

    TRADES = "trades"
    BARS = "bars"
    CLOSES = "closes"
    WIDE = "wide"
    QUOTES = "quotes"
    EVENTS = "events"


BARRED = (FileKind.BARS, FileKind.CLOSES, FileKind.WIDE)  # one row for each symbol and time


class Happening(StrEnum):
    """What an events file may name."""

    HALT = "halt"
    RESUME = "resume"
    SHORT_RESTRICTION = "short_restriction"
    SHORT_RESTRICTION_END = "short_restriction_end"
    BAND = "band"
    CORRECTION = "correction"
    CANCEL = "cancel"


HAPPENINGS = tuple(Happening)  # a status row's flags hold the place in here until the merge knows the symbol's state


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file, told apart by its columns."""

    path: Path
    kind: FileKind
    columns: tuple[str, ...]  # that are read
    ignored: tuple[str, ...] = ()

    @property
    def has_sales(self) -> bool:
        """Whether it says sale conditions."""
        return self.kind is FileKind.TRADES and bool(sale_columns(self.columns))

    @property
    def timed(self) -> str:
        """The column of times."""
        return "ts" if "ts" in self.columns else "date"


@dataclass(slots=True)
class Names:
    """Symbols and reasons in the order in which they were first seen, over all files."""

    wanted: frozenset[str] | None = None
    numbers: dict[Symbol, int] = field(default_factory=dict)
    seen: set[Symbol] = field(default_factory=set)  # those that are not wanted, too
    reasons: dict[str, int] = field(default_factory=dict)
    sales: dict[Sale, int] = field(default_factory=lambda: {("", ""): 0})  # 0: a file said nothing

    def number(self, name: Symbol) -> int:
        """The symbol's number. Raises BadRecord beyond what a tick can count."""
        if len(self.numbers) >= _SYMBOLS_MAX and name not in self.numbers:
            raise BadRecord("symbols_many", f"more than {_SYMBOLS_MAX} symbols in all files together")
        return self.numbers.setdefault(name, len(self.numbers))

    def reason(self, text: str) -> int:
        """The reason's number. Raises BadRecord if there are too many for a list in memory."""
        if len(self.reasons) >= _REASONS_MAX and text not in self.reasons:
            raise BadRecord("value_refused", f"more than {_REASONS_MAX} different reasons of events")
        return self.reasons.setdefault(text, len(self.reasons))

    def sale(self, sale: Sale) -> int:
        """The number of a tape and codes. Raises BadRecord if there are too many for a list in memory."""
        if len(self.sales) >= _SALES_MAX and sale not in self.sales:
            raise BadRecord("value_refused", f"more than {_SALES_MAX} different sale conditions of trades")
        return self.sales.setdefault(sale, len(self.sales))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Some rows of a file in order of time; ties as in the file. Times of intraday bars are their starts until the length is known."""

    rows: Rows
    count: int  # of the file's rows, those included that were left out


def recording(path: Path) -> Recording:
    """What a file is. Raises BadSetting if there is none, BadRecord if its columns mean nothing."""
    if not path.is_file():
        raise BadSetting(f"market data {path}: there is no such file")
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{path}: not a Parquet file: {error}") from error
    found, timed = set(names), "ts" if "ts" in names else "date"
    if {"symbol", "ts", "price", "size"} <= found and "event" not in found:
        own = ("trade_id",) if "trade_id" in found else ()
        columns = ("symbol", "ts", "price", "size", *own, *sale_columns(names))
        return Recording(path=path, kind=FileKind.TRADES, columns=columns)
    if {"symbol", timed, *_BARS} <= found:
        return Recording(path=path, kind=FileKind.BARS, columns=("symbol", timed, *_BARS))
    if {"symbol", "ts", *_QUOTES} <= found:
        return Recording(path=path, kind=FileKind.QUOTES, columns=("symbol", "ts", *_QUOTES))
    if {"symbol", "ts", "event"} <= found:
        more = tuple(name for name in (*_EVENT_VALUES, "reason") if name in found)
        return Recording(path=path, kind=FileKind.EVENTS, columns=("symbol", "ts", "event", *more))
    if {"symbol", "date", "close"} <= found:
        return Recording(path=path, kind=FileKind.CLOSES, columns=("symbol", "date", "close"))
    if "date" in found and "symbol" not in found and len(found) > 1:
        ignored = tuple(name for name in names if name.endswith("_INDEX"))
        kept = tuple(sorted(symbol_column(path, name) for name in names if name != "date" and name not in ignored))
        return Recording(path=path, kind=FileKind.WIDE, columns=("date", *kept), ignored=ignored)
    raise BadRecord("columns_unknown", f"{path.name}: found the columns {', '.join(names)}; allowed are {ALLOWED}, {_ALLOWED_MORE}")


def pieces(file: Recording, names: Names) -> Iterator[Piece]:
    """The file from its beginning to its end. Raises BadRecord for the first row that cannot be used, or if there is none."""
    offset = 0
    for columns in _batches(file):
        yield Piece(rows=_sorted(_MAKERS[file.kind](file, columns, names)), count=columns.table.num_rows)
        offset += columns.table.num_rows
    if offset == 0:
        raise BadRecord("file_empty", f"{file.path.name}: no rows, at least 1 is needed")


def _batches(file: Recording) -> Iterator[Columns]:
    rows = PIECE_ROWS if file.kind is not FileKind.WIDE else max(PIECE_ROWS // len(file.columns), 1)
    offset = 0
    try:
        with pq.ParquetFile(file.path, buffer_size=_READ_BYTES, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(batch_size=rows, columns=list(file.columns), use_threads=False):
                if batch.num_rows:
                    places = np.arange(offset, offset + batch.num_rows)
                    yield Columns(file.path, pa.Table.from_batches([batch]), places)
                    offset += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{file.path}: {error}") from error


def _sorted(rows: Rows) -> Rows:
    event_ns = rows["tick"]["event_ns"]
    return rows if np.all(event_ns[:-1] <= event_ns[1:]) else rows[np.argsort(event_ns, kind="stable")]


def _trades(file: Recording, columns: Columns, names: Names) -> Rows:
    columns, numbers = _numbered(columns, names)
    rows = np.zeros(len(numbers), SALE_ROW_DTYPE if file.has_sales else ROW_DTYPE)
    ticks = rows["tick"]
    ticks["size"] = columns.whole("size", low=1, high=_SIZE_MAX)
    ticks["event_ns"], ticks["price"] = columns.times_ns("ts"), columns.prices("price")
    ticks["symbol"], ticks["kind"], ticks["trade_id"] = numbers, KIND_TRADE, COUNTED
    if "trade_id" in columns.table.column_names:
        ticks["trade_id"] = columns.whole("trade_id", low=0, high=TRADE_ID_MAX)
    if file.has_sales:
        index, sales = sales_of(columns)
        rows["sale"] = np.array([names.sale(sale) for sale in sales], np.uint16)[index]
        ticks["flags"] = flags_of(sales)[index]
    return rows


def _bars(file: Recording, columns: Columns, names: Names) -> Rows:
    columns, numbers = _numbered(columns, names)
    rows = np.zeros(len(numbers), BAR_ROW_DTYPE)
    ticks, bars = rows["tick"], rows["bar"]
    if file.timed == "date":
        bars["start_ns"], closes_ns = sessions_of(columns, "date", columns.days_ns("date"))
        ticks["event_ns"] = closes_ns - NS_PER_MS
    else:
        ticks["event_ns"] = bars["start_ns"] = columns.times_ns("ts")
    bars["volume"] = columns.whole("volume", low=0, high=_SIZE_MAX)
    for name in ("open", "high", "low"):
        bars[name] = columns.prices(name)
    ticks["price"], ticks["size"] = columns.prices("close"), np.maximum(bars["volume"], 1)
    return _one_a_row(rows, columns, numbers)


def _closes(_: Recording, columns: Columns, names: Names) -> Rows:
    columns, numbers = _numbered(columns, names)
    rows = np.zeros(len(numbers), BAR_ROW_DTYPE)
    rows["tick"]["event_ns"] = sessions_of(columns, "date", columns.days_ns("date"))[1] - NS_PER_MS
    rows["tick"]["price"], rows["tick"]["size"] = columns.prices("close"), 1
    return _one_a_row(rows, columns, numbers)


def _one_a_row(rows: Rows, columns: Columns, numbers: NDArray[np.int64]) -> Rows:
    ticks = rows["tick"]
    ticks["symbol"], ticks["kind"], ticks["trade_id"] = numbers, KIND_TRADE, COUNTED
    assert columns.rows is not None
    rows["row"] = columns.rows
    return rows


def _wide(file: Recording, columns: Columns, names: Names) -> Rows:
    closes_ns = sessions_of(columns, "date", columns.days_ns("date"))[1]
    assert columns.rows is not None
    found = []
    for name in file.columns[1:]:
        places, prices = columns.present_prices(name)
        names.seen.add(Symbol(name))
        if names.wanted is not None and name not in names.wanted:
            continue
        rows = np.zeros(len(places), BAR_ROW_DTYPE)
        ticks = rows["tick"]
        ticks["event_ns"], ticks["price"], ticks["size"] = closes_ns[places] - NS_PER_MS, prices, 1
        ticks["symbol"], ticks["kind"], ticks["trade_id"] = names.number(Symbol(name)), KIND_TRADE, COUNTED
        rows["row"] = columns.rows[places]
        found.append(rows)
    return np.concatenate(found) if found else np.zeros(0, BAR_ROW_DTYPE)


def _quotes(_: Recording, columns: Columns, names: Names) -> Rows:
    columns, numbers = _numbered(columns, names)
    rows = np.zeros(2 * len(numbers), ROW_DTYPE)
    times_ns = columns.times_ns("ts")
    for first, side, kind in ((0, "bid", KIND_BID), (1, "ask", KIND_ASK)):
        ticks = rows["tick"][first::2]
        prices = columns.numbers(side)
        columns.refuse(side, ~(np.isfinite(prices) & (prices >= 0)), "a finite price, or 0 where there is none")
        ticks["price"], ticks["size"] = prices, columns.whole(f"{side}_size", low=0, high=_SIZE_MAX)
        ticks["event_ns"], ticks["symbol"], ticks["kind"] = times_ns, numbers, kind
    return rows


def _events(_: Recording, columns: Columns, names: Names) -> Rows:
    columns, numbers = _numbered(columns, names)
    words = columns.texts("event", allowed=tuple(Happening))
    times_ns = columns.times_ns("ts")
    values = {name: columns.numbers(name) for name in _EVENT_VALUES if name in columns.table.column_names}
    reasons = columns.table.column("reason").to_pylist() if "reason" in columns.table.column_names else [None] * len(words)
    rows: list[tuple[int, int, float, int, int, int, int]] = []
    for row, word in enumerate(words):
        for kind, price, size, trade_id, flags in _happening(columns, row, Happening(word), values, names.reason(str(reasons[row] or ""))):
            rows.append((int(times_ns[row]), trade_id, price, size, int(numbers[row]), kind, flags))
    found = np.zeros(len(rows), ROW_DTYPE)
    found["tick"] = np.array(rows, TICK_DTYPE)
    return found


def _happening(
    columns: Columns, row: int, word: Happening, values: dict[str, NDArray[np.float64]], reason: int
) -> Iterator[tuple[int, float, int, int, int]]:
    """(kind, price, size, trade_id, flags) of the ticks that one event becomes."""

    def value(name: str, allowed: str, *, low: float, whole: bool = False) -> float:
        found = float(values[name][row]) if name in values else float("nan")
        if not (np.isfinite(found) and found >= low and (not whole or found == int(found))):
            if name not in values:
                raise BadRecord("columns_unknown", f"{columns.file}: no column {name}, which an event {word} needs")
            raise BadRecord("value_refused", columns.finding(name, row, allowed))
        return found

    if word is Happening.BAND:
        for kind, name in ((KIND_BAND_LOW, "low"), (KIND_BAND_HIGH, "high")):
            yield kind, value(name, "a price above 0", low=1e-9), 0, 0, 0
    elif word in (Happening.CORRECTION, Happening.CANCEL):
        trade_id = int(value("trade_id", "the id of a trade of the symbol", low=0.0, whole=True))
        if word is Happening.CANCEL:
            yield KIND_CANCEL, 0.0, 0, trade_id, 0  # price and size as printed: known when the trade is found
        else:
            price, size = value("price", "a price above 0", low=1e-9), int(value("size", "a whole number from 1", low=1.0, whole=True))
            yield KIND_CORRECTION, price, size, trade_id, 0
    else:
        yield KIND_STATUS, 0.0, 0, reason, HAPPENINGS.index(word)


def _numbered(columns: Columns, names: Names) -> tuple[Columns, NDArray[np.int64]]:
    """The rows of wanted symbols, and the number of each row's symbol over all files."""
    index, found = columns.symbols("symbol")
    names.seen.update(found)
    if names.wanted is not None:
        keep = np.array([name in names.wanted for name in found], np.bool_)[index]
        columns, index = columns.where(keep), index[keep]
    used = set(np.unique(index).tolist())
    table = np.array([names.number(name) if place in used else 0 for place, name in enumerate(found)], np.int64)
    return columns, table[index]


_MAKERS = {
    FileKind.TRADES: _trades,
    FileKind.BARS: _bars,
    FileKind.CLOSES: _closes,
    FileKind.WIDE: _wide,
    FileKind.QUOTES: _quotes,
    FileKind.EVENTS: _events,
}
