"""What an execution does: cash, shares, cost, fees, and the orders that hang on the one that filled. And how orders end without one.

Pure; called by flow/exchange.py, exchange_matching.py and exchange_actions.py, which decide when and at what price.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from tandem.domain.ids import derived_uuid
from tandem.flow.exchange_events import Adjusted, Charged, Closed, Ending, Filled, Noted, Output, Released, Waiting
from tandem.flow.exchange_records import ExchangeState, Holding, Rules, WorkingOrder
from tandem.flow.fees import charges, due_usd
from tandem.flow.order_checks import FLAT, shares_of

_ZERO = Decimal(0)
Step = tuple[ExchangeState, tuple[Output, ...]]


def fill(rules: Rules, state: ExchangeState, order: WorkingOrder, *, qty: Decimal, price_usd: Decimal, event_ns: int) -> Step:
    """Execute a part of an order, or the rest of it."""
    signed = qty * order.side.sign
    holding = _moved(state.holdings.get(order.symbol, FLAT), signed, price_usd)
    holdings = {symbol: h for symbol, h in state.holdings.items() if symbol != order.symbol}
    if holding.qty != 0:
        holdings[order.symbol] = holding
    after = replace(
        order,
        filled_qty=order.filled_qty + qty,
        filled_usd=order.filled_usd + qty * price_usd,
        executions=order.executions + 1,
    )
    # The first execution's id has no number, as it had none when orders filled whole.
    number = () if order.executions == 0 else (order.executions,)
    execution_id = derived_uuid("execution", state.replay_id, order.order_id, *number)
    cash = state.cash_usd - signed * price_usd
    filled = Filled(
        order=after,
        execution_id=execution_id,
        qty=qty,
        price_usd=price_usd,
        event_ns=event_ns,
        position_qty=holding.qty,
        cash_usd=cash,
    )
    orders = {**state.orders, after.order_id: after} if after.remaining else without(state.orders, after)
    state, charged = _charge(rules, replace(state, cash_usd=cash, holdings=holdings, orders=orders), filled)
    notes: tuple[Output, ...] = ()
    if after.remaining == 0 and after.is_pending:
        what = Waiting.CANCEL_REJECTED if after.cancel_is_pending else Waiting.REPLACE_REJECTED
        notes = (Noted(order=after, what=what, event_ns=event_ns),)
    state, followed = _followed(state, filled)
    return state, (filled, *charged, *notes, *followed)


def whole_qty(order: WorkingOrder, price_usd: Decimal) -> WorkingOrder:
    """The order with its amount of money turned into shares at the price of its first execution."""
    if order.notional_usd is None or order.qty:
        return order
    return replace(order, qty=shares_of(order.notional_usd, price_usd))


def _charge(rules: Rules, state: ExchangeState, filled: Filled) -> tuple[ExchangeState, tuple[Charged, ...]]:
    found, sums = [], dict(state.fees_usd)
    for charge in charges(rules.fees, filled.order.side, qty=filled.qty, price_usd=filled.price_usd, event_ns=filled.event_ns):
        before = sums.get(charge.kind, _ZERO)
        sums[charge.kind] = before + charge.amount_usd
        if amount := due_usd(before, charge.amount_usd):
            found.append(
                Charged(
                    activity_id=derived_uuid("fee", filled.execution_id, charge.kind),
                    order=filled.order,
                    execution_id=filled.execution_id,
                    kind=charge.kind,
                    amount_usd=amount,
                    description=charge.description,
                    event_ns=filled.event_ns,
                )
            )
    cash = state.cash_usd - sum((charged.amount_usd for charged in found), _ZERO)
    return replace(state, cash_usd=cash, fees_usd=sums), tuple(found)


def _moved(holding: Holding, signed_qty: Decimal, price: Decimal) -> Holding:
    """The holding after buying or selling: additions at their price, reductions at average cost, a turn over starts anew."""
    qty = holding.qty + signed_qty
    if holding.qty * signed_qty >= 0:
        return Holding(qty=qty, cost_usd=holding.cost_usd + signed_qty * price)
    if holding.qty * qty > 0:
        return Holding(qty=qty, cost_usd=holding.cost_usd * qty / holding.qty)
    return Holding(qty=qty, cost_usd=qty * price)


def _followed(state: ExchangeState, filled: Filled) -> Step:
    """What a fill means for the other orders of its group."""
    order, outputs = filled.order, list[Output]()
    if not order.group:
        return state, ()
    if not order.is_exit:
        return released(state, order, filled.event_ns) if filled.is_last else (state, ())
    orders = dict(state.orders)
    for other in _siblings(state, order):
        if other.remaining <= filled.qty:
            del orders[other.order_id]
            outputs.append(Closed(order=other, ending=Ending.SIBLING, event_ns=filled.event_ns))
        else:
            orders[other.order_id] = less = replace(other, qty=other.qty - filled.qty)
            outputs.append(Adjusted(order=less, event_ns=filled.event_ns))
    return replace(state, orders=orders), tuple(outputs)


def released(state: ExchangeState, entry: WorkingOrder, event_ns: int) -> Step:
    """The entry is filled: its exits work from the next trade on."""
    outputs, orders = list[Output](), dict(state.orders)
    for leg in [o for o in state.orders.values() if o.group == entry.group and o.is_held]:
        orders[leg.order_id] = works = replace(leg, is_held=False, works_after_ns=event_ns)
        outputs.append(Released(order=works, event_ns=event_ns))
    return replace(state, orders=orders), tuple(outputs)


def close(state: ExchangeState, order: WorkingOrder, ending: Ending, event_ns: int) -> Step:
    """End an order without a (further) fill, and with it what hangs on it: the exits of an entry, the sibling of an exit."""
    outputs: list[Output] = [Closed(order=order, ending=ending, event_ns=event_ns)]
    gone = [order]
    if order.group:
        others = [o for o in state.orders.values() if o.group == order.group and o.order_id != order.order_id]
        gone += [other for other in others if other.is_exit]
        outputs += [Closed(order=other, ending=Ending.SIBLING, event_ns=event_ns) for other in others if other.is_exit]
    return replace(state, orders=without(state.orders, *gone)), tuple(outputs)


def _siblings(state: ExchangeState, order: WorkingOrder) -> list[WorkingOrder]:
    return [o for o in state.orders.values() if o.group == order.group and o.is_exit and o.order_id != order.order_id]


def without(orders: Mapping[str, WorkingOrder], *done: WorkingOrder) -> dict[str, WorkingOrder]:
    """The orders less some."""
    gone = {order.order_id for order in done}
    return {order_id: order for order_id, order in orders.items() if order_id not in gone}
