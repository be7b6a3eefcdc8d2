"""What the services need from the outside, in domain words. Each adapter implements one of these with one library."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tandem.domain.assets import Asset
from tandem.domain.corporate import CorporateAction
from tandem.domain.errors import Transient
from tandem.domain.ids import Symbol
from tandem.domain.ledger import Entry
from tandem.domain.market import Bar
from tandem.domain.trading import Fee, Fill, Order, OrderStatus, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One record of the event log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None  # None: the key was deleted
    headers: dict[str, bytes] = field(default_factory=dict)
    timestamp_ms: int = 0


class LogWriter(Protocol):
    """Appends records. What was published is durable once flush returns."""

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        """Queue one record. Raises Transient when the queue is full for too long."""
        ...

    def flush(self) -> None:
        """Return when all queued records are acknowledged by the log. Raises Transient otherwise."""
        ...

    def close(self) -> None:
        """Flush and let go of the connection."""
        ...


class LogReader(Protocol):
    """Reads records in order of offset within a partition."""

    def poll(self, timeout_s: float) -> Sequence[LogRecord]:
        """The next records, or none after the timeout."""
        ...

    def commit(self) -> None:
        """Remember that everything polled so far has taken effect."""
        ...

    def close(self) -> None:
        """Let go of the connection; commits nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """What the broker says of one order."""

    client_order_id: str
    broker_order_id: str
    status: OrderStatus
    filled_qty: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The broker's account: money as decimal text, as it came."""

    account_id: str
    cash: str
    equity: str
    buying_power: str


class Broker(Protocol):
    """A broker for equities. An order that timed out is UNKNOWN: ask by client_order_id before anything else."""

    def submit(self, order: Order) -> OrderReport:
        """Send once. REJECTED carries the broker's reason; UNKNOWN when no answer tells the outcome."""
        ...

    def find(self, client_order_id: str) -> OrderReport | None:
        """The order under this id, None if the broker has none. Raises Transient."""
        ...

    def cancel(self, broker_order_id: str) -> bool:
        """Ask to cancel; False if it can no longer be canceled. Raises Transient."""
        ...

    def positions(self) -> tuple[Position, ...]:
        """All positions that are not zero. Raises Transient; a failed query is never read as flat."""
        ...

    def account(self) -> Account:
        """The account now. Raises Transient."""
        ...

    def fills(self, after_ns: int) -> tuple[Fill, ...]:
        """All executions after a time, oldest first: the recovery source for missed updates. Raises Transient."""
        ...

    def fees(self, after_ns: int) -> tuple[Fee, ...]:
        """All fees after a time, oldest first. Raises Transient."""
        ...


class Facts(Protocol):
    """What the market's morning tells of symbols: borrow lists, volumes, corporate actions."""

    def assets(self, symbols: Iterable[Symbol], as_of_ns: int) -> tuple[Asset, ...]:
        """The symbols as they are today; one that the broker does not know is not tradable. Raises Transient."""
        ...

    def actions(self, symbols: Iterable[Symbol], first_day: str, last_day: str) -> tuple[CorporateAction, ...]:
        """Corporate actions with their ex-day (YYYY-MM-DD) between these, both included. Raises Transient."""
        ...


class BarStore(Protocol):
    """Bars of the past. Recycled and real bars never mix: source and replay are part of the key."""

    def write(self, bars: Iterable[tuple[Bar, str, str, str]]) -> int:
        """Store (bar, timeframe, source, replay_id); a bar that is there already is left alone. Returns rows added."""
        ...


class Ledger(Protocol):
    """The book. Every write is idempotent by the entry's id."""

    def append(self, entries: Iterable[Entry]) -> int:
        """Add the entries that are new, in one transaction. Returns how many were new."""
        ...


Manifest = dict[str, Any]  # a Kubernetes object as JSON: apiVersion, kind, metadata, and what its kind has besides


class Conflict(Transient):
    """The object is not the one that was read: changed, gone, or there already. Read it again, decide again."""


class Cluster(Protocol):
    """The objects of one namespace of a Kubernetes cluster, by kind and name. Blocking; safe to call from many threads.

    Raises Transient while the API server is away or overloaded, Conflict as told below, and Permanent for what it refuses: an invalid
    object, a right that is missing, a kind that the cluster does not know.
    """

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object; None if there is none."""
        ...

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        """All objects of a kind, in order of name; with `labels` only those that carry all of these."""
        ...

    def create(self, manifest: Manifest) -> Manifest:
        """Make an object that must be new. Raises Conflict if there is one of its name."""
        ...

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply: make the object, or bring the fields that the manifest names to the values it names, and no others.

        Fields that an earlier apply named and this one does not are removed. Doing it twice changes nothing, not even resourceVersion.
        A manifest with metadata.uid only changes that very object: Conflict if it is gone or another.
        """
        ...

    def patch(self, kind: str, name: str, changes: Manifest, *, version: str = "") -> Manifest:
        """JSON merge patch of anything but status: null removes a field, a list is replaced as a whole.

        version: the resourceVersion that the decision was made on; Conflict if the object has another by now. Conflict if it is gone.
        """
        ...

    def patch_status(self, kind: str, name: str, status: Manifest, *, version: str = "") -> Manifest:
        """The same for the status, through its own subresource: fields that `status` does not name stay. Does not raise the generation."""
        ...

    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        """Ask for deletion, of this very object when a uid is given; dependents follow in the background. False if it was gone already."""
        ...
