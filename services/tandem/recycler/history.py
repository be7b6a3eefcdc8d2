"""What the recording holds besides single ticks: its bars, as the bars channel and the data REST give them.

A table is made when it is first asked for, and kept.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.market_file import BAR_LENGTHS_NS, MarketData
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_MS
from tandem.flow.trade_bars import MINUTE_NS, BarTable, by_length, by_session, trade_table

_UNITS_NS = {"Min": MINUTE_NS, "T": MINUTE_NS, "Hour": 60 * MINUTE_NS, "H": 60 * MINUTE_NS}
_DAY_NS = 86_400 * 1_000_000_000
_COUNT_MAX = {"Min": 59, "T": 59, "Hour": 23, "H": 23}  # Alpaca's limits


class History:
    """Bars of one recording."""

    def __init__(self, data: MarketData, grid: SessionGrid) -> None:
        self._data, self._grid = data, grid
        self._tables: dict[str, BarTable] = {}

    @cached_property
    def stream(self) -> BarTable:
        """What the bars channel sends: the file's own bars where it has open, high and low, else one-minute bars of its trades."""
        return self._native if self._data.bars is not None else by_length(self._base, MINUTE_NS)

    @cached_property
    def stream_places(self) -> NDArray[np.int64]:
        """(n,) for each bar of the stream the place of the first tick that is not before its end."""
        return np.searchsorted(self._data.ticks["event_ns"], self.stream.end_ns, side="left")

    def bars(self, timeframe: str) -> BarTable:
        """Bars of a length in Alpaca's words, e.g. 1Min, 15Min, 1Hour, 1Day. Raises ValueError if it is not one, or finer than the file."""
        if timeframe not in self._tables:
            self._tables[timeframe] = self._made(timeframe)
        return self._tables[timeframe]

    def _made(self, timeframe: str) -> BarTable:
        if timeframe in {"1Day", "1D"}:
            return by_session(self._base, self._grid)
        length_ns = _length_ns(timeframe)
        if self._data.bar is not None and length_ns % BAR_LENGTHS_NS[self._data.bar]:
            raise ValueError(f"timeframe {timeframe}: the file holds bars of {self._data.bar}, which it must be a multiple of")
        return by_length(self._base, length_ns)

    @cached_property
    def _base(self) -> BarTable:
        return self._native if self._data.bars is not None else trade_table(self._data.symbols, self._data.ticks)

    @cached_property
    def _native(self) -> BarTable:
        ticks, bars = self._data.ticks, self._data.bars
        assert bars is not None
        count = len(ticks)
        return BarTable(
            symbols=self._data.symbols,
            symbol=ticks["symbol"].astype(np.int64),
            start_ns=bars["start_ns"].astype(np.int64),
            end_ns=ticks["event_ns"] + NS_PER_MS,
            open=bars["open"].astype(np.float64),
            high=bars["high"].astype(np.float64),
            low=bars["low"].astype(np.float64),
            close=ticks["price"].astype(np.float64),
            volume=bars["volume"].astype(np.int64),
            trades=np.zeros(count, np.int64),
            vwap=np.full(count, np.nan),
        )


def _length_ns(timeframe: str) -> int:
    digits = len(timeframe) - len(timeframe.lstrip("0123456789"))
    count, unit = timeframe[:digits], timeframe[digits:]
    if not count or unit not in _UNITS_NS or not 1 <= int(count) <= _COUNT_MAX[unit]:
        raise ValueError(f"timeframe {timeframe!r}: allowed are 1Min to 59Min, 1Hour to 23Hour and 1Day")
    return int(count) * _UNITS_NS[unit]
