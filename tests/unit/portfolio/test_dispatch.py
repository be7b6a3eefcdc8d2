"""Tickets to the broker: beside each other where that is allowed, what reduces first, answers in the order of the tickets."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.ids import PairId
from tandem.domain.trading import Action, Order, OrderStatus, Side
from tandem.flow.journal import Intent
from tandem.portfolio.dispatch import Dispatch
from tandem.portfolio.sender import Sender
from tandem.portfolio.tickets import Ticket
from tandem.ports import OrderReport
from trading_cases import CONSUMER, KO, MODEL, PEP

_LIMIT_S = 60.0


class MeetingBroker:
    """Answers when so many orders are with it at once; remembers in which order they came."""

    def __init__(self, at_once: int, seen: list[str], refuse: frozenset[str] = frozenset()) -> None:
        self._barrier, self._seen, self._refuse = threading.Barrier(at_once), seen, refuse

    def submit(self, order: Order) -> OrderReport:
        self._seen.append(order.client_order_id)
        self._barrier.wait(_LIMIT_S)
        status = OrderStatus.REJECTED if order.client_order_id in self._refuse else OrderStatus.ACCEPTED
        return OrderReport(client_order_id=order.client_order_id, broker_order_id="b", status=status, filled_qty="0", reason="no")


def ticket(number: int, action: Action = Action.OPEN_LONG) -> Ticket:
    intent = Intent(
        intent_id=f"i{number}",
        run="r",
        pair=PairId(f"P{number}"),
        sector=CONSUMER,
        action=action,
        reason="",
        bar_close_ns=1,
        trade_id=f"i{number}",
        model=MODEL,
    )
    legs = [(leg, symbol, side) for leg, symbol, side in (("a", KO, Side.SELL), ("b", PEP, Side.BUY))]
    orders = tuple(
        Order(
            client_order_id=f"{number}{leg}",
            intent_id=intent.intent_id,
            pair=intent.pair,
            leg=leg,
            attempt=0,
            symbol=symbol,
            side=side,
            qty=10,
            limit_usd=None,
            decided_ns=1,
        )
        for leg, symbol, side in legs
    )
    return Ticket(intent=intent, orders=orders)


def dispatch(at_once: int, connections: int, refuse: frozenset[str] = frozenset()) -> tuple[Dispatch, list[str]]:
    seen: list[str] = []
    broker = MeetingBroker(at_once, seen, refuse)
    first, *others = [Sender(broker, lambda: True) for _ in range(connections)]  # type: ignore[arg-type]
    return Dispatch(first, others), seen


def test_tickets_are_with_the_broker_at_the_same_time() -> None:
    """The broker answers only when four orders are with it."""
    made, _ = dispatch(4, 4)
    answers = made.send([ticket(number) for number in range(4)], together=True)
    made.close()

    assert [a.order.client_order_id for a in answers] == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]
    assert all(a.report.status is OrderStatus.ACCEPTED for a in answers)


@pytest.mark.parametrize(("connections", "together"), [(1, True), (4, False)])
def test_in_lockstep_or_over_one_connection_orders_come_one_after_the_other(connections: int, together: bool) -> None:
    made, seen = dispatch(1, connections)
    made.send([ticket(number) for number in range(3)], together=together)
    made.close()

    assert seen == ["0a", "0b", "1a", "1b", "2a", "2b"]


def test_what_reduces_has_an_answer_before_anything_opens() -> None:
    made, seen = dispatch(2, 4)
    made.send([ticket(0), ticket(1, Action.CLOSE), ticket(2), ticket(3, Action.UNWIND)], together=True)
    made.close()

    assert {order[0] for order in seen[:4]} == {"1", "3"}
    assert {order[0] for order in seen[4:]} == {"0", "2"}


def test_a_refused_leg_keeps_the_next_at_home_but_not_in_a_repair() -> None:
    made, seen = dispatch(1, 1, frozenset({"0a", "1a"}))
    answers = made.send([ticket(0), ticket(1, Action.UNWIND)], together=True)

    assert seen == ["0a", "1a", "1b"]
    assert [a.report.status for a in answers] == [OrderStatus.REJECTED, OrderStatus.DENIED, OrderStatus.REJECTED, OrderStatus.ACCEPTED]
    assert [a.answered_ns > 0 for a in answers] == [True, False, True, True]


def test_what_meets_inside_never_leaves() -> None:
    made, seen = dispatch(1, 1)
    crossed = ticket(0)
    crossed = replace(crossed, orders=(replace(crossed.orders[0], crossed_qty=10), crossed.orders[1]))
    made.send([crossed], together=False)

    assert seen == ["0b"]
    assert Decimal(crossed.orders[0].outside_qty) == 0
