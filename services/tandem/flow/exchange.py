"""The paper exchange: one account against recorded trades, as one pure step.

An order is filled whole, on the first trade of its symbol whose event time is after the order's acceptance: a buyer pays the price plus
half a spread, a seller gets the price less half a spread, and fees are charged at once. A limit order waits for a trade at which that
price is within its limit. Orders of one trade fill in the order of their acceptance. Day orders end with their session. Trades do not
wear out: any number of orders fills on one.

What it leaves out: partial fills, market impact, borrow, dividends, auctions and the difference between regular and extended hours.
Called by the recycler (through flow/tape.py, which skips the trades that cannot matter) and by tests. Money is Decimal, ids are derived.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import derived_uuid
from tandem.domain.trading import Side
from tandem.flow.exchange_records import (
    Accepted,
    Cancel,
    CancelRefused,
    Charged,
    Closed,
    Event,
    ExchangeState,
    Filled,
    Holding,
    Mark,
    Output,
    Rules,
    Submit,
    Tick,
    TimeInForce,
    WorkingOrder,
)
from tandem.flow.fees import charges
from tandem.flow.order_checks import equity_usd, quote, refusal, reserve_usd

_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
_FLAT = Holding(qty=Decimal(0), cost_usd=Decimal(0))


def opening(replay_id: str, *, cash_usd: Decimal, now_ns: int) -> ExchangeState:
    """An account with cash and nothing else."""
    return ExchangeState(
        replay_id=replay_id,
        now_ns=now_ns,
        cash_usd=cash_usd,
        holdings={},
        orders={},
        marks={},
        last_equity_usd=cash_usd,
        last_marks={},
        accepted=0,
    )


def step(rules: Rules, state: ExchangeState, event: Event) -> tuple[ExchangeState, tuple[Output, ...]]:
    """Take in one event. Raises InvariantBroken if event time goes back."""
    if event.event_ns < state.now_ns:
        raise InvariantBroken(f"event at {event.event_ns} ns after the exchange's clock reached {state.now_ns} ns")
    state, expired = _expire(replace(state, now_ns=event.event_ns))
    match event:
        case Tick():
            state, outputs = _trade(rules, state, event)
        case Submit():
            state, outputs = _submit(rules, state, event)
        case Cancel():
            state, outputs = _cancel(state, event)
        case Mark():
            state, outputs = _mark(state, event), ()
    return state, expired + outputs


def _expire(state: ExchangeState) -> tuple[ExchangeState, tuple[Output, ...]]:
    due = [order for order in state.orders.values() if order.expires_ns is not None and order.expires_ns <= state.now_ns]
    if not due:
        return state, ()
    due.sort(key=lambda order: (order.expires_ns or 0, order.number))
    outputs = tuple(Closed(order=order, expired=True, event_ns=order.expires_ns or 0) for order in due)
    return replace(state, orders=_without(state.orders, *due)), outputs


def _trade(rules: Rules, state: ExchangeState, tick: Tick) -> tuple[ExchangeState, tuple[Output, ...]]:
    state = replace(state, marks={**state.marks, tick.symbol: tick.price_usd})
    outputs: list[Output] = []
    for order in [o for o in state.orders.values() if o.symbol == tick.symbol and o.accepted_ns < tick.event_ns]:
        price = quote(rules, tick.price_usd, order.side)
        if order.limit_usd is None or (price - order.limit_usd) * order.side.sign <= 0:
            state, made = _fill(rules, state, order, price)
            outputs += made
        elif order.time_in_force in _AT_ONCE:
            state = replace(state, orders=_without(state.orders, order))
            outputs.append(Closed(order=order, expired=False, event_ns=tick.event_ns))
    return state, tuple(outputs)


def _fill(rules: Rules, state: ExchangeState, order: WorkingOrder, price: Decimal) -> tuple[ExchangeState, tuple[Output, ...]]:
    signed = order.qty * order.side.sign
    holding = _moved(state.holdings.get(order.symbol, _FLAT), signed, price)
    holdings = {symbol: h for symbol, h in state.holdings.items() if symbol != order.symbol}
    if holding.qty != 0:
        holdings[order.symbol] = holding
    execution_id = derived_uuid("execution", state.replay_id, order.order_id)
    fill = Filled(order=order, execution_id=execution_id, price_usd=price, event_ns=state.now_ns, position_qty=holding.qty)
    fees = tuple(
        Charged(
            activity_id=derived_uuid("fee", execution_id, charge.kind),
            order=order,
            execution_id=execution_id,
            kind=charge.kind,
            amount_usd=charge.amount_usd,
            description=charge.description,
            event_ns=state.now_ns,
        )
        for charge in charges(rules.fees, order.side, qty=order.qty, price_usd=price, event_ns=state.now_ns)
    )
    cash = state.cash_usd - signed * price - sum((fee.amount_usd for fee in fees), Decimal(0))
    return replace(state, cash_usd=cash, holdings=holdings, orders=_without(state.orders, order)), (fill, *fees)


def _moved(holding: Holding, signed_qty: Decimal, price: Decimal) -> Holding:
    """The holding after buying or selling: additions at their price, reductions at average cost, a turn over starts anew."""
    qty = holding.qty + signed_qty
    if holding.qty * signed_qty >= 0:
        return Holding(qty=qty, cost_usd=holding.cost_usd + signed_qty * price)
    if holding.qty * qty > 0:
        return Holding(qty=qty, cost_usd=holding.cost_usd * qty / holding.qty)
    return Holding(qty=qty, cost_usd=qty * price)


def _submit(rules: Rules, state: ExchangeState, order: Submit) -> tuple[ExchangeState, tuple[Output, ...]]:
    if (refused := refusal(rules, state, order)) is not None:
        return state, (refused,)
    number = state.accepted + 1
    working = WorkingOrder(
        order_id=derived_uuid("order", state.replay_id, order.client_order_id),
        client_order_id=order.client_order_id,
        number=number,
        symbol=order.symbol,
        side=order.side,
        qty=order.qty,
        limit_usd=order.limit_usd,
        time_in_force=order.time_in_force,
        extended_hours=order.extended_hours,
        accepted_ns=state.now_ns,
        expires_ns=order.expires_ns,
        reserve_usd=reserve_usd(rules, state, order),
    )
    if working.order_id in state.orders:
        raise InvariantBroken(f"client_order_id {order.client_order_id} works already: whoever submits must refuse it before")
    return replace(state, orders={**state.orders, working.order_id: working}, accepted=number), (Accepted(order=working),)


def _cancel(state: ExchangeState, event: Cancel) -> tuple[ExchangeState, tuple[Output, ...]]:
    order = state.orders.get(event.order_id)
    if order is None:
        return state, (CancelRefused(order_id=event.order_id),)
    return replace(state, orders=_without(state.orders, order)), (Closed(order=order, expired=False, event_ns=event.event_ns),)


def _mark(state: ExchangeState, event: Mark) -> ExchangeState:
    state = replace(state, marks={**state.marks, **event.prices_usd})
    if not event.session_end:
        return state
    return replace(state, last_equity_usd=equity_usd(state), last_marks={symbol: state.marks[symbol] for symbol in state.holdings})


def _without(orders: Mapping[str, WorkingOrder], *done: WorkingOrder) -> dict[str, WorkingOrder]:
    gone = {order.order_id for order in done}
    return {order_id: order for order_id, order in orders.items() if order_id not in gone}


def closing_side(holding: Holding) -> Side:
    """The side of the order that closes a holding."""
    return Side.SELL if holding.qty > 0 else Side.BUY
