"""The ledger against the broker: what was missed is booked, orders of unknown fate are resolved, then both are compared.

Fails closed: a difference that booking what the broker tells does not explain stops trading before it begins, with its reason. Nothing is
ever corrected by inventing an entry. Called by session.py at the start and by engine.py after a reconnection and at the end of a stream.
"""

from dataclasses import dataclass
from decimal import Decimal

import structlog

from tandem.adapters import telemetry
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.domain.errors import Permanent
from tandem.domain.trading import OrderStatus
from tandem.domain.units import cents
from tandem.flow import accounting
from tandem.flow.accounting import Difference
from tandem.flow.execution_records import Patience, Reported
from tandem.flow.journal import Reconciliation
from tandem.portfolio import measures
from tandem.portfolio.books import Books
from tandem.portfolio.sender import Sender, denied
from tandem.ports import Broker

log = structlog.get_logger()
_DAY_NS = 86_400 * 1_000_000_000
_LIVE_OVERLAP_NS = 5 * _DAY_NS  # Alpaca books fees by the day, some days later; ids keep doubles out
_REPLAY_OVERLAP_NS = 1


class NotReconciled(Permanent):
    """The ledger and the broker disagree. A person must look before anything is traded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose book it is. replay: the recycler's account, which starts anew with each replay."""

    source: str
    capital_usd: Decimal
    replay: bool

    @property
    def overlap_ns(self) -> int:
        """How far back executions and fees are asked for again."""
        return _REPLAY_OVERLAP_NS if self.replay else _LIVE_OVERLAP_NS


def open_books(store: PortfolioStore, broker: Broker, origin: Origin, patience: Patience, *, broker_is_new: bool) -> Books:
    """The account's book, made if it is not there. broker_is_new: the broker has never seen an order.

    Raises NotReconciled if a new book would not begin with its capital and nothing else.
    """
    newest, wanted = store.open_newest_book(), (origin.source, origin.capital_usd)
    starts_anew = origin.replay and broker_is_new and newest is not None and (store.has_orders() or newest != wanted)
    if newest is None or starts_anew:
        store.begin_book(*wanted)
        log.info("book_began", book=store.book, capital_usd=str(origin.capital_usd))
    elif newest != wanted:
        raise NotReconciled(
            f"book {store.book} began as {newest[0]} with {newest[1]} USD, the settings say {wanted[0]} with {wanted[1]} USD"
        )
    stored = store.load()
    if not stored.book.capital_usd:
        _open_with_capital(store, broker, origin)
        stored = store.load()
    return Books(store, stored, patience)


def _open_with_capital(store: PortfolioStore, broker: Broker, origin: Origin) -> None:
    cash_usd, held = cents(Decimal(broker.account().cash)), broker.positions()
    if cash_usd != cents(origin.capital_usd) or held:
        raise NotReconciled(
            f"a new book begins with TANDEM_CAPITAL_USD {origin.capital_usd} and nothing else; the broker has {cash_usd} USD "
            f"and {len(held)} positions"
        )
    store.append([accounting.deposit_entry(store.book, origin.capital_usd, 0)])


def catch_up(books: Books, broker: Broker, sender: Sender, origin: Origin, *, resend_from_ns: int | None) -> None:
    """Book what the broker knows and we do not: fates of orders, executions, fees. Raises Transient.

    resend_from_ns: orders decided at or after it that the broker does not know are sent now, as the replay's clock still stands at their
    decision. All others without a trace at the broker were never sent, and are given up. None: leave them alone, one is on its way.
    """
    for fill in broker.fills(max(books.last_fill_ns - origin.overlap_ns, 0)):
        books.book_fill(fill)
    for state in books.live_orders().values():
        order = state.order
        if not order.outside_qty:
            continue  # it meets other pairs' orders, and never leaves
        report = sender.find(order)
        if report is None and resend_from_ns is not None:
            report = sender.submit(order) if order.decided_ns >= resend_from_ns else _never_sent(state.status, denied(order, "never sent"))
        if report is not None:
            books.tell(order.pair, report, order.decided_ns)
    books.settle_crosses(books.last_fill_ns)
    book_fees(books, broker, origin)
    books.flush()


def _never_sent(status: OrderStatus, report: Reported) -> Reported | None:
    """An order that the broker once had is not given up: that it is not found is a mismatch, which the comparison will name."""
    return report if status in (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN) else None


def book_fees(books: Books, broker: Broker, origin: Origin) -> None:
    """Book the fees that are new. Raises Transient."""
    for fee in broker.fees(max(books.last_fee_ns - origin.overlap_ns, 0)):
        books.book_fee(fee)
    books.fills_since_fees = False


def compare(books: Books, broker: Broker, *, run: str, occasion: str, event_ns: int) -> tuple[Difference, ...]:
    """Position by position and cash to the cent; the result is written down. Raises Transient."""
    broker_cash_usd = Decimal(broker.account().cash)
    found = accounting.differences(books.book, broker.positions(), broker_cash_usd)
    books.changes.reconciliations.append(
        Reconciliation(
            run=run,
            occasion=occasion,
            event_ns=event_ns,
            differences=found,
            ledger_cash_usd=books.book.total_cash_usd,
            broker_cash_usd=broker_cash_usd,
        )
    )
    measures.compared()
    if found:
        telemetry.counter("portfolio_reconcile_mismatches_total").inc(len(found))
        books.alarm("book", "not_reconciled", describe(found), event_ns)
    log.info("reconciled", occasion=occasion, equal=not found, differences=len(found), event_ns=event_ns)
    return found


def describe(found: tuple[Difference, ...]) -> str:
    """Differences in a sentence."""
    return "; ".join(f"{d.what}: the ledger has {d.ledger}, the broker {d.broker}" for d in found)
