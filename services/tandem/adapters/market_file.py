"""Recorded market data in Parquet as ticks: trades as they are, a bar as one trade at its close.

Four kinds of file, told apart by their columns:
  trades   symbol, ts, price, size
  bars     symbol, ts or date, open, high, low, close, volume   (ts = start of the bar, date = the session)
  closes   symbol, date, close
  wide     date and one column of closes per symbol; empty cells are days without a close
`ts` carries a time zone. A column trade_id of trades is read where there is one; else trades are counted. Columns conditions and tape of
trades say which of them set prices (adapters/market_sales.py). More columns are allowed in the first three and not read. A wide column
named *_INDEX is the level of an index, which nobody can trade: it is left out and named in `MarketData.ignored`.

Called by recycler (to replay), trainer (to train) and the CLI. Refuses a malformed file as a whole: BadRecord names file, row and column.
With drop_bad only the symbols that have a bad row are left out, and named with the reason in `MarketData.rejections`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.adapters.calendar import session_grid
from tandem.adapters.market_columns import Columns
from tandem.adapters.market_defects import drop_long, drop_wide
from tandem.adapters.market_sales import flags_of, sale_columns, sales_of
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol, symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, TickArray
from tandem.domain.units import NS_PER_MS, NS_PER_S
from tandem.quant.quality import SymbolRejection

# What a file of bars holds besides the close, which is the tick's price. Row i belongs to tick i.
BAR_DTYPE = np.dtype([("start_ns", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("volume", "<i8")])
BarArray = NDArray[np.void]

BAR_LENGTHS_NS = {
    "1s": NS_PER_S,
    "1min": 60 * NS_PER_S,
    "5min": 300 * NS_PER_S,
    "15min": 900 * NS_PER_S,
    "30min": 1_800 * NS_PER_S,
    "1h": 3_600 * NS_PER_S,
    "1d": 86_400 * NS_PER_S,
}
_DAY_NS = BAR_LENGTHS_NS["1d"]
_DAYLIGHT_SAVING_NS = 3_600 * NS_PER_S  # the day on which clocks go forward has 23 hours
TRADE_ID_MAX = 2**53  # a column with empty cells passes through float64
_SIZE_MAX = int(np.iinfo(TICK_DTYPE["size"]).max)
ALLOWED = (
    "trades (symbol, ts, price, size), bars (symbol, ts or date, open, high, low, close, volume), closes (symbol, date, close) "
    "or wide closes (date and one column per symbol)"
)
_BAR_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketData:
    """The ticks of one file, or of a part of it."""

    path: Path
    digest: str  # SHA-256 of the file's bytes, hex
    symbols: tuple[Symbol, ...]  # ascending; TICK_DTYPE.symbol counts in it
    ticks: TickArray  # ascending by event_ns, ties in the order of the file
    bar: str | None  # length of the file's own bars, None for trades
    bars: BarArray | None  # of each tick's bar, None where the file has closes or trades only
    ignored: tuple[str, ...] = ()  # columns of indices
    empty_cells: int = 0  # of a wide file
    rejections: tuple[SymbolRejection, ...] = ()  # symbols that drop_bad left out, ascending


def load_market_data(
    path: Path, *, symbols: Iterable[str] | None = None, from_ns: int | None = None, to_ns: int | None = None, drop_bad: bool = False
) -> MarketData:
    """The ticks of a file in [from_ns, to_ns) and of the symbols asked for; all of them by default.

    A bar becomes one trade: price = close, size = volume (1 where it is 0), time = end of the bar - 1 ms, for a daily bar the close of its
    session - 1 ms. trade_id counts the symbol's rows from 1 in order of time, over the whole file whatever is asked for.
    drop_bad leaves out each symbol with a price that is not finite or not above 0, a bad volume, a time that is missing, that stands
    twice or before an earlier one, and goes on with the others. `symbols` then names what is wanted of what is left.
    Raises BadSetting if there is no such file, BadRecord if it is malformed, does not hold a symbol that is asked for, or nothing is left.
    """
    data = _read(Path(path), drop_bad=drop_bad)
    if symbols is not None:
        data = _only(data, tuple(symbols))
    event_ns = data.ticks["event_ns"]
    start = 0 if from_ns is None else int(np.searchsorted(event_ns, from_ns, side="left"))
    stop = len(event_ns) if to_ns is None else int(np.searchsorted(event_ns, to_ns, side="left"))
    if (start, stop) == (0, len(event_ns)):
        return data
    return replace(data, ticks=data.ticks[start:stop].copy(), bars=None if data.bars is None else data.bars[start:stop].copy())


def _read(path: Path, *, drop_bad: bool) -> MarketData:
    if not path.is_file():
        raise BadSetting(f"market data {path}: there is no such file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{path}: not a Parquet file: {error}") from error
    names = set(schema.names)
    timed = "ts" if "ts" in names else "date"
    if {"symbol", "ts", "price", "size"} <= names and "event" not in names:
        own = (*(("trade_id",) if "trade_id" in names else ()), *sale_columns(schema.names))
        return _trades(Columns.read(path, ("symbol", "ts", "price", "size", *own)), digest, drop_bad=drop_bad)
    if {"symbol", timed, *_BAR_COLUMNS} <= names:
        return _bars(Columns.read(path, ("symbol", timed, *_BAR_COLUMNS)), timed, digest, drop_bad=drop_bad)
    if {"symbol", "date", "close"} <= names:
        return _closes(Columns.read(path, ("symbol", "date", "close")), digest, drop_bad=drop_bad)
    if "date" in names and "symbol" not in names and len(names) > 1:
        return _wide(path, tuple(name for name in schema.names if name != "date"), digest, drop_bad=drop_bad)
    raise BadRecord("columns_unknown", f"{path.name}: found the columns {', '.join(schema.names)}; allowed are {ALLOWED}")


def _trades(columns: Columns, digest: str, *, drop_bad: bool) -> MarketData:
    rejections: tuple[SymbolRejection, ...] = ()
    if drop_bad:
        columns, rejections = drop_long(columns, timed="ts", prices=("price",), size="size", sizes=(1, _SIZE_MAX), unique=False)
    sizes = columns.whole("size", low=1, high=_SIZE_MAX)
    times_ns, prices = columns.times_ns("ts"), columns.prices("price")
    data = _assembled(columns, digest, event_ns=times_ns, prices=prices, sizes=sizes)
    order = np.argsort(times_ns, kind="stable")
    if "trade_id" in columns.table.column_names:
        data.ticks["trade_id"] = columns.whole("trade_id", low=0, high=TRADE_ID_MAX)[order]
    if sale_columns(columns.table.column_names):
        index, sales = sales_of(columns)
        data.ticks["flags"] = flags_of(sales)[index][order]
    return replace(data, rejections=rejections)


def _bars(columns: Columns, timed: str, digest: str, *, drop_bad: bool) -> MarketData:
    rejections: tuple[SymbolRejection, ...] = ()
    if drop_bad:
        prices = ("open", "high", "low", "close")
        columns, rejections = drop_long(columns, timed=timed, prices=prices, size="volume", sizes=(0, _SIZE_MAX), unique=True)
    index, _ = columns.symbols("symbol")
    start_ns = columns.times_ns("ts") if timed == "ts" else columns.days_ns("date")
    columns.check_unique(timed, index, start_ns, each=f"symbol and {timed}")
    bar = "1d" if timed == "date" else _length(columns, index, start_ns)
    if bar == "1d":
        days_ns = start_ns if timed == "date" else columns.new_york_days_ns("ts")
        open_ns, close_ns = sessions_of(columns, timed, days_ns)
        start_ns = open_ns if timed == "date" else start_ns
        event_ns = close_ns - NS_PER_MS
    else:
        event_ns = start_ns + BAR_LENGTHS_NS[bar] - NS_PER_MS
    volume = columns.whole("volume", low=0, high=_SIZE_MAX)
    bars = np.empty(len(volume), BAR_DTYPE)
    bars["start_ns"], bars["volume"] = start_ns, volume
    for name in ("open", "high", "low"):
        bars[name] = columns.prices(name)
    sizes = np.maximum(volume, 1)
    data = _assembled(columns, digest, event_ns=event_ns, prices=columns.prices("close"), sizes=sizes, bar=bar, bars=bars)
    return replace(data, rejections=rejections)


def _closes(columns: Columns, digest: str, *, drop_bad: bool) -> MarketData:
    rejections: tuple[SymbolRejection, ...] = ()
    if drop_bad:
        columns, rejections = drop_long(columns, timed="date", prices=("close",), size=None, sizes=(0, _SIZE_MAX), unique=True)
    index, _ = columns.symbols("symbol")
    days_ns = columns.days_ns("date")
    columns.check_unique("date", index, days_ns, each="symbol and date")
    _, close_ns = sessions_of(columns, "date", days_ns)
    sizes = np.ones(len(close_ns), np.int64)
    data = _assembled(columns, digest, event_ns=close_ns - NS_PER_MS, prices=columns.prices("close"), sizes=sizes, bar="1d")
    return replace(data, rejections=rejections)


def _wide(path: Path, names: tuple[str, ...], digest: str, *, drop_bad: bool) -> MarketData:
    ignored = tuple(name for name in names if name.endswith("_INDEX"))
    kept = tuple(name for name in names if name not in ignored)
    for name in kept:
        symbol_column(path, name)
    columns = Columns.read(path, ("date", *kept))
    rejections: tuple[SymbolRejection, ...] = ()
    if drop_bad:
        columns, kept, rejections = drop_wide(columns, kept)
    days_ns = columns.days_ns("date")
    columns.check_unique("date", np.zeros(len(days_ns), np.int64), days_ns, each="date")
    _, close_ns = sessions_of(columns, "date", days_ns)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], int]] = []
    ordered = tuple(sorted(kept))
    for number, name in enumerate(ordered):
        rows, prices = columns.present_prices(name)
        found.append((close_ns[rows] - NS_PER_MS, prices, number))
    event_ns = np.concatenate([times for times, _, _ in found])
    ticks = _sorted_ticks(
        event_ns=event_ns,
        prices=np.concatenate([prices for _, prices, _ in found]),
        sizes=np.ones(len(event_ns), np.int64),
        index=np.concatenate([np.full(len(times), number, np.int64) for times, _, number in found]),
    )[0]
    return MarketData(
        path=path,
        digest=digest,
        symbols=tuple(map(Symbol, ordered)),
        ticks=ticks,
        bar="1d",
        bars=None,
        ignored=ignored,
        empty_cells=len(days_ns) * len(kept) - len(ticks),
        rejections=rejections,
    )


def symbol_column(path: Path, name: str) -> Symbol:
    try:
        return symbol(name)
    except ValueError as error:
        raise BadRecord("columns_unknown", f"{path.name}, column {name}: {error}; allowed are {ALLOWED}") from error


def _length(columns: Columns, index: NDArray[np.int64], start_ns: NDArray[np.int64]) -> str:
    """The length of the file's bars: the smallest distance between two bars of one symbol, which must be a known length."""
    order = np.lexsort((start_ns, index))
    gaps = np.diff(start_ns[order])[np.diff(index[order]) == 0]
    if len(gaps) == 0:
        raise BadRecord("bar_length", f"{columns.file}, column ts: no symbol has two bars, so the length of a bar cannot be told")
    gap = int(gaps.min())
    if gap in (_DAY_NS, _DAY_NS - _DAYLIGHT_SAVING_NS):
        return "1d"
    for name, length_ns in BAR_LENGTHS_NS.items():
        if gap == length_ns:
            return name
    row = int(order[:-1][np.diff(index[order]) == 0][int(gaps.argmin())]) + 1
    raise BadRecord(
        "bar_length",
        f"{columns.file}, row {row}, column ts: the next bar starts {gap / NS_PER_S:g} s later; allowed are {', '.join(BAR_LENGTHS_NS)}",
    )


def sessions_of(columns: Columns, column: str, days_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Open and close of the session of each day. The open of a session and its date agree in UTC, as New York is west of Greenwich."""
    if len(days_ns) == 0:
        return days_ns, days_ns
    grid = session_grid("1d", int(days_ns.min()), int(days_ns.max()) + _DAY_NS)
    session_days = grid.open_ns - grid.open_ns % _DAY_NS
    place = np.minimum(np.searchsorted(session_days, days_ns), len(session_days) - 1)
    columns.refuse(column, session_days[place] != days_ns, "a session of the New York Stock Exchange")
    return grid.open_ns[place], grid.close_ns[place]


def _assembled(
    columns: Columns,
    digest: str,
    *,
    event_ns: NDArray[np.int64],
    prices: NDArray[np.float64],
    sizes: NDArray[np.int64],
    bar: str | None = None,
    bars: BarArray | None = None,
) -> MarketData:
    index, symbols = columns.symbols("symbol")
    ticks, order = _sorted_ticks(event_ns=event_ns, prices=prices, sizes=sizes, index=index)
    return MarketData(
        path=columns.path,
        digest=digest,
        symbols=symbols,
        ticks=ticks,
        bar=bar,
        bars=None if bars is None else bars[order],
    )


def _sorted_ticks(
    *, event_ns: NDArray[np.int64], prices: NDArray[np.float64], sizes: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[TickArray, NDArray[np.int64]]:
    """Ticks in order of time, and the rows that they came from."""
    order = np.argsort(event_ns, kind="stable")
    ticks = np.empty(len(order), TICK_DTYPE)
    ticks["event_ns"], ticks["price"], ticks["size"] = event_ns[order], prices[order], sizes[order]
    ticks["symbol"], ticks["kind"], ticks["flags"] = index[order], KIND_TRADE, 0
    by_symbol = np.argsort(ticks["symbol"], kind="stable")
    counts = np.bincount(ticks["symbol"], minlength=1)
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    ticks["trade_id"][by_symbol] = np.arange(1, len(order) + 1) - np.repeat(firsts, counts)
    return ticks, order


def _only(data: MarketData, wanted: tuple[str, ...]) -> MarketData:
    """The ticks of some symbols only, renumbered."""
    if missing := sorted(set(wanted) - set(data.symbols)):
        raise BadRecord("symbol_missing", f"{data.path.name} holds no {', '.join(missing)}; it holds {', '.join(data.symbols)}")
    kept = tuple(name for name in data.symbols if name in set(wanted))
    number = np.full(len(data.symbols), -1, np.int64)
    for place, name in enumerate(kept):
        number[data.symbols.index(name)] = place
    rows = np.flatnonzero(number[data.ticks["symbol"]] >= 0)
    ticks = data.ticks[rows]
    ticks["symbol"] = number[ticks["symbol"]]
    return replace(data, symbols=kept, ticks=ticks, bars=None if data.bars is None else data.bars[rows])
