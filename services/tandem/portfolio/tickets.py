"""Intents with their orders, made of wishes, plans and what must be undone. Ids come from the input, so a replay makes the same.

Pure; called by desk.py, which writes and sends them.
"""

from dataclasses import dataclass, field

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import Symbol, client_order_id, intent_id
from tandem.domain.trading import Action, Order, Side
from tandem.flow.execution_records import CompleteWanted, Execution, FlattenWanted
from tandem.flow.journal import Intent
from tandem.flow.sizing import Plan
from tandem.portfolio.wishes import Wish

_REASON_MAX = 200  # a broker's message may be long; the whole of it is in the order's row


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An intent and its orders in the order of their sending."""

    intent: Intent
    orders: tuple[Order, ...]

    def leg(self, name: str) -> Order:
        """The order of a leg."""
        return next(order for order in self.orders if order.leg == name)


@dataclass(slots=True)
class Outgoing:
    """Tickets that the next transaction makes durable, in the order of their sending."""

    tickets: list[Ticket] = field(default_factory=list)


def opening(wish: Wish, plan: Plan, run: str, at_ns: int) -> Ticket:
    """Both legs of a plan. The opening intent is the id of the round trip."""
    pair, action = wish.spec.pair, wish.action
    trade_id = intent_id(run, pair, at_ns, wish.model.digest, action.value)
    intent = Intent(
        intent_id=trade_id,
        run=run,
        pair=pair,
        sector=wish.spec.sector,
        action=action,
        reason=wish.reason.value,
        bar_close_ns=at_ns,
        trade_id=trade_id,
        model=wish.model,
    )
    orders = [_order(intent, (leg.leg, leg.symbol, leg.side, leg.qty)) for leg in (plan.a, plan.b)]
    return Ticket(intent=intent, orders=_harder_first(orders))


def closing(wish: Wish, execution: Execution, run: str, at_ns: int) -> Ticket:
    """Both legs of what is held, the other way round."""
    intent = _undoing(execution, Action.CLOSE, wish.reason.value, run=run, at_ns=at_ns, model=wish.model)
    orders = [
        _order(intent, (name, leg.symbol, Side.SELL if leg.held > 0 else Side.BUY, int(abs(leg.held))))
        for name, leg in (("a", execution.a), ("b", execution.b))
    ]
    return Ticket(intent=intent, orders=_harder_first(orders))


def flattening(wanted: FlattenWanted, execution: Execution, model: ModelRef, *, run: str, at_ns: int) -> Ticket:
    """The legs that must be undone."""
    intent = _undoing(execution, Action.UNWIND, execution.reason[:_REASON_MAX], run=run, at_ns=at_ns, model=model)
    return Ticket(intent=intent, orders=tuple(_order(intent, leg, wanted.attempt) for leg in wanted.legs))


def completing(wanted: CompleteWanted, execution: Execution, model: ModelRef, *, run: str, at_ns: int) -> Ticket:
    """What the other leg of a bare one lacks."""
    intent = _undoing(execution, Action.COMPLETE, "leg_bare", run=run, at_ns=at_ns, model=model)
    return Ticket(intent=intent, orders=tuple(_order(intent, leg, wanted.attempt) for leg in wanted.legs))


def _undoing(execution: Execution, action: Action, reason: str, *, run: str, at_ns: int, model: ModelRef) -> Intent:
    return Intent(
        intent_id=intent_id(run, execution.pair, at_ns, model.digest, action.value),
        run=run,
        pair=execution.pair,
        sector=execution.sector,
        action=action,
        reason=reason,
        bar_close_ns=at_ns,
        trade_id=execution.trade_id,
        model=model,
    )


def _order(intent: Intent, leg: tuple[str, Symbol, Side, int], attempt: int = 0) -> Order:
    name, symbol, side, qty = leg
    return Order(
        client_order_id=client_order_id(intent.intent_id, name, attempt),
        intent_id=intent.intent_id,
        pair=intent.pair,
        leg=name,
        attempt=attempt,
        symbol=symbol,
        side=side,
        qty=qty,
        limit_usd=None,
        decided_ns=intent.bar_close_ns,
    )


def _harder_first(orders: list[Order]) -> tuple[Order, ...]:
    """The sale first: short sales are what brokers refuse, and then the other leg need not be sent at all."""
    return tuple(sorted(orders, key=lambda order: (order.side is not Side.SELL, order.leg)))
