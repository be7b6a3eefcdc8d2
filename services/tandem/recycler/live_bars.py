"""The channels bars, updatedBars and dailyBars: which bars are due when the replay has come to a point, and where they stand in the stream.

A bar stands before the first tick that is not before its end. Of a file of ticks bars are of one minute; of a file of bars they are its
own. The running daily bar follows each of them. A correction or cancel of a trade whose bar was sent makes an updated bar at the next half
minute, as a late trade does at Alpaca. As long as nobody wants bars, nothing is computed. Called by feed.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.domain.units import NS_PER_MS, NS_PER_S
from tandem.flow.trade_bars import MINUTE_NS, BarTable, joined, kept, priced
from tandem.recycler.history import History

BARS, UPDATED_BARS, DAILY_BARS = "bars", "updatedBars", "dailyBars"
_HALF_MINUTE_NS = 30 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DueBars:
    """Bars of one channel that are sent before the tick at a place."""

    place: int
    channel: str
    table: BarTable


class LiveBars:
    """Goes through one pass of a replay."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._next: int | None = None  # place of the first tick whose bar has not been sent; None: nobody wants bars
        self._day: BarTable | None = None  # the running day of each symbol; None: unknown
        self._day_place = 0  # of the first tick that is not in it
        self._now_ns = 0

    def begin(self, now_ns: int) -> None:
        """A new pass from this time on."""
        self._next, self._day, self._now_ns = None, None, now_ns

    def due(self, now_ns: int, *, is_wanted: bool) -> tuple[DueBars, ...]:
        """Everything that became due since the last call, in order."""
        before_ns, self._now_ns = self._now_ns, now_ns
        if not is_wanted:
            self._next = self._day = None
            return ()
        if self._next is None:
            self._next = self._first(before_ns)
        found = [*self._updated(before_ns, now_ns)]
        low, self._next = self._next, max(self._next, self._first(now_ns))
        if self._next > low:
            found += self._closed(low, self._next)
        return tuple(sorted(found, key=lambda due: due.place))

    def _first(self, now_ns: int) -> int:
        """Place of the first tick whose bar has not ended by now."""
        if self._history.has_own_bars:
            return self._history.place(now_ns - NS_PER_MS + 1)
        return self._history.place(now_ns - now_ns % MINUTE_NS)

    def _closed(self, low: int, high: int) -> list[DueBars]:
        """The bars of the ticks at places [low, high), and the running day after each."""
        table = self._history.minutes(low, high, high, as_sent=True)
        found = []
        ends = np.flatnonzero(np.diff(table.end_ns)) + 1
        for rows in np.split(np.arange(len(table)), ends) if len(table) else ():
            part = kept(table, rows)
            place = self._history.place(int(part.end_ns[0]))
            if len(bars := priced(part)):
                found.append(DueBars(place=place, channel=BARS, table=bars))
            day = priced(self._running(part, place))
            if len(running := kept(day, np.flatnonzero(np.isin(day.symbol, part.symbol) & _covers(day, int(part.end_ns[0]))))):
                found.append(DueBars(place=place, channel=DAILY_BARS, table=running))
        return found

    def _running(self, part: BarTable, place: int) -> BarTable:
        """The day up to the tick at a place: as it was and the bars that have ended, or anew when a trade of it was corrected since."""
        if self._day is None or self._history.fixes(self._day_place, place):
            opens_ns, last_ns = self._history.grid.open_ns, int(self._history.store.event_ns[place - 1])
            session = max(int(np.searchsorted(opens_ns, last_ns, side="right")) - 1, 0)
            self._day = self._history.days(min(self._history.place(int(opens_ns[session])), place), place, place)
        else:
            self._day = joined(part.symbols, [self._day, part])
        self._day, self._day_place = self._history.running_day(self._day), place
        return self._day

    def _updated(self, before_ns: int, now_ns: int) -> list[DueBars]:
        """Bars that a correction or cancel has changed, at the half minutes in (before_ns, now_ns]."""
        events = self._history.store.event_ns
        first, last = (self._history.place(ns - ns % _HALF_MINUTE_NS) for ns in (before_ns, now_ns))
        found = []
        for fix in self._history.fixes(first, last):
            fixed_ns, traded_ns = int(events[fix.place]), int(events[fix.trade])
            minute_ns = traded_ns - traded_ns % MINUTE_NS
            if self._history.has_own_bars or fixed_ns < minute_ns + MINUTE_NS:
                continue  # the bar is not out yet, and will be right
            due = self._history.place(fixed_ns - fixed_ns % _HALF_MINUTE_NS + _HALF_MINUTE_NS)
            table = self._history.minutes(self._history.place(minute_ns), self._history.place(minute_ns + MINUTE_NS), due)
            symbol = self._history.store.symbol[fix.trade]
            found.append(DueBars(place=due, channel=UPDATED_BARS, table=priced(kept(table, np.flatnonzero(table.symbol == symbol)))))
        return found


def _covers(day: BarTable, moment_ns: int) -> NDArray[np.bool_]:
    return np.asarray((day.start_ns < moment_ns) & (moment_ns <= day.end_ns))
