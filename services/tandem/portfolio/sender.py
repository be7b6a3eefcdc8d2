"""Orders to the broker, one at a time, until their fate is known or it is known that it is not. Decides nothing about pairs.

A repeated submission carries the same client_order_id, which the broker takes only once; so trying again is safe, and a new id never is.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import structlog

from tandem.domain.errors import Transient
from tandem.domain.trading import Order, OrderStatus
from tandem.flow.execution_records import Reported
from tandem.flow.orders import OrderState
from tandem.ports import Broker, OrderReport

log = structlog.get_logger()
# Half a minute in all: long enough for a broker's restart, short enough that nobody waits for a replay that has died.
_WAITS_S = (0.05, 0.25, 1.0, 3.0, 5.0, 10.0, 10.0)


class Sender:
    """Submits, finds and cancels, with patience."""

    def __init__(self, broker: Broker, stopping: Callable[[], bool], *, may_send: Callable[[], None] = lambda: None) -> None:
        """stopping: asked before each wait, so that a stop is not delayed. may_send: raises when this process may not send any more."""
        self._broker = broker
        self._stopping, self._may_send = stopping, may_send

    def submit(self, order: Order) -> Reported:
        """Send until the broker's answer is clear. UNKNOWN if it is not after all waits."""
        self._may_send()
        report = self._broker.submit(order)
        for wait_s in _WAITS_S:
            if report.status is not OrderStatus.UNKNOWN or self._stopping():
                break
            log.warning("order_unclear", order=order.client_order_id, reason=report.reason)
            time.sleep(wait_s)
            report = self._look_or_send(order, report)
        return reported(report)

    def _look_or_send(self, order: Order, report: OrderReport) -> OrderReport:
        try:
            found = self._broker.find(order.client_order_id)
        except Transient as error:
            return replace(report, reason=str(error))
        if found is None:
            self._may_send()
        return found or self._broker.submit(order)

    def find(self, order: Order) -> Reported | None:
        """What the broker knows of an order; None if it has none of this id. Raises Transient."""
        found = self._broker.find(order.client_order_id)
        return None if found is None else reported(found)

    def cancel(self, state: OrderState) -> Reported:
        """Ask to cancel, and what the order is afterwards. Raises Transient.

        An order that the broker does not know a bar after it was sent will not come any more: it counts as canceled.
        """
        found = self.find(state.order)
        if found is None:
            return Reported(client_order_id=state.order.client_order_id, status=OrderStatus.CANCELED, reason="never reached the broker")
        if found.status.is_final:
            return found
        self._may_send()
        self._broker.cancel(found.broker_order_id)
        return self.find(state.order) or found


def reported(report: OrderReport) -> Reported:
    """A broker's report as an event of the pair machine."""
    return Reported(
        client_order_id=report.client_order_id,
        status=report.status,
        filled=Decimal(report.filled_qty),
        broker_order_id=report.broker_order_id,
        reason=report.reason,
    )


def denied(order: Order, reason: str) -> Reported:
    """The report on an order that we never sent."""
    return Reported(client_order_id=order.client_order_id, status=OrderStatus.DENIED, reason=reason)
