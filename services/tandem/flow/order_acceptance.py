"""Orders that the paper exchange takes: from a request to working orders, one or the two or three of a bracket, OCO or OTO.

Pure; called by flow/exchange.py after flow/order_refusals.py has let the request through, and for the broker's own orders.
"""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import Symbol, derived_uuid
from tandem.domain.trading import Side
from tandem.flow.directives import RejectNext
from tandem.flow.exchange_events import Accepted, Exit, Output, Rejected, Submit, Voided
from tandem.flow.exchange_fills import Step, without
from tandem.flow.exchange_records import ExchangeState, OrderClass, OrderKind, Origin, Rules, WorkingOrder
from tandem.flow.order_checks import reserve_usd
from tandem.flow.order_refusals import refusal
from tandem.flow.trailing import trailed

_ZERO = Decimal(0)


def submit(rules: Rules, state: ExchangeState, order: Submit) -> Step:
    """Take an order or refuse it. Raises InvariantBroken for a client_order_id that works already."""
    state, scripted = _scripted(state, order.symbol)
    if scripted is not None and not scripted.late:
        return state, (_rejected(order, scripted),)
    if (refused := refusal(rules, state, order)) is not None:
        return state, (refused,)
    state, outputs = accept(rules, state, order)
    if scripted is None:
        return state, outputs
    gone = [output.order for output in outputs if isinstance(output, Accepted)]
    voided = tuple(
        Voided(order=o, status=scripted.status, code=scripted.code, message=scripted.message, event_ns=order.event_ns) for o in gone
    )
    return replace(state, orders=without(state.orders, *gone)), outputs + voided


def accept(rules: Rules, state: ExchangeState, order: Submit, *, origin: Origin = Origin.CLIENT) -> Step:
    """The working orders of a request, without any check of it."""
    first = _working(rules, state, order, origin)
    made = [first]
    if order.order_class is OrderClass.OCO:
        made[0] = replace(first, is_exit=True, reserve_usd=_ZERO)
    exit_side = order.side if order.order_class is OrderClass.OCO else order.side.opposite
    for leg in (order.take_profit, order.stop_loss):
        if leg is not None:
            made.append(_leg(state, order, leg, first, side=exit_side, number=first.number + len(made)))
    for found in made:
        if found.order_id in state.orders:
            raise InvariantBroken(f"client_order_id {found.client_order_id} works already: whoever submits must refuse it before")
    orders = {**state.orders, **{found.order_id: found for found in made}}
    outputs: tuple[Output, ...] = tuple(Accepted(order=found) for found in made)
    return replace(state, orders=orders, accepted=made[-1].number), outputs


def _working(rules: Rules, state: ExchangeState, order: Submit, origin: Origin) -> WorkingOrder:
    order_id = derived_uuid("order", state.replay_id, order.client_order_id)
    trails = order.trail_usd is not None or order.trail_percent is not None
    working = WorkingOrder(
        order_id=order_id,
        client_order_id=order.client_order_id,
        number=state.accepted + 1,
        symbol=order.symbol,
        side=order.side,
        qty=_ZERO if order.notional_usd is not None else order.qty,
        limit_usd=order.limit_usd,
        time_in_force=order.time_in_force,
        extended_hours=order.extended_hours,
        accepted_ns=state.now_ns,
        expires_ns=order.expires_ns,
        reserve_usd=reserve_usd(rules, state, order),
        notional_usd=order.notional_usd,
        stop_usd=order.stop_usd,
        trail_usd=order.trail_usd,
        trail_percent=order.trail_percent,
        mark_usd=state.marks[order.symbol] if trails else None,
        order_class=order.order_class,
        group=order_id if order.order_class is not OrderClass.SIMPLE else "",
        origin=origin,
        works_after_ns=state.now_ns,
    )
    if working.kind is OrderKind.TRAILING_STOP and working.mark_usd is not None:
        return replace(working, stop_usd=trailed(working, working.mark_usd))
    return working


def _leg(state: ExchangeState, order: Submit, leg: Exit, first: WorkingOrder, *, side: Side, number: int) -> WorkingOrder:
    return WorkingOrder(
        order_id=derived_uuid("order", state.replay_id, leg.client_order_id),
        client_order_id=leg.client_order_id,
        number=number,
        symbol=order.symbol,
        side=side,
        qty=order.qty,
        limit_usd=leg.limit_usd,
        stop_usd=leg.stop_usd,
        time_in_force=order.time_in_force,
        extended_hours=False,
        accepted_ns=state.now_ns,
        expires_ns=order.expires_ns,
        reserve_usd=_ZERO,  # it closes what its entry opens
        order_class=order.order_class,
        group=first.order_id,
        is_exit=True,
        is_held=order.order_class is not OrderClass.OCO,
        origin=Origin.LEG,
        works_after_ns=state.now_ns,
    )


def _scripted(state: ExchangeState, symbol: Symbol) -> tuple[ExchangeState, RejectNext | None]:
    """The first prepared refusal that is for this order, used up."""
    rejects = state.conditions.rejects
    for place, found in enumerate(rejects):
        if found.symbol in (None, symbol):
            left = (replace(found, count=found.count - 1),) if found.count > 1 else ()
            rejects = rejects[:place] + left + rejects[place + 1 :]
            return replace(state, conditions=replace(state.conditions, rejects=rejects)), found
    return state, None


def _rejected(order: Submit, scripted: RejectNext) -> Rejected:
    return Rejected(client_order_id=order.client_order_id, status=scripted.status, code=scripted.code, message=scripted.message)
