"""Bars as Alpaca's channels and history give them: over any length, from trades or from shorter bars. Not the bars that models see.

Called by the recycler only. What models see is flow/bars.py, which works by watermark; this is a table of what was recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import Symbol
from tandem.domain.market import SessionGrid, TickArray
from tandem.domain.units import NS_PER_MS, NS_PER_S

MINUTE_NS = 60 * NS_PER_S
_OPEN_AFTER_MIDNIGHT_NS = 34_200 * NS_PER_S  # sessions open at 09:30; clocks never change between midnight and the open of a session
_Longs = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarTable:
    """Bars in order of their end, ties by symbol. All columns (n,). trades 0 and vwap NaN: the file does not say."""

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

    def __len__(self) -> int:
        return len(self.start_ns)


def trade_table(symbols: tuple[Symbol, ...], ticks: TickArray) -> BarTable:
    """Each trade as a bar of its own: what longer bars are made from."""
    event_ns, price = ticks["event_ns"].astype(np.int64), ticks["price"].astype(np.float64)
    return BarTable(
        symbols=symbols,
        symbol=ticks["symbol"].astype(np.int64),
        start_ns=event_ns,
        end_ns=event_ns,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=ticks["size"].astype(np.int64),
        trades=np.ones(len(ticks), np.int64),
        vwap=price,
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
    kept, session = _rows(table, np.flatnonzero(inside)), session[inside]
    return _grouped(kept, grid.open_ns[session] - _OPEN_AFTER_MIDNIGHT_NS, grid.close_ns[session])


def _rows(table: BarTable, rows: _Longs) -> BarTable:
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
    )


def _grouped(table: BarTable, start_ns: _Longs, end_ns: _Longs) -> BarTable:
    """One bar for each symbol and start. The parts are in order of time, and the sort keeps it."""
    order = np.lexsort((table.symbol, end_ns))
    if len(order) == 0:
        return table
    parts = _rows(table, order)
    start_ns, end_ns = start_ns[order], end_ns[order]
    new = np.flatnonzero((np.diff(start_ns) != 0) | (np.diff(parts.symbol) != 0)) + 1
    first, last = np.concatenate(([0], new)), np.concatenate((new - 1, [len(order) - 1]))
    volume = np.add.reduceat(parts.volume, first)
    turnover = np.add.reduceat(parts.vwap * parts.volume, first)
    return BarTable(
        symbols=table.symbols,
        symbol=parts.symbol[first],
        start_ns=start_ns[first],
        end_ns=end_ns[first],
        open=parts.open[first],
        high=np.maximum.reduceat(parts.high, first),
        low=np.minimum.reduceat(parts.low, first),
        close=parts.close[last],
        volume=volume,
        trades=np.add.reduceat(parts.trades, first),
        vwap=turnover / np.maximum(volume, 1),
    )


def rows_between(table: BarTable, symbols: Sequence[int], *, from_ns: int, to_ns: int, known_ns: int) -> _Longs:
    """Rows of some symbols that start in [from_ns, to_ns] and had ended by known_ns, in order of symbol, then time."""
    wanted = np.isin(table.symbol, symbols) & (table.start_ns >= from_ns) & (table.start_ns <= to_ns) & (table.end_ns <= known_ns)
    rows = np.flatnonzero(wanted)
    return rows[np.lexsort((table.start_ns[rows], table.symbol[rows]))]
