"""Tickets to the broker: leg by leg within a ticket, tickets beside each other where nothing depends on their order. Decides nothing.

What reduces leaves before what opens. In lockstep one after the other, so that a replay's exchange sees the same order of orders each
time; else over several connections, as one answer takes longer than everything else of a bar. Called by desk.py with durable tickets.
"""

import queue
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tandem.domain.trading import Action, Order, OrderStatus
from tandem.flow.execution_records import Reported
from tandem.portfolio.sender import Sender, denied
from tandem.portfolio.tickets import Ticket

_ALONE = (Action.UNWIND, Action.COMPLETE)  # their legs do not depend on each other
_OPENS = (Action.OPEN_LONG, Action.OPEN_SHORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one order. answered_ns: wall time of the broker's answer, 0 when it was never sent."""

    order: Order
    report: Reported
    answered_ns: int


class Dispatch:
    """Sends over one connection, or over several at once."""

    def __init__(self, sender: Sender, others: Sequence[Sender] = ()) -> None:
        """others: each over a connection of its own, for threads of their own."""
        self._sender = sender
        self._senders: queue.SimpleQueue[Sender] = queue.SimpleQueue()
        for each in (sender, *others):
            self._senders.put(each)
        self._pool = ThreadPoolExecutor(len(others) + 1, thread_name_prefix="orders") if others else None

    def send(self, tickets: Sequence[Ticket], *, together: bool) -> list[Answer]:
        """The answers, in the order of the tickets and their orders. Raises Transient after all have been heard."""
        if self._pool is None or not together or len(tickets) == 1:
            return [answer for ticket in tickets for answer in _sent(ticket, self._sender)]
        answers: list[Answer] = []
        for opens in (False, True):
            wave = [ticket for ticket in tickets if (ticket.intent.action in _OPENS) is opens]
            futures = [self._pool.submit(self._send_one, ticket) for ticket in wave]
            answers += [answer for future in futures for answer in future.result()]
        return answers

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _send_one(self, ticket: Ticket) -> list[Answer]:
        sender = self._senders.get()
        try:
            return list(_sent(ticket, sender))
        finally:
            self._senders.put(sender)


def _sent(ticket: Ticket, sender: Sender) -> Iterable[Answer]:
    """Leg by leg. When one is refused, the ones after it are not sent at all, unless they only repair. What meets inside never leaves."""
    refused = ""
    for order in (order for order in ticket.orders if order.outside_qty):
        if refused and ticket.intent.action not in _ALONE:
            yield Answer(order=order, report=denied(order, refused), answered_ns=0)
            continue
        report = sender.submit(order)
        if report.status is OrderStatus.REJECTED:
            refused = f"{order.symbol} was refused"
        yield Answer(order=order, report=report, answered_ns=time.time_ns())
