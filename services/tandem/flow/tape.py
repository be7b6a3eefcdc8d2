"""Recorded rows as the paper exchange looks at them: where each symbol's trades and quotes are, and what holds at each of them.

Holds views only and computes for the rows that are asked for, so that a recording on disk stays there. flow/tape_match.py goes through it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_STATUS,
    KIND_TRADE,
    SessionGrid,
    TickArray,
)
from tandem.domain.units import NS_PER_S

# A quote older than this fills nothing; the next trade does. Liquid names quote many times a second, the quiet ones still once a minute.
QUOTE_FRESH_NS = 60 * NS_PER_S
Places = NDArray[np.int64]
Truths = NDArray[np.bool_]
_NOWHERE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tape:
    """All rows of a replay in order of time, and for each symbol the places of its own."""

    symbols: tuple[Symbol, ...]
    event_ns: Places
    price: NDArray[np.float64]
    places: Mapping[Symbol, Places]  # of the trades that set prices, ascending: an order fills on no other
    symbol: NDArray[np.uint16]
    ticks: TickArray | None = None  # the same rows whole; None: all are trades of unknown size
    quotes: Mapping[Symbol, Places] = field(default_factory=dict)  # of the bids, ascending; the ask is the next row
    special: Places = field(default_factory=lambda: _NOWHERE)  # of halts and bands, ascending
    grid: SessionGrid | None = None  # the sessions; None: all rows are in regular hours

    def rows(self, name: Symbol, start: int, stop: int) -> Places:
        """Places in [start, stop) of a symbol's trades that set prices, and of its quotes at their asks; ascending."""
        trades, bids = self.places[name], self.quotes.get(name, _NOWHERE)
        low, high = np.searchsorted(trades, (start, stop), side="left")
        found = np.asarray(trades[low:high])
        low, high = np.searchsorted(bids, (start - 1, stop - 1), side="left")
        return found if low == high else np.sort(np.concatenate((found, bids[low:high] + 1)))

    def is_trade(self, rows: Places) -> Truths:
        """Which of these rows are trades, and not asks."""
        return np.ones(len(rows), np.bool_) if self.ticks is None else np.asarray(self.ticks["kind"][rows] == KIND_TRADE)

    def is_extended(self, rows: Places) -> Truths:
        """Which of these rows are outside the sessions."""
        if self.grid is None:
            return np.zeros(len(rows), np.bool_)
        times = self.event_ns[rows]
        session = np.searchsorted(self.grid.open_ns, times, side="right") - 1
        return np.asarray((session < 0) | (times >= self.grid.close_ns[np.maximum(session, 0)]))

    def is_quoted(self, name: Symbol, rows: Places) -> Truths:
        """At which of these rows of a symbol a fresh and sound quote stands; of an ask it is its own."""
        bids = self.quotes.get(name, _NOWHERE)
        if len(bids) == 0:
            return np.zeros(len(rows), np.bool_)
        standing = np.searchsorted(bids, rows, side="left") - 1  # of an ask: its own bid, the row before it
        last = bids[np.maximum(standing, 0)]
        bid, ask = self.price[last], self.price[last + 1]
        fresh = self.event_ns[rows] - self.event_ns[last] <= QUOTE_FRESH_NS
        return np.asarray((standing >= 0) & fresh & (bid > 0) & (bid <= ask))

    def is_uptick(self, name: Symbol, rows: Places) -> Truths:
        """Which of these trades of a symbol are above the one before."""
        trades = self.places[name]
        number = np.searchsorted(trades, rows, side="left")
        before = self.price[trades[np.maximum(number - 1, 0)]]
        return np.asarray((number > 0) & (self.price[rows] > before))

    def size(self, place: int) -> int:
        """Shares of a row, 0 where they are not known."""
        return 0 if self.ticks is None else int(self.ticks["size"][place])


def tape(symbols: tuple[Symbol, ...], ticks: TickArray, grid: SessionGrid | None = None) -> Tape:
    """A tape over rows in ascending order of event_ns, a bid right before its ask. grid: the sessions."""
    number, kind = np.ascontiguousarray(ticks["symbol"]), np.ascontiguousarray(ticks["kind"])
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(symbols) + 1))
    own = {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(symbols)}
    has_more = bool(np.any(kind != KIND_TRADE))
    is_filling = (kind == KIND_TRADE) & (ticks["flags"] == 0)
    return Tape(
        symbols=symbols,
        event_ns=np.ascontiguousarray(ticks["event_ns"]),
        price=np.ascontiguousarray(ticks["price"]),
        places=own if is_filling.all() else {name: places[is_filling[places]] for name, places in own.items()},
        symbol=number,
        ticks=ticks,
        quotes={name: places[kind[places] == KIND_BID] for name, places in own.items()} if has_more else {},
        special=special_places(ticks, np.arange(len(ticks))) if has_more else _NOWHERE,
        grid=grid,
    )


def special_places(ticks: TickArray, places: Places) -> Places:
    """Those of some places at which a halt or a band is told."""
    return np.asarray(places[np.isin(ticks["kind"][places], (KIND_STATUS, KIND_BAND_LOW, KIND_BAND_HIGH))], np.int64)


def last_prices(ticks: Tape, symbols: Iterable[Symbol], stop: int) -> dict[Symbol, Decimal]:
    """Price of each symbol's last trade before place `stop`; a symbol without one is left out."""
    found = {}
    for name in symbols:
        if (place := last_place(ticks, name, stop)) is not None:
            found[name] = decimal_of(ticks.price[place])
    return found


def last_place(ticks: Tape, symbol: Symbol, stop: int) -> int | None:
    """Place of the symbol's last trade before `stop`, None if there is none."""
    places = ticks.places[symbol]
    count = int(np.searchsorted(places, stop, side="left"))
    return int(places[count - 1]) if count else None


def decimal_of(price: float) -> Decimal:
    """The shortest decimal that is this float: what the file said."""
    found = Decimal(repr(float(price)))
    if found <= 0:
        raise InvariantBroken(f"a trade at {found} USD: the loader must have refused it")
    return found
