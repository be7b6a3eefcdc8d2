"""Recorded ticks as the paper exchange sees them: only the trades that can touch a working order become events.

`match` gives the same outputs as stepping the exchange over every tick (a property test holds it to that), at the cost of the fills instead
of the cost of the ticks: numpy finds, for each symbol with working orders, the next trade that may fill one. Called by the recycler.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import Symbol
from tandem.domain.market import TickArray
from tandem.domain.trading import Side
from tandem.domain.units import SUB_PENNY
from tandem.flow.exchange import step
from tandem.flow.exchange_records import ExchangeState, Output, Rules, Tick, TimeInForce, WorkingOrder

_BPS = 10_000.0
_SLACK = 1e-9  # relative: float error must not hide a trade at the limit; the exact price decides in the exchange
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tape:
    """All ticks of a replay in order of time, and for each symbol the places of its own."""

    symbols: tuple[Symbol, ...]
    event_ns: NDArray[np.int64]
    price: NDArray[np.float64]
    places: dict[Symbol, NDArray[np.int64]]  # ascending
    symbol: NDArray[np.uint16]


def tape(symbols: tuple[Symbol, ...], ticks: TickArray) -> Tape:
    """A tape over ticks in ascending order of event_ns."""
    number = np.ascontiguousarray(ticks["symbol"])
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(symbols) + 1))
    return Tape(
        symbols=symbols,
        event_ns=np.ascontiguousarray(ticks["event_ns"]),
        price=np.ascontiguousarray(ticks["price"]),
        places={name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(symbols)},
        symbol=number,
    )


def last_prices(ticks: Tape, symbols: Iterable[Symbol], stop: int) -> dict[Symbol, Decimal]:
    """Price of each symbol's last trade before place `stop`; a symbol without one is left out."""
    found = {}
    for name in symbols:
        if (place := last_place(ticks, name, stop)) is not None:
            found[name] = _decimal(ticks.price[place])
    return found


def last_place(ticks: Tape, symbol: Symbol, stop: int) -> int | None:
    """Place of the symbol's last tick before `stop`, None if there is none."""
    places = ticks.places[symbol]
    count = int(np.searchsorted(places, stop, side="left"))
    return int(places[count - 1]) if count else None


def match(rules: Rules, state: ExchangeState, ticks: Tape, start: int, stop: int) -> tuple[ExchangeState, tuple[Output, ...]]:
    """Step over the ticks at places [start, stop), of which those that can touch no working order are skipped.

    The clock stands at the last trade that was looked at; the caller moves it on with a Mark.
    """
    due = [(place, name) for name in _working(state) if (place := _next(rules, state, ticks, name, start=start, stop=stop)) is not None]
    heapify(due)
    outputs: list[Output] = []
    while due:
        place, name = heappop(due)
        tick = Tick(event_ns=int(ticks.event_ns[place]), symbol=name, price_usd=_decimal(ticks.price[place]))
        state, made = step(rules, state, tick)
        outputs += made
        if (after := _next(rules, state, ticks, name, start=place + 1, stop=stop)) is not None:
            heappush(due, (after, name))
    return state, tuple(outputs)


def _working(state: ExchangeState) -> tuple[Symbol, ...]:
    return tuple(dict.fromkeys(order.symbol for order in state.orders.values()))


def _next(rules: Rules, state: ExchangeState, ticks: Tape, name: Symbol, *, start: int, stop: int) -> int | None:
    """Place of the first tick in [start, stop) that may touch an order of the symbol."""
    orders = [order for order in state.orders.values() if order.symbol == name]
    if not orders:
        return None
    places = ticks.places[name]
    low, high = np.searchsorted(places, (start, stop), side="left")
    found = [_candidate(rules, ticks, order, places[low:high]) for order in orders]
    return min((place for place in found if place is not None), default=None)


def _candidate(rules: Rules, ticks: Tape, order: WorkingOrder, places: NDArray[np.int64]) -> int | None:
    after = int(np.searchsorted(ticks.event_ns[places], order.accepted_ns, side="right"))
    places = places[after:]
    if order.limit_usd is not None and order.time_in_force not in _AT_ONCE:
        places = places[_marketable(rules, ticks.price[places], float(order.limit_usd), order.side)]
    if len(places) == 0:
        return None
    place = int(places[0])
    # An order whose session has ended before this trade can no longer fill; the next event of any kind expires it.
    return place if order.expires_ns is None or ticks.event_ns[place] < order.expires_ns else None


def _marketable(rules: Rules, price: NDArray[np.float64], limit: float, side: Side) -> NDArray[np.bool_]:
    """Where the quote may be within the limit. The exact quote is rounded against the order, so none is missed."""
    half = np.maximum(float(rules.half_spread_min_usd), price * (float(rules.half_spread_bps) / _BPS))
    if side is Side.BUY:
        return np.asarray(price + half <= limit * (1 + _SLACK))
    return np.asarray(np.maximum(price - half, float(SUB_PENNY)) >= limit * (1 - _SLACK))


def _decimal(price: float) -> Decimal:
    """The shortest decimal that is this float: what the file said."""
    found = Decimal(repr(float(price)))
    if found <= 0:
        raise InvariantBroken(f"a trade at {found} USD: the loader must have refused it")
    return found
