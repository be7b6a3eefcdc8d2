"""What the paper exchange has said so far, for whoever asks later: every order with its fate, and the account's activities.

A fold over the exchange's outputs; decides nothing. Its key is client_order_id, which is why it answers whether one was used before.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tandem.domain.units import utc
from tandem.flow.exchange_events import (
    Accepted,
    Adjusted,
    Booked,
    CancelRefused,
    Charged,
    Closed,
    Filled,
    Happened,
    Noted,
    Output,
    Rejected,
    Released,
    Replaced,
    ReplaceRefused,
    Voided,
    Waiting,
)
from tandem.flow.exchange_records import WorkingOrder


class Status(StrEnum):
    """Alpaca's words for where an order is."""

    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"

    @property
    def is_open(self) -> bool:
        """The order may still fill."""
        return self in _OPEN


_OPEN = frozenset({Status.NEW, Status.HELD, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL, Status.PENDING_REPLACE})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order and its fate."""

    order: WorkingOrder
    status: Status
    updated_ns: int
    fill: Filled | None = None  # the last one
    replaced_by: str = ""
    reason: str = ""  # why it was rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One trade update: what happened to which order."""

    event: str  # Alpaca's word: "new", "fill", "partial_fill", "canceled", ...
    record: OrderRecord
    event_ns: int


Activity = Filled | Charged | Booked


class Book:
    """Orders by id, oldest first, and activities, oldest first."""

    def __init__(self) -> None:
        self._orders: dict[str, OrderRecord] = {}
        self._by_client: dict[str, str] = {}
        self._groups: dict[str, list[str]] = {}  # order ids of the legs, by their group
        self._activities: list[Activity] = []
        self._places: dict[str, int] = {}  # of activities, by id
        self.charges = 0  # activities that are no executions: fees, borrow, interest, dividends, splits

    def apply(self, outputs: Sequence[Output]) -> tuple[Update, ...]:
        """Take in outputs in their order; what to tell the subscribers of trade updates."""
        return tuple(update for output in outputs if (update := self._applied(output)) is not None)

    def _applied(self, output: Output) -> Update | None:
        match output:
            case Accepted(order=order):
                return self._accepted(order)
            case Released(order=order):
                return self._put("new", self._changed(order, Status.NEW, output.event_ns))
            case Filled(order=order):
                self._add(output)
                event, status = ("fill", Status.FILLED) if output.is_last else ("partial_fill", Status.PARTIALLY_FILLED)
                return self._put(event, replace(self._changed(order, status, output.event_ns), fill=output))
            case Closed(order=order):
                status = Status.EXPIRED if output.expired else Status.CANCELED
                return self._put(status.value, self._changed(order, status, output.event_ns))
            case Replaced(order=order):
                record = replace(self._changed(order, Status.REPLACED, output.event_ns), replaced_by=output.new_order_id)
                return self._put("replaced", record)
            case Voided(order=order):
                record = replace(self._changed(order, Status.REJECTED, output.event_ns), reason=output.message)
                return self._put("rejected", record)
            case Noted():
                return self._noted(output)
            case Adjusted(order=order):
                old = self._orders[order.order_id]
                self._orders[order.order_id] = replace(old, order=order, updated_ns=output.event_ns)
                return None
            case Charged() | Booked():
                self._add(output)
                self.charges += 1
                return None
            case Rejected() | CancelRefused() | ReplaceRefused() | Happened():
                return None

    def _accepted(self, order: WorkingOrder) -> Update | None:
        self._by_client[order.client_order_id] = order.order_id
        if order.is_exit:
            self._groups.setdefault(order.group, []).append(order.order_id)
        if order.is_held:
            self._orders[order.order_id] = OrderRecord(order=order, status=Status.HELD, updated_ns=order.accepted_ns)
            return None
        return self._put("new", OrderRecord(order=order, status=Status.NEW, updated_ns=order.accepted_ns))

    def _noted(self, note: Noted) -> Update:
        filled = self._orders[note.order.order_id].status is Status.FILLED
        working = Status.PARTIALLY_FILLED if note.order.filled_qty else Status.NEW
        event, status = {
            Waiting.CANCEL_PENDING: ("pending_cancel", Status.PENDING_CANCEL),
            Waiting.REPLACE_PENDING: ("pending_replace", Status.PENDING_REPLACE),
            Waiting.CANCEL_REJECTED: ("order_cancel_rejected", Status.FILLED if filled else working),
            Waiting.REPLACE_REJECTED: ("order_replace_rejected", Status.FILLED if filled else working),
        }[note.what]
        return self._put(event, self._changed(note.order, status, note.event_ns))

    def _changed(self, order: WorkingOrder, status: Status, event_ns: int) -> OrderRecord:
        return replace(self._orders[order.order_id], order=order, status=status, updated_ns=event_ns)

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

    def legs(self, record: OrderRecord) -> tuple[OrderRecord, ...]:
        """The exits that came with an order; none for any other."""
        if record.order.group != record.order.order_id:
            return ()
        return tuple(self._orders[leg] for leg in self._groups.get(record.order.group, ()) if leg != record.order.order_id)

    def orders(self, *, newest_first: bool) -> Iterator[OrderRecord]:
        """All orders in the order of their acceptance, or the other way round."""
        return reversed(self._orders.values()) if newest_first else iter(self._orders.values())

    def activities(self, *, after_ns: int, until_ns: int) -> Sequence[tuple[int, Activity]]:
        """(place, activity) of what was booked in (after_ns, until_ns], in the order in which it was booked."""
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
