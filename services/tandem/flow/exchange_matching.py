"""When an order fills: trades, quotes and the ends of sessions against the working orders.

An order meets only what comes strictly after its acceptance. Where a fresh quote stands, fills come from quotes: a buyer pays the ask, a
seller gets the bid. Elsewhere they come from trades: half a spread worse than the trade. Opening orders fill at the session's first trade,
closing ones at its last, both without a spread. A stop that a trade reaches works from the next trade or quote on.
Pure; called by flow/exchange.py.
"""

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from tandem.domain.trading import Side
from tandem.flow.exchange_events import Ending, Output, Quoted, Tick
from tandem.flow.exchange_fills import Step, close, fill, whole_qty
from tandem.flow.exchange_records import ExchangeState, Rules, TimeInForce, WorkingOrder
from tandem.flow.order_checks import FLAT, quote, slipped
from tandem.flow.order_replacing import resolved
from tandem.flow.trailing import stop_after

_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG)
_AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_BPS, _ZERO = Decimal(10_000), Decimal(0)


def expire(rules: Rules, state: ExchangeState) -> Step:
    """End the orders whose time is over; those for the closing auction fill there, at the session's last trade."""
    due = [order for order in state.orders.values() if order.expires_ns is not None and order.expires_ns <= state.now_ns]
    due.sort(key=lambda order: (order.expires_ns or 0, order.number))
    outputs: list[Output] = []
    for order in due:
        if order.order_id not in state.orders:  # an order before it took it along
            continue
        state, made = _expired(rules, state, order)
        outputs += made
    return state, tuple(outputs)


def _expired(rules: Rules, state: ExchangeState, order: WorkingOrder) -> Step:
    event_ns = order.expires_ns or 0
    if order.time_in_force is TimeInForce.CLS and not order.is_held and not state.conditions.is_halted(order.symbol):
        price = state.marks.get(order.symbol)
        has_traded = state.traded_ns.get(order.symbol, 0) > order.works_after_ns
        if price is not None and has_traded and _within(order, price) and _allowed(state, order, price, is_uptick=True):
            order = whole_qty(order, price)
            return fill(rules, state, order, qty=order.remaining, price_usd=price, event_ns=event_ns)
    return close(state, order, Ending.EXPIRED, event_ns)


def trade(rules: Rules, state: ExchangeState, tick: Tick) -> Step:
    """A trade: it moves the mark and the stops, and fills what no quote fills."""
    state = replace(state, marks={**state.marks, tick.symbol: tick.price_usd})
    if not tick.is_extended:
        state = replace(state, traded_ns={**state.traded_ns, tick.symbol: tick.event_ns})
    room, outputs = _room(rules, tick.size), list[Output]()
    for order_id in _meeting(state, tick):
        if (order := state.orders.get(order_id)) is None:
            continue
        state, made, taken = _at_trade(rules, state, order, tick, room)
        room = None if room is None else room - taken
        outputs += made
        if (order := state.orders.get(order_id)) is not None and order.is_pending:
            state, made = resolved(rules, state, order)
            outputs += made
    return state, tuple(outputs)


def quoted(rules: Rules, state: ExchangeState, event: Quoted) -> Step:
    """A quote: buyers get its ask, sellers its bid."""
    if not event.is_sound or state.conditions.is_halted(event.symbol):
        return state, ()
    room = {Side.BUY: _room(rules, event.ask_size), Side.SELL: _room(rules, event.bid_size)}
    outputs: list[Output] = []
    for order_id in _meeting(state, event):
        order = state.orders.get(order_id)
        if order is None or order.waits_for_stop or order.time_in_force in _AUCTIONS:
            continue
        if event.is_extended and not order.extended_hours:
            continue
        raw = event.ask_usd if order.side is Side.BUY else event.bid_usd
        price = raw if order.limit_usd is not None else _slipped(rules, raw, order.side)
        state, made, taken = _offered(rules, state, order, price, room[order.side], event_ns=event.event_ns, is_uptick=False)
        left = room[order.side]
        room[order.side] = None if left is None else left - taken
        outputs += made
    return state, tuple(outputs)


def _meeting(state: ExchangeState, event: Tick | Quoted) -> list[str]:
    """Orders that an event may touch, oldest first."""
    return [
        order_id
        for order_id, order in state.orders.items()
        if order.symbol == event.symbol
        and not order.is_held
        and order.works_after_ns < event.event_ns
        and (order.time_in_force is not TimeInForce.CLS or order.is_pending)
    ]


Taken = tuple[ExchangeState, tuple[Output, ...], Decimal]


def _at_trade(rules: Rules, state: ExchangeState, order: WorkingOrder, tick: Tick, room: Decimal | None) -> Taken:
    """One order at one trade; the shares that it took of the trade's room."""
    if order.time_in_force is TimeInForce.CLS or (tick.is_extended and not order.extended_hours):
        return state, (), _ZERO
    if state.conditions.is_halted(order.symbol):
        return state, (), _ZERO
    if order.waits_for_stop:
        moved = order if tick.is_extended else stop_after(order, tick)
        return (state if moved is order else replace(state, orders={**state.orders, order.order_id: moved})), (), _ZERO
    if order.time_in_force is TimeInForce.OPG:
        price = tick.price_usd
    elif tick.is_quoted and not _is_restricted(state, order):
        return state, (), _ZERO
    else:
        price = quote(rules, tick.price_usd, order.side, slips=order.limit_usd is None)
    return _offered(rules, state, order, price, room, event_ns=tick.event_ns, is_uptick=tick.is_uptick)


def _offered(
    rules: Rules, state: ExchangeState, order: WorkingOrder, price: Decimal, room: Decimal | None, *, event_ns: int, is_uptick: bool
) -> Taken:
    """Fill what the order's terms and the room allow at a price; an order for at once ends with what is left of it."""
    outputs: tuple[Output, ...] = ()
    taken = _ZERO
    if _within(order, price) and _allowed(state, order, price, is_uptick=is_uptick):
        order = whole_qty(order, price)
        taken = order.remaining if room is None else min(order.remaining, room)
        if order.time_in_force is TimeInForce.FOK and taken < order.remaining:
            taken = _ZERO
        if taken > 0:
            state, outputs = fill(rules, state, order, qty=taken, price_usd=price, event_ns=event_ns)
    left = state.orders.get(order.order_id)
    if left is not None and left.time_in_force in _AT_ONCE:
        state, closed = close(state, left, Ending.AT_ONCE, event_ns)
        outputs += closed
    return state, outputs, taken


def _room(rules: Rules, size: int) -> Decimal | None:
    """Shares that may fill; None: any number."""
    if not rules.participation or not size:
        return None
    return (rules.participation * size).quantize(Decimal(1), rounding=ROUND_FLOOR)


def _slipped(rules: Rules, price: Decimal, side: Side) -> Decimal:
    return slipped(rules, price, side, price * rules.slippage_bps / _BPS) if rules.slippage_bps else price


def _within(order: WorkingOrder, price: Decimal) -> bool:
    return order.limit_usd is None or (price - order.limit_usd) * order.side.sign <= 0


def _is_restricted(state: ExchangeState, order: WorkingOrder) -> bool:
    """A short sale under Regulation SHO rule 201."""
    short = order.side is Side.SELL and state.holdings.get(order.symbol, FLAT).qty <= 0
    return short and order.symbol in state.conditions.restricted


def _allowed(state: ExchangeState, order: WorkingOrder, price: Decimal, *, is_uptick: bool) -> bool:
    """Whether the market's rules let an order fill at a price: within its band, a restricted short sale on an uptick only."""
    band = state.conditions.bands.get(order.symbol)
    if band is not None and band.high_usd is not None and order.side is Side.BUY and price > band.high_usd:
        return False
    if band is not None and band.low_usd is not None and order.side is Side.SELL and price < band.low_usd:
        return False
    return is_uptick or not _is_restricted(state, order)
