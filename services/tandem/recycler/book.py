"""What the paper exchange has said so far, for whoever asks later: every order with its fate, and the account's activities.

A fold over the exchange's outputs; decides nothing. Its key is client_order_id, which is why it answers whether one was used before.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tandem.domain.units import utc
from tandem.flow.exchange_records import Accepted, CancelRefused, Charged, Closed, Filled, Output, Rejected, WorkingOrder


class Status(StrEnum):
    """Alpaca's words for where an order is."""

    NEW = "new"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order and its fate."""

    order: WorkingOrder
    status: Status
    updated_ns: int
    fill: Filled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One trade update: what happened to which order."""

    event: str  # "new", "fill", "canceled", "expired"
    record: OrderRecord
    event_ns: int


Activity = Filled | Charged


class Book:
    """Orders by id, oldest first, and activities, oldest first."""

    def __init__(self) -> None:
        self._orders: dict[str, OrderRecord] = {}
        self._by_client: dict[str, str] = {}
        self._activities: list[Activity] = []
        self._places: dict[str, int] = {}  # of activities, by id

    def apply(self, outputs: Sequence[Output]) -> tuple[Update, ...]:
        """Take in outputs in their order; what to tell the subscribers of trade updates."""
        return tuple(update for output in outputs if (update := self._applied(output)) is not None)

    def _applied(self, output: Output) -> Update | None:
        match output:
            case Accepted(order=order):
                self._by_client[order.client_order_id] = order.order_id
                return self._put("new", OrderRecord(order=order, status=Status.NEW, updated_ns=order.accepted_ns))
            case Filled(order=order):
                self._add(output)
                return self._put(
                    "fill", replace(self._orders[order.order_id], status=Status.FILLED, updated_ns=output.event_ns, fill=output)
                )
            case Closed(order=order):
                status = Status.EXPIRED if output.expired else Status.CANCELED
                return self._put(status.value, replace(self._orders[order.order_id], status=status, updated_ns=output.event_ns))
            case Charged():
                self._add(output)
                return None
            case Rejected() | CancelRefused():
                return None

    def _put(self, event: str, record: OrderRecord) -> Update:
        self._orders[record.order.order_id] = record
        return Update(event=event, record=record, event_ns=record.updated_ns)

    def _add(self, activity: Activity) -> None:
        self._places[activity_id(activity)] = len(self._activities)
        self._activities.append(activity)

    def order(self, order_id: str) -> OrderRecord | None:
        """The order under the exchange's id."""
        return self._orders.get(order_id)

    def by_client_order_id(self, client_order_id: str) -> OrderRecord | None:
        """The order under the client's id."""
        order_id = self._by_client.get(client_order_id)
        return None if order_id is None else self._orders[order_id]

    def orders(self, *, newest_first: bool) -> Iterator[OrderRecord]:
        """All orders in the order of their acceptance, or the other way round."""
        return reversed(self._orders.values()) if newest_first else iter(self._orders.values())

    def activities(self, *, after_ns: int, until_ns: int) -> Sequence[tuple[int, Activity]]:
        """(place, activity) of fills and fees in (after_ns, until_ns], in the order in which they were booked."""
        first = bisect_right(self._activities, after_ns, key=lambda activity: activity.event_ns)
        stop = bisect_right(self._activities, until_ns, key=lambda activity: activity.event_ns)
        return [(place, self._activities[place]) for place in range(first, stop)]

    def place(self, identifier: str) -> int | None:
        """The place of the activity under an id."""
        return self._places.get(identifier)


def activity_id(activity: Activity) -> str:
    """Time and id, in the form of Alpaca's; for a fill the id is the execution's."""
    own = activity.execution_id if isinstance(activity, Filled) else activity.activity_id
    moment = utc(activity.event_ns)
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}::{own}"
