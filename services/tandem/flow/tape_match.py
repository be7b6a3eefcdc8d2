"""Recorded rows against the paper exchange: only those that can touch a working order become events.

`match` gives the same outputs as stepping the exchange over every row (a property test holds it to that), at the cost of the fills
instead of the cost of the ticks: numpy finds, for each symbol with working orders, the next row that may touch one. Halts and price bands
are never skipped. Called by the recycler.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
)
from tandem.domain.trading import Side
from tandem.domain.units import SUB_PENNY
from tandem.flow.directives import Band, Directive, Halt, Resume, ShortRestriction
from tandem.flow.exchange import step
from tandem.flow.exchange_events import Direct, Event, Output, Quoted, Tick
from tandem.flow.exchange_records import Conditions, ExchangeState, OrderKind, Rules, TimeInForce, WorkingOrder
from tandem.flow.tape import Places, Tape, Truths, decimal_of

RECORDED = "tape-"  # how ids of directives begin that are rows of the recording
_BPS = 10_000.0
_SLACK = 1e-9  # relative: float error must not hide a trade at the limit; the exact price decides in the exchange
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass(slots=True)
class _Search:
    """Where the next row of each symbol is that may matter."""

    rules: Rules
    ticks: Tape
    stop: int
    heap: list[tuple[int, Symbol]]  # halts and bands of all symbols, and what `due` names; stale entries are passed over
    due: dict[Symbol, int] = field(default_factory=dict)

    def look(self, state: ExchangeState, name: Symbol, start: int) -> None:
        """Find the symbol's next row from a place on."""
        self.due.pop(name, None)
        if (place := _next(self.rules, state, self.ticks, name, start=start, stop=self.stop)) is not None:
            self.due[name] = place
            heappush(self.heap, (place, name))


def match(rules: Rules, state: ExchangeState, ticks: Tape, start: int, stop: int) -> tuple[ExchangeState, tuple[Output, ...]]:
    """Step over the rows at places [start, stop), of which those that can touch no working order are skipped.

    The clock stands at the last row that was looked at; the caller moves it on with a Mark.
    """
    low, high = np.searchsorted(ticks.special, (start, stop), side="left")
    heap = [(int(place), ticks.symbols[ticks.symbol[place]]) for place in ticks.special[low:high]]  # ascending, thus a heap
    search = _Search(rules, ticks, stop, heap)
    for name in _working(state):
        search.look(state, name, start)
    outputs: list[Output] = []
    while heap:
        place, name = heappop(heap)
        if _kind(ticks, place) in (KIND_TRADE, KIND_ASK) and search.due.get(name) != place:
            continue
        for event in events_at(ticks, place, state.conditions):
            state, made = step(rules, state, event)
            outputs += made
        search.look(state, name, place + 1)
    return state, tuple(outputs)


def _next(rules: Rules, state: ExchangeState, ticks: Tape, name: Symbol, *, start: int, stop: int) -> int | None:
    """Place of the first row in [start, stop) that may touch an order of the symbol."""
    orders = [order for order in state.orders.values() if order.symbol == name and not order.is_held]
    if not orders:
        return None
    rows = ticks.rows(name, start, stop)
    found = [_candidate(rules, state, ticks, order, rows) for order in orders]
    return min((place for place in found if place is not None), default=None)


def _candidate(rules: Rules, state: ExchangeState, ticks: Tape, order: WorkingOrder, rows: Places) -> int | None:
    """The first of a symbol's rows that may fill an order, move its stop or decide what it waits for; for the closing auction the last."""
    after = int(np.searchsorted(ticks.event_ns[rows], order.works_after_ns, side="right"))
    end = len(rows) if order.expires_ns is None else int(np.searchsorted(ticks.event_ns[rows], order.expires_ns, side="left"))
    rows = rows[after:end]  # later than its expiry it cannot fill; the next event of any kind expires it
    is_trade = ticks.is_trade(rows)
    is_closing = order.time_in_force is TimeInForce.CLS
    if order.is_pending:
        found = is_trade  # the next trade decides, unless a quote fills the order before it
    elif is_closing:
        found = np.zeros(len(rows), np.bool_)
        found[np.flatnonzero(is_trade & ~ticks.is_extended(rows))[-1:]] = True
    else:
        found = np.zeros(len(rows), np.bool_)
    if not is_closing and not state.conditions.is_halted(order.symbol):
        found = found | _touching(rules, state, ticks, order, rows, is_trade=is_trade)
    rows = rows[found]
    return int(rows[0]) if len(rows) else None


def _touching(rules: Rules, state: ExchangeState, ticks: Tape, order: WorkingOrder, rows: Places, *, is_trade: Truths) -> Truths:
    price = ticks.price[rows]
    if order.waits_for_stop:
        return is_trade & ~ticks.is_extended(rows) & _stopping(order, price)
    if order.time_in_force is TimeInForce.OPG:
        return is_trade & ~ticks.is_extended(rows)
    is_quoted = ticks.is_quoted(order.symbol, rows)
    on_trades = is_trade if order.symbol in state.conditions.restricted else is_trade & ~is_quoted
    on_quotes = ~is_trade & is_quoted
    if order.limit_usd is not None and order.time_in_force not in _AT_ONCE:
        limit = float(order.limit_usd)
        on_trades = on_trades & _marketable(rules, price, limit, order.side)  # not in place: the caller's truths may be these
        on_quotes = on_quotes & _within(price if order.side is Side.BUY else ticks.price[np.maximum(rows - 1, 0)], limit, order.side)
    found = on_trades | on_quotes
    return found if order.extended_hours else found & ~ticks.is_extended(rows)


def _stopping(order: WorkingOrder, price: NDArray[np.float64]) -> Truths:
    """Where a trade may trigger or trail a stop."""
    assert order.stop_usd is not None
    stop, is_buy = float(order.stop_usd), order.side is Side.BUY
    found = price >= stop * (1 - _SLACK) if is_buy else price <= stop * (1 + _SLACK)
    if order.kind is OrderKind.TRAILING_STOP and order.mark_usd is not None:
        mark = float(order.mark_usd)
        found |= price < mark if is_buy else price > mark
    return np.asarray(found)


def _within(price: NDArray[np.float64], limit: float, side: Side) -> Truths:
    return np.asarray(price <= limit * (1 + _SLACK) if side is Side.BUY else price >= limit * (1 - _SLACK))


def _marketable(rules: Rules, price: NDArray[np.float64], limit: float, side: Side) -> Truths:
    """Where the quote may be within the limit. The exact quote is rounded against the order, so none is missed."""
    half = np.maximum(float(rules.half_spread_min_usd), price * (float(rules.half_spread_bps) / _BPS))
    return _within(price + half if side is Side.BUY else np.maximum(price - half, float(SUB_PENNY)), limit, side)


def events_at(ticks: Tape, place: int, conditions: Conditions) -> tuple[Event, ...]:
    """What the row at a place is to the exchange; nothing for a bid, which comes with its ask, and a trade that sets no price."""
    name, event_ns = ticks.symbols[ticks.symbol[place]], int(ticks.event_ns[place])
    kind = _kind(ticks, place)
    if kind == KIND_TRADE:
        if ticks.ticks is not None and ticks.ticks["flags"][place]:
            return ()
        row = np.array([place])
        tick = Tick(
            event_ns=event_ns,
            symbol=name,
            price_usd=decimal_of(ticks.price[place]),
            size=ticks.size(place),
            is_extended=bool(ticks.is_extended(row)[0]),
            is_quoted=bool(ticks.is_quoted(name, row)[0]),
            is_uptick=bool(ticks.is_uptick(name, row)[0]),
        )
        return (tick,)
    if kind == KIND_ASK:
        return (_quoted(ticks, place, name, event_ns),)
    told = _told(ticks, place, name, conditions)
    return tuple(Direct(event_ns=event_ns, directive_id=f"{RECORDED}{place}-{i}", directive=found) for i, found in enumerate(told))


def _kind(ticks: Tape, place: int) -> int:
    return KIND_TRADE if ticks.ticks is None else int(ticks.ticks["kind"][place])


def _quoted(ticks: Tape, place: int, name: Symbol, event_ns: int) -> Quoted:
    return Quoted(
        event_ns=event_ns,
        symbol=name,
        bid_usd=Decimal(repr(float(ticks.price[place - 1]))),
        bid_size=ticks.size(place - 1),
        ask_usd=Decimal(repr(float(ticks.price[place]))),
        ask_size=ticks.size(place),
        is_extended=bool(ticks.is_extended(np.array([place]))[0]),
    )


def _told(ticks: Tape, place: int, name: Symbol, conditions: Conditions) -> list[Directive]:
    """What a row of a halt or a band changes."""
    kind, found = _kind(ticks, place), list[Directive]()
    if kind == KIND_STATUS and ticks.ticks is not None:
        flags = int(ticks.ticks["flags"][place])
        halted, restricted = bool(flags & STATUS_HALTED), bool(flags & STATUS_SHORT_RESTRICTED)
        if halted != (name in conditions.halted):
            found.append(Halt(symbol=name, reason="recorded") if halted else Resume(symbol=name))
        if restricted != (name in conditions.restricted):
            found.append(ShortRestriction(symbol=name, restricted=restricted))
    elif kind in (KIND_BAND_LOW, KIND_BAND_HIGH):
        price = Decimal(repr(float(ticks.price[place]))) or None
        old = conditions.bands.get(name)
        low, high = (price, old.high_usd if old else None) if kind == KIND_BAND_LOW else (old.low_usd if old else None, price)
        if low is not None and high is not None and low > high:  # the other half of the new band is on its way
            low, high = (low, None) if kind == KIND_BAND_LOW else (None, high)
        found.append(Band(symbol=name, low_usd=low, high_usd=high))
    return found


def _working(state: ExchangeState) -> tuple[Symbol, ...]:
    return tuple(dict.fromkeys(order.symbol for order in state.orders.values()))
