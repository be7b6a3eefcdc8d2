"""Cancellations and replacements of working orders: at once, or, in a race, at the symbol's next trade if the order does not fill there.

A replacement's quantity counts what the old order has filled; the new order is for the rest, has a new id and works on later trades only.
Pure; called by flow/exchange.py and, for requests that waited, by exchange_matching.py.
"""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.ids import Symbol, derived_uuid
from tandem.flow.exchange_events import Accepted, Adjusted, Cancel, CancelRefused, Ending, Noted, Output, Replace, Replaced, Submit, Waiting
from tandem.flow.exchange_events import ReplaceRefused as Refused
from tandem.flow.exchange_fills import Step, close, without
from tandem.flow.exchange_records import Change, ExchangeState, OrderKind, Origin, Rules, WorkingOrder
from tandem.flow.order_checks import reserve_usd
from tandem.flow.order_refusals import CODE_ORDER, CODE_PARAMETER, UNPROCESSABLE, refusal
from tandem.flow.trailing import trailed

_ZERO = Decimal(0)


def cancel(state: ExchangeState, event: Cancel) -> Step:
    """Take a request to cancel."""
    order = state.orders.get(event.order_id)
    if order is None or order.is_pending:
        return state, (CancelRefused(order_id=event.order_id),)
    if order.symbol in state.conditions.races:
        state = _raced(state, order.symbol, replace(order, cancel_is_pending=True))
        return state, (Noted(order=state.orders[order.order_id], what=Waiting.CANCEL_PENDING, event_ns=event.event_ns),)
    return close(state, order, Ending.REQUEST, event.event_ns)


def change(rules: Rules, state: ExchangeState, event: Replace) -> Step:
    """Take a request to replace."""
    order, wanted = state.orders.get(event.order_id), event.change
    if order is None:
        return state, (_refused(event.order_id, "order is not open"),)
    if (reason := _unchangeable(order, wanted)) is not None:
        return state, (_refused(order.order_id, reason),)
    if (refused := _not_now(rules, state, order, wanted)) is not None:
        return state, (refused,)
    found = _new_order(rules, state, order, wanted)
    if order.symbol in state.conditions.races:
        # Both orders' buying power would be held; the larger of the two is what Alpaca keeps.
        waiting = replace(order, change=wanted, reserve_usd=max(order.reserve_usd, found.reserve_usd))
        state = _raced(state, order.symbol, waiting)
        return state, (Noted(order=waiting, what=Waiting.REPLACE_PENDING, event_ns=event.event_ns),)
    return _swapped(state, order, found)


def resolved(rules: Rules, state: ExchangeState, order: WorkingOrder) -> Step:
    """A request that waited takes effect, as the order did not fill."""
    if order.cancel_is_pending:
        return close(state, order, Ending.REQUEST, state.now_ns)
    assert order.change is not None
    if order.change.qty is not None and order.change.qty <= order.filled_qty:  # it has filled meanwhile as far as was still wanted
        stays = replace(order, change=None)
        note = Noted(order=stays, what=Waiting.REPLACE_REJECTED, event_ns=state.now_ns)
        return replace(state, orders={**state.orders, order.order_id: stays}), (note,)
    return _swapped(state, order, _new_order(rules, state, order, order.change))


def _raced(state: ExchangeState, symbol: Symbol, order: WorkingOrder) -> ExchangeState:
    conditions = replace(state.conditions, races=state.conditions.races - {symbol})
    return replace(state, conditions=conditions, orders={**state.orders, order.order_id: order})


def _unchangeable(order: WorkingOrder, wanted: Change) -> str | None:
    """Why this order cannot take these values at all."""
    if order.cancel_is_pending:
        return "order is pending cancel and cannot be replaced"
    if order.change is not None:
        return "order is pending replacement and cannot be replaced"
    if order.notional_usd is not None:
        return "notional orders cannot be replaced"
    if wanted.qty is not None and (wanted.qty != wanted.qty.to_integral_value() or order.qty != order.qty.to_integral_value()):
        return "qty of fractional orders cannot be replaced"
    if wanted.qty is not None and order.is_exit:
        return "qty of legs cannot be replaced: both exits are for what their entry fills"
    if wanted.qty is not None and wanted.qty <= order.filled_qty:
        return f"qty must be > filled_qty ({order.filled_qty:f})"
    is_trailing = order.kind is OrderKind.TRAILING_STOP
    for name, value, has in (
        ("limit_price", wanted.limit_usd, order.limit_usd is not None),
        ("stop_price", wanted.stop_usd, order.stop_usd is not None and not is_trailing),
        ("trail", wanted.trail, is_trailing),
    ):
        if value is not None and not has:
            return f"{name} cannot be set on a {order.kind.value} order"
    return None


def _not_now(rules: Rules, state: ExchangeState, old: WorkingOrder, wanted: Change) -> Refused | None:
    """Why the new order would be refused, with the old one out of its way."""
    if old.is_held or old.symbol not in state.marks:
        return None
    no = refusal(rules, _rest(state, old), _asked(state, old, wanted))
    return None if no is None else Refused(order_id=old.order_id, status=no.status, code=no.code, message=no.message, details=no.details)


def _rest(state: ExchangeState, old: WorkingOrder) -> ExchangeState:
    own = (o for o in state.orders.values() if o is old or (old.group and o.group == old.group))
    return replace(state, orders=without(state.orders, *own))


def _asked(state: ExchangeState, old: WorkingOrder, wanted: Change) -> Submit:
    return Submit(
        event_ns=state.now_ns,
        client_order_id=wanted.client_order_id,
        symbol=old.symbol,
        side=old.side,
        qty=(wanted.qty or old.qty) - old.filled_qty,
        limit_usd=wanted.limit_usd or old.limit_usd,
        time_in_force=wanted.time_in_force or old.time_in_force,
        extended_hours=old.extended_hours,
        expires_ns=wanted.expires_ns if wanted.time_in_force else old.expires_ns,
        stop_usd=wanted.stop_usd or old.stop_usd,
        trail_usd=(wanted.trail or old.trail_usd) if old.trail_usd is not None else None,
        trail_percent=(wanted.trail or old.trail_percent) if old.trail_percent is not None else None,
        hours=wanted.hours,
    )


def _new_order(rules: Rules, state: ExchangeState, old: WorkingOrder, wanted: Change) -> WorkingOrder:
    """The order that takes the old one's place."""
    asked = _asked(state, old, wanted)
    new = replace(
        old,
        order_id=derived_uuid("order", state.replay_id, wanted.client_order_id),
        client_order_id=wanted.client_order_id,
        number=state.accepted + 1,
        qty=asked.qty,
        limit_usd=asked.limit_usd,
        stop_usd=asked.stop_usd,
        trail_usd=asked.trail_usd,
        trail_percent=asked.trail_percent,
        time_in_force=asked.time_in_force,
        accepted_ns=state.now_ns,
        works_after_ns=state.now_ns,
        expires_ns=asked.expires_ns,
        reserve_usd=_ZERO if old.is_exit else reserve_usd(rules, _rest(state, old), asked),
        origin=Origin.REPLACE,
        replaces=old.order_id,
        filled_qty=_ZERO,
        filled_usd=_ZERO,
        executions=0,
        change=None,
    )
    if new.kind is OrderKind.TRAILING_STOP and new.mark_usd is not None and not new.is_triggered:
        return replace(new, stop_usd=trailed(new, new.mark_usd))
    return new


def _swapped(state: ExchangeState, old: WorkingOrder, new: WorkingOrder) -> Step:
    orders = {**without(state.orders, old), new.order_id: new}
    outputs: list[Output] = [
        Replaced(order=old, new_order_id=new.order_id, new_client_order_id=new.client_order_id, event_ns=state.now_ns),
        Accepted(order=new),
    ]
    if new.group and not new.is_exit:  # its exits are for all that the entry will have filled
        for leg in [o for o in orders.values() if o.group == new.group and o.is_held]:
            orders[leg.order_id] = changed = replace(leg, qty=old.filled_qty + new.qty)
            outputs.append(Adjusted(order=changed, event_ns=state.now_ns))
    return replace(state, orders=orders, accepted=new.number), tuple(outputs)


def _refused(order_id: str, reason: str) -> Refused:
    code = CODE_PARAMETER if reason.startswith("qty") else CODE_ORDER
    return Refused(order_id=order_id, status=UNPROCESSABLE, code=code, message=reason)
