"""Requests as events of the paper exchange: with ids that come from the replay, and the times at which they end."""

from tandem.domain.ids import derived_uuid
from tandem.domain.market import SessionGrid
from tandem.flow.exchange_events import Exit, Submit
from tandem.flow.exchange_records import Change, ExchangeState
from tandem.recycler.order_body import ChangeBody, ExitBody, OrderBody
from tandem.recycler.session_hours import expiry_ns, hours_at


def submit_of(body: OrderBody, state: ExchangeState, grid: SessionGrid) -> Submit:
    """An order that comes in now."""
    client_order_id = body.client_order_id or derived_uuid("client", state.replay_id, state.accepted + 1)
    return Submit(
        event_ns=state.now_ns,
        client_order_id=client_order_id,
        symbol=body.symbol,
        side=body.side,
        qty=body.qty,
        notional_usd=body.notional_usd,
        limit_usd=body.limit_usd,
        stop_usd=body.stop_usd,
        trail_usd=body.trail_usd,
        trail_percent=body.trail_percent,
        time_in_force=body.time_in_force,
        extended_hours=body.extended_hours,
        expires_ns=expiry_ns(grid, state.now_ns, body.time_in_force, extended=body.extended_hours),
        order_class=body.order_class,
        take_profit=_exit(body.take_profit, state, client_order_id, "take_profit"),
        stop_loss=_exit(body.stop_loss, state, client_order_id, "stop_loss"),
        hours=hours_at(grid, state.now_ns),
    )


def change_of(body: ChangeBody, order_id: str, state: ExchangeState, grid: SessionGrid) -> Change:
    """A replacement that comes in now."""
    old, force = state.orders.get(order_id), body.time_in_force
    extended = old is not None and old.extended_hours
    return Change(
        client_order_id=body.client_order_id or derived_uuid("client", state.replay_id, order_id, state.accepted + 1),
        qty=body.qty,
        limit_usd=body.limit_usd,
        stop_usd=body.stop_usd,
        trail=body.trail,
        time_in_force=force,
        expires_ns=None if force is None else expiry_ns(grid, state.now_ns, force, extended=extended),
        hours=hours_at(grid, state.now_ns),
    )


def _exit(leg: ExitBody | None, state: ExchangeState, client_order_id: str, role: str) -> Exit | None:
    if leg is None:
        return None
    own = derived_uuid("client", state.replay_id, client_order_id, role)
    return Exit(client_order_id=own, limit_usd=leg.limit_usd, stop_usd=leg.stop_usd)
