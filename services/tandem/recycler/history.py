"""What the recording holds besides single ticks: its bars, made from the ticks of the span that is asked for, a piece at a time.

Trades that were corrected or canceled count as is known at the place that is asked about, never later. Called by live_bars.py for the
channels and by data_api.py for REST; neither needs more memory than a piece of ticks and the bars that come out.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.market_file import BAR_LENGTHS_NS
from tandem.adapters.tick_build import Fix, TickStore
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, SessionGrid
from tandem.domain.units import NS_PER_MS
from tandem.flow.trade_bars import (
    MINUTE_NS,
    OPEN_AFTER_MIDNIGHT_NS,
    BarTable,
    by_length,
    by_session,
    joined,
    kept,
    priced,
    trade_table,
)

_UNITS_NS = {"Min": MINUTE_NS, "T": MINUTE_NS, "Hour": 60 * MINUTE_NS, "H": 60 * MINUTE_NS}
_COUNT_MAX = {"Min": 59, "T": 59, "Hour": 23, "H": 23}  # Alpaca's limits
_WORDS = {"1s": "1Min", "1min": "1Min", "5min": "5Min", "15min": "15Min", "30min": "30Min", "1h": "1Hour", "1d": "1Day"}
PIECE_TICKS = 131_072
_Longs = NDArray[np.int64]


class History:
    """Bars of one recording."""

    def __init__(self, store: TickStore, grid: SessionGrid) -> None:
        self.store, self.grid = store, grid
        self._fix_places = np.array([fix.place for fix in store.fixes], np.int64)

    @property
    def has_own_bars(self) -> bool:
        """Whether the file's rows are bars with open, high and low."""
        return self.store.data.bars is not None

    def fixes(self, start: int, stop: int) -> tuple[Fix, ...]:
        """Corrections and cancels that stand at places [start, stop)."""
        first, last = np.searchsorted(self._fix_places, (start, stop), side="left")
        return self.store.fixes[first:last]

    def place(self, event_ns: int) -> int:
        """The place of the first tick at a time or later."""
        return int(np.searchsorted(self.store.event_ns, event_ns, side="left"))

    def parts(self, places: _Longs, known: int, *, as_sent: bool = False) -> BarTable:
        """The trades at these places, or the file's bars, as a table; corrected by what stands before the place `known`.

        as_sent: and was known when the minute of the trade ended.
        """
        rows = self.store.data.ticks[places]
        table = self._native(places) if self.has_own_bars else trade_table(self.store.data.symbols, rows)
        fixes = self.fixes(0, known)
        if not fixes or self.has_own_bars:
            return table
        removed = np.zeros(len(places), np.bool_)
        for fix in fixes:
            at = int(np.searchsorted(places, fix.trade))
            is_known = not as_sent or self._minute(fix.place) == self._minute(fix.trade)
            if is_known and at < len(places) and places[at] == fix.trade:
                removed[at] = fix.cancels
                rows["price"][at], rows["size"][at] = fix.price, fix.size
        return kept(trade_table(self.store.data.symbols, rows), np.flatnonzero(~removed))

    def trades(self, start: int, stop: int) -> Iterator[_Longs]:
        """Places of the trades among [start, stop), in pieces."""
        for first in range(start, stop, PIECE_TICKS):
            last = min(first + PIECE_TICKS, stop)
            yield first + np.flatnonzero(self.store.data.ticks["kind"][first:last] == KIND_TRADE)

    def _minute(self, place: int) -> int:
        return int(self.store.event_ns[place]) // MINUTE_NS

    def minutes(self, start: int, stop: int, known: int, *, as_sent: bool = False) -> BarTable:
        """Bars of one minute of the trades at places [start, stop); of a file of bars its own. known, as_sent: see `parts`.

        With the minutes in which nothing set a price, whose shares are the day's.
        """
        pieces = (self.parts(places, known, as_sent=as_sent) for places in self.trades(start, stop))
        tables = [piece if self.has_own_bars else by_length(piece, MINUTE_NS) for piece in pieces]
        table = joined(self.store.data.symbols, tables)
        return table if self.has_own_bars or len(tables) < 2 else by_length(table, MINUTE_NS)

    def days(self, start: int, stop: int, known: int) -> BarTable:
        """Daily bars of the trades at places [start, stop): of the part of a session that lies in there."""
        tables = [by_session(self.parts(places, known), self.grid) for places in self.trades(start, stop)]
        return by_session(joined(self.store.data.symbols, tables), self.grid)

    @property
    def finest(self) -> str:
        """The shortest bars, in Alpaca's words."""
        return _WORDS[self.store.data.bar] if self.store.data.bar is not None else "1Min"

    def today(self, name: Symbol, now_ns: int, known: int) -> BarTable:
        """The symbol's bar of the session that is open or was last, as far as it has gone; one row, or none before its first price."""
        session = int(np.searchsorted(self.grid.open_ns, now_ns, side="right")) - 1
        if session < 0:
            return joined(self.store.data.symbols, [])
        own = self.store.trades[name]
        low, high = np.searchsorted(own, (self.place(int(self.grid.open_ns[session])), known), side="left").tolist()
        parts = [by_session(self.parts(part, known), self.grid) for part in _pieces(own[low:high], is_descending=False)]
        return priced(self.running_day(joined(self.store.data.symbols, parts)))

    def running_day(self, table: BarTable) -> BarTable:
        """One bar for each symbol of the latest session among these parts; nothing that lies outside the sessions."""
        days = by_session(table, self.grid)
        return kept(days, np.flatnonzero(days.start_ns == days.start_ns.max())) if len(days) else days

    def bars(
        self, name: Symbol, timeframe: str, *, from_ns: int, to_ns: int, now_ns: int, known: int, limit: int, is_descending: bool
    ) -> BarTable:
        """At least `limit` bars of a symbol, if there are as many, that start in [from_ns, to_ns] and have ended by now_ns.

        Ascending; the first ones, or with is_descending the last ones. timeframe: in Alpaca's words, e.g. 1Min, 15Min, 1Hour, 1Day.
        Raises ValueError if it is not one, or finer than the file.
        """
        is_daily = timeframe in {"1Day", "1D"}
        length_ns = 0 if is_daily else self._length_ns(timeframe)
        start_ns, stop_ns = self._daily_span(from_ns, to_ns, now_ns) if is_daily else _span(length_ns, from_ns, to_ns, now_ns)
        own = self.store.trades[name]
        low, high = np.searchsorted(own, (self.place(start_ns), min(self.place(stop_ns), known)), side="left").tolist()
        tables: list[BarTable] = []
        is_cut = False
        for part in _pieces(own[low:high], is_descending=is_descending):
            table = self.parts(part, known)
            tables.append(by_session(table, self.grid) if is_daily else by_length(table, length_ns))
            if is_cut := sum(len(priced(table)) for table in tables) - len(tables) > limit:  # a bar at a piece's edge may be in two pieces
                break
        if is_descending:
            tables.reverse()
        whole = joined(self.store.data.symbols, tables)
        whole = by_session(whole, self.grid) if is_daily else by_length(whole, length_ns)
        if is_cut and len(whole):  # the last piece's far edge may be half a bar
            whole = kept(whole, np.arange(1, len(whole)) if is_descending else np.arange(len(whole) - 1))
        return priced(whole)

    def _length_ns(self, timeframe: str) -> int:
        length_ns = _length_ns(timeframe)
        bar = self.store.data.bar
        if bar is not None and length_ns % BAR_LENGTHS_NS[bar]:
            raise ValueError(f"timeframe {timeframe}: the file holds bars of {bar}, which it must be a multiple of")
        return length_ns

    def _daily_span(self, from_ns: int, to_ns: int, now_ns: int) -> tuple[int, int]:
        """From the open of the first session whose date is in the span to the close of the last one that has ended."""
        starts_ns = self.grid.open_ns - OPEN_AFTER_MIDNIGHT_NS
        inside = np.flatnonzero((starts_ns >= from_ns) & (starts_ns <= to_ns) & (self.grid.close_ns <= now_ns))
        return (int(self.grid.open_ns[inside[0]]), int(self.grid.close_ns[inside[-1]])) if len(inside) else (0, 0)

    def _native(self, places: _Longs) -> BarTable:
        ticks, bars = self.store.data.ticks[places], self.store.data.bars
        assert bars is not None
        bars = bars[places]
        return BarTable(
            symbols=self.store.data.symbols,
            symbol=ticks["symbol"].astype(np.int64),
            start_ns=bars["start_ns"].astype(np.int64),
            end_ns=ticks["event_ns"] + NS_PER_MS,
            open=bars["open"].astype(np.float64),
            high=bars["high"].astype(np.float64),
            low=bars["low"].astype(np.float64),
            close=ticks["price"].astype(np.float64),
            volume=bars["volume"].astype(np.int64),
            trades=np.zeros(len(places), np.int64),
            vwap=np.full(len(places), np.nan),
            weight=bars["volume"].astype(np.int64),
        )


def _pieces(places: _Longs, *, is_descending: bool) -> Iterator[_Longs]:
    """Ascending within each piece; the pieces from the front, or from the end."""
    starts = range(0, len(places), PIECE_TICKS)
    for start in reversed(starts) if is_descending else starts:
        yield places[start : start + PIECE_TICKS]


def _span(length_ns: int, from_ns: int, to_ns: int, now_ns: int) -> tuple[int, int]:
    """From the first bar that starts in [from_ns, to_ns] to the end of the last one that has ended."""
    stop_ns = min(to_ns // length_ns * length_ns + length_ns, now_ns // length_ns * length_ns)
    return -(-from_ns // length_ns) * length_ns, stop_ns


def _length_ns(timeframe: str) -> int:
    digits = len(timeframe) - len(timeframe.lstrip("0123456789"))
    count, unit = timeframe[:digits], timeframe[digits:]
    if not count or unit not in _UNITS_NS or not 1 <= int(count) <= _COUNT_MAX[unit]:
        raise ValueError(f"timeframe {timeframe!r}: allowed are 1Min to 59Min, 1Hour to 23Hour and 1Day")
    return int(count) * _UNITS_NS[unit]
