"""Bars as Alpaca's channels and history give them: over any length, from trades or from shorter bars. Not the bars that models see.

Called by the recycler only. What models see is flow/bars.py, which works by watermark; this is a table of what was recorded. A trade that
may not set prices (domain/conditions.py) is a part without a price, NaN, whose shares and count may still be in a bar that has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.conditions import TRADE_UNCOUNTED
from tandem.domain.ids import Symbol
from tandem.domain.market import SessionGrid, TickArray
from tandem.domain.units import NS_PER_MS, NS_PER_S

MINUTE_NS = 60 * NS_PER_S
OPEN_AFTER_MIDNIGHT_NS = 34_200 * NS_PER_S  # sessions open at 09:30; clocks never change between midnight and the open of a session
_Longs = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarTable:
    """Bars in order of their end, ties by symbol. All columns (n,). trades 0 and vwap NaN: the file does not say.

    open to close NaN: a part in which nothing set a price. weight: the shares that vwap is over, those of trades that set prices.
    """

    symbols: tuple[Symbol, ...]
    symbol: _Longs
    start_ns: _Longs
    end_ns: _Longs
    open: _Floats
    high: _Floats
    low: _Floats
    close: _Floats
    volume: _Longs
    trades: _Longs
    vwap: _Floats
    weight: _Longs

    def __len__(self) -> int:
        return len(self.start_ns)


def trade_table(symbols: tuple[Symbol, ...], ticks: TickArray) -> BarTable:
    """Each trade as a bar of its own: what longer bars are made from."""
    event_ns, price, size = ticks["event_ns"].astype(np.int64), ticks["price"].astype(np.float64), ticks["size"].astype(np.int64)
    flags, weight, count = ticks["flags"], size, np.ones(len(ticks), np.int64)
    if flags.any():
        price, weight = np.where(flags == 0, price, np.nan), np.where(flags == 0, size, 0)
        size, count = np.where(flags < TRADE_UNCOUNTED, size, 0), (flags < TRADE_UNCOUNTED).astype(np.int64)
    return BarTable(
        symbols=symbols,
        symbol=ticks["symbol"].astype(np.int64),
        start_ns=event_ns,
        end_ns=event_ns,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=size,
        trades=count,
        vwap=price,
        weight=weight,
    )


def by_length(table: BarTable, length_ns: int) -> BarTable:
    """Longer bars that start at multiples of a length since 1970. A part that reaches over an edge counts where it starts."""
    start_ns = table.start_ns - table.start_ns % length_ns
    return _grouped(table, start_ns, start_ns + length_ns)


def by_session(table: BarTable, grid: SessionGrid) -> BarTable:
    """Daily bars: what ends within each session. They start at midnight in New York, as Alpaca's do, and end with the session."""
    last_ns = np.maximum(table.start_ns, table.end_ns - NS_PER_MS)  # a trade's own time; of a bar, whose end is exclusive, the last moment
    session = np.searchsorted(grid.open_ns, last_ns, side="right") - 1
    inside = (session >= 0) & (last_ns < grid.close_ns[np.maximum(session, 0)])
    part, session = kept(table, np.flatnonzero(inside)), session[inside]
    return _grouped(part, grid.open_ns[session] - OPEN_AFTER_MIDNIGHT_NS, grid.close_ns[session])


def priced(table: BarTable) -> BarTable:
    """Without the rows in which nothing set a price: there is no such bar."""
    has_price = ~np.isnan(table.close)
    return table if has_price.all() else kept(table, np.flatnonzero(has_price))


def kept(table: BarTable, rows: _Longs) -> BarTable:
    """Some rows of a table, in the order given."""
    return BarTable(
        symbols=table.symbols,
        symbol=table.symbol[rows],
        start_ns=table.start_ns[rows],
        end_ns=table.end_ns[rows],
        open=table.open[rows],
        high=table.high[rows],
        low=table.low[rows],
        close=table.close[rows],
        volume=table.volume[rows],
        trades=table.trades[rows],
        vwap=table.vwap[rows],
        weight=table.weight[rows],
    )


def joined(symbols: tuple[Symbol, ...], tables: Sequence[BarTable]) -> BarTable:
    """Tables after one another: parts in order of time, to be grouped once more."""
    if len(tables) == 1:
        return tables[0]
    longs = {name: _joined(tables, name, np.int64) for name in ("symbol", "start_ns", "end_ns", "volume", "trades", "weight")}
    floats = {name: _joined(tables, name, np.float64) for name in ("open", "high", "low", "close", "vwap")}
    return BarTable(symbols=symbols, **longs, **floats)


def _joined(tables: Sequence[BarTable], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(getattr(table, name) for table in tables)]).astype(dtype, copy=False)


def _grouped(table: BarTable, start_ns: _Longs, end_ns: _Longs) -> BarTable:
    """One bar for each symbol and start. The parts are in order of time, and the sort keeps it."""
    order = np.lexsort((table.symbol, end_ns))
    if len(order) == 0:
        return table
    parts = kept(table, order)
    start_ns, end_ns = start_ns[order], end_ns[order]
    new = np.flatnonzero((np.diff(start_ns) != 0) | (np.diff(parts.symbol) != 0)) + 1
    first, last = np.concatenate(([0], new)), np.concatenate((new - 1, [len(order) - 1]))
    opening, closing = first, last
    turnover, weight = parts.vwap * parts.weight, np.add.reduceat(parts.weight, first)
    if (missing := np.isnan(parts.close)).any():
        # the first and the last part of each bar that has a price; a bar without one stays NaN
        places = np.arange(len(order))
        opening = np.minimum(np.minimum.reduceat(np.where(missing, len(order), places), first), last)
        closing = np.maximum(np.maximum.reduceat(np.where(missing, -1, places), first), first)
        turnover = np.where(missing, 0.0, turnover)
    return BarTable(
        symbols=table.symbols,
        symbol=parts.symbol[first],
        start_ns=start_ns[first],
        end_ns=end_ns[first],
        open=parts.open[opening],
        high=np.fmax.reduceat(parts.high, first),
        low=np.fmin.reduceat(parts.low, first),
        close=parts.close[closing],
        volume=np.add.reduceat(parts.volume, first),
        trades=np.add.reduceat(parts.trades, first),
        vwap=np.add.reduceat(turnover, first) / np.maximum(weight, 1),
        weight=weight,
    )
