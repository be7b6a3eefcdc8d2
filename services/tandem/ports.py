"""What the services need from the outside, in domain words. Each adapter implements one of these with one library."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
