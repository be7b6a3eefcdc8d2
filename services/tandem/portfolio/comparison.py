"""The ledger against the broker while trading goes on: what was missed is booked, what cannot be explained quarantines its pairs.

A snapshot of the broker takes several requests, during which executions go on being booked. So it carries the ledger's number of bookings
when it began: of a symbol that was booked since, it says nothing, and an older snapshot never undoes a newer execution. What is left must
be found twice running before it counts. Nothing is corrected by inventing an entry. Called by engine.py in its thread; `Snapshots` collects
in a thread of its own on live feeds, where a request takes long; a replay collects at its bars.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import structlog

from tandem.adapters import telemetry
from tandem.domain.errors import Permanent, TandemError
from tandem.domain.ids import PairId
from tandem.domain.trading import Fill, PairState, Position
from tandem.flow import accounting
from tandem.flow.accounting import Difference
from tandem.flow.execution_records import Quarantine, Release
from tandem.portfolio import adoption, measures
from tandem.portfolio.books import Books
from tandem.portfolio.sender import Sender
from tandem.ports import Broker

log = structlog.get_logger()
_CASH = "cash"
EVERY_BARS = 20  # replays: besides after each bar with an order that should have ended
_AGAIN_S = 1.0  # from a difference to the snapshot that must confirm it
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSnapshot:
    """The broker's account. bookings: of the ledger when the collection began; fills were asked for last, so they may be newer."""

    bookings: int
    positions: tuple[Position, ...]
    cash_usd: Decimal
    fills: tuple[Fill, ...]


def take_snapshot(books: Books, broker: Broker, after_ns: int) -> BrokerSnapshot:
    """Ask the broker, positions first. after_ns: executions from then on. Raises Transient."""
    bookings, positions = books.bookings, broker.positions()
    return BrokerSnapshot(
        bookings=bookings, positions=positions, cash_usd=Decimal(broker.account().cash), fills=broker.fills(max(after_ns, 0))
    )


class Comparison:
    """Compares snapshots with the books of one account."""

    def __init__(self, books: Books, sender: Sender) -> None:
        self._books, self._sender = books, sender
        self._suspected: frozenset[Difference] = frozenset()

    @property
    def suspects(self) -> bool:
        """The newest snapshot showed something that the next one may confirm."""
        return bool(self._suspected)

    def take(self, snapshot: BrokerSnapshot, at_ns: int) -> tuple[Difference, ...]:
        """Book what the snapshot knows and the ledger does not; the differences that are certain now. Their pairs are quarantined."""
        healed = sum(self._books.book_fill(fill) for fill in snapshot.fills)
        if healed:
            telemetry.counter("portfolio_fills_healed_total").inc(healed)
            self._books.alarm("book", "updates_missed", f"{healed} executions that the stream has not told", at_ns)
        telemetry.counter("portfolio_comparisons_total").inc()
        measures.compared()
        found = frozenset(d for d in self._differences(snapshot) if not self._is_newer(d, snapshot))
        certain = tuple(sorted(found & self._suspected, key=lambda difference: difference.what))
        self._suspected = found - frozenset(certain)
        for difference in certain:
            self._quarantine(difference, at_ns)
        return certain

    def resolve_old(self, at_ns: int) -> None:
        """Ask for each live order that was decided before: its end may have been told while nobody listened. Raises Transient."""
        for state in self._books.live_orders().values():
            if state.order.decided_ns < at_ns and state.order.outside_qty:
                found = self._sender.find(state.order)
                if found is not None:
                    self._books.tell(state.order.pair, found, at_ns)

    def release(self, pair: PairId, snapshot: BrokerSnapshot, at_ns: int, *, adopt: bool) -> str:
        """End a quarantine; "" if it is ended, else why not: a person decides, but not on a ledger unlike the broker's.

        adopt: what somebody else did in the pair's symbols becomes the pair's own.
        """
        books, execution = self._books, self._books.executions.get(pair)
        if execution is None or execution.state is not PairState.QUARANTINED:
            return f"{pair} is {'not known' if execution is None else execution.state}, only a quarantined pair can be released"
        for fill in snapshot.fills:
            books.book_fill(fill)
        symbols = {leg.symbol for leg in execution.legs}
        if found := [d for d in self._differences(snapshot) if d.what in symbols]:
            return "; ".join(f"{d.what}: the ledger has {d.ledger}, the broker {d.broker}" for d in found)
        if (foreign := adoption.foreign_shares(books, pair)) and not adopt:
            told = ", ".join(f"{qty} {symbol}" for symbol, qty in foreign.items())
            return f"{told} in the account belong to no pair: undo that at the broker, or release with adopt"
        adoption.adopt(books, pair, at_ns)
        books.tell(pair, Release(), at_ns)
        books.flush()
        return "" if books.executions[pair].state is not PairState.QUARANTINED else "an order of the pair is still live"

    def _differences(self, snapshot: BrokerSnapshot) -> tuple[Difference, ...]:
        return accounting.differences(self._books.book, snapshot.positions, snapshot.cash_usd)

    def _is_newer(self, difference: Difference, snapshot: BrokerSnapshot) -> bool:
        """The ledger has booked something of it since the snapshot began."""
        last = self._books.bookings if difference.what == _CASH else self._books.last_booking.get(difference.what, 0)
        return last > snapshot.bookings

    def _quarantine(self, difference: Difference, at_ns: int) -> None:
        told = f"{difference.what}: the ledger has {difference.ledger}, the broker {difference.broker}"
        self._books.alarm("book", "not_reconciled", told, at_ns)
        telemetry.counter("portfolio_reconcile_mismatches_total").inc()
        for execution in self._books.executions.values():
            held = any(leg.symbol == difference.what for leg in execution.legs)
            if held and execution.state not in (PairState.FLAT, PairState.QUARANTINED):
                self._books.tell(execution.pair, Quarantine(reason=told), at_ns)


class Snapshots(threading.Thread):
    """Collects a snapshot every so often and hands it on."""

    def __init__(self, collect: Callable[[], BrokerSnapshot], deliver: Callable[[object], None], *, every_s: float) -> None:
        """collect: may raise TandemError; then the next round tries again. deliver: into the decision thread's queue."""
        super().__init__(name="snapshots", daemon=True)
        self._collect, self._deliver, self._every_s = collect, deliver, every_s
        self._stopping, self._soon = threading.Event(), threading.Event()

    def again_soon(self) -> None:
        """The next one sooner, from any thread: something is to be confirmed."""
        self._soon.set()

    def run(self) -> None:
        """Until stop."""
        while not self._stopping.is_set():
            if self._soon.wait(self._every_s):
                self._soon.clear()
                self._stopping.wait(_AGAIN_S)
            if self._stopping.is_set():
                return
            try:
                self._deliver(self._collect())
            except Permanent as error:
                log.error("snapshot_refused", reason=str(error))
            except TandemError as error:  # a failed query is never read as flat
                log.warning("snapshot_failed", reason=str(error))

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._soon.set()
        if self.ident is not None:
            self.join(timeout=_JOIN_S)
