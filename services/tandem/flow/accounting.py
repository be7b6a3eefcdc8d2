"""Executions and fees to ledger entries, and entries to positions, cash and profit, in all and per pair.

A symbol may be in two pairs: each pair has its own sub-ledger (an entry carries its pair), and the broker's position is their sum.
Does not value anything by itself: marks come from the caller. Called by the portfolio.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId, Symbol, entry_id
from tandem.domain.ledger import CAPITAL, CASH, FEES, SHARES, TRADING, USD, Entry, Posting
from tandem.domain.trading import Fee, Fill, Position
from tandem.domain.units import cents

NO_PAIR = ""  # the sub-ledger of what belongs to no pair: capital, fees that cannot be attributed
_ZERO = Decimal(0)
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The sum of all entries. Each mapping holds only what is not zero.

    cash_usd: by pair, NO_PAIR included. shares: by (pair, symbol). fees_usd: by pair, positive when paid. capital_usd: paid in.
    """

    cash_usd: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    shares: Mapping[tuple[str, Symbol], Decimal] = field(default_factory=lambda: MappingProxyType({}))
    fees_usd: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    capital_usd: Decimal = _ZERO

    @property
    def total_cash_usd(self) -> Decimal:
        """Cash of all sub-ledgers together: what the broker's account must show."""
        return sum(self.cash_usd.values(), _ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profit:
    """What a pair has earned since the book began, after fees: by its closed trades, and by the open one at the marks."""

    realized_usd: Decimal
    unrealized_usd: Decimal
    fees_usd: Decimal  # already taken off

    @property
    def total_usd(self) -> Decimal:
        """Change of equity that is due to it."""
        return self.realized_usd + self.unrealized_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value on which the ledger and the broker disagree. `what` is "cash" or a symbol."""

    what: str
    ledger: Decimal
    broker: Decimal


def deposit_entry(book: str, amount_usd: Decimal, event_ns: int) -> Entry:
    """The capital that a book opens with."""
    return _entry("deposit", book, NO_PAIR, event_ns, (CASH, USD, amount_usd), (CAPITAL, USD, -amount_usd))


def fill_entry(fill: Fill, pair: PairId) -> Entry:
    """One execution. Buy 10 KO at 50: cash -500 USD, trading +500 USD, shares +10 KO, trading -10 KO."""
    shares = fill.qty * fill.side.sign
    money_usd = shares * fill.price_usd
    lines = ((CASH, USD, -money_usd), (TRADING, USD, money_usd), (SHARES, fill.symbol, shares), (TRADING, fill.symbol, -shares))
    return _entry("fill", fill.execution_id, pair, fill.event_ns, *lines)


def fee_entry(fee: Fee, pair: str) -> Entry:
    """One fee of the broker. `pair` is NO_PAIR where no single pair caused it."""
    return _entry("fee", fee.activity_id, pair, fee.event_ns, (CASH, USD, -fee.amount_usd), (FEES, USD, fee.amount_usd))


def _entry(kind: str, source_id: str, pair: str, event_ns: int, *lines: tuple[str, str, Decimal]) -> Entry:
    postings = tuple(Posting(account=account, commodity=commodity, amount=amount) for account, commodity, amount in lines)
    return Entry(entry_id=entry_id(kind, source_id), kind=kind, source_id=source_id, pair=pair, event_ns=event_ns, postings=postings)


def post(book: Book, entry: Entry) -> Book:
    """The book after one more entry. The caller makes sure that an entry comes once; `fold` does so by id."""
    return book_of(((entry.pair, p.account, p.commodity, p.amount) for p in entry.postings), start=book)


def fold(entries: Iterable[Entry]) -> Book:
    """The book of these entries in any order; the same entry twice counts once.

    Raises InvariantBroken if one id stands for two different entries.
    """
    seen: dict[str, Entry] = {}
    for entry in entries:
        if seen.setdefault(entry.entry_id, entry) != entry:
            raise InvariantBroken(f"entry {entry.entry_id} is both {seen[entry.entry_id]} and {entry}")
    return book_of((e.pair, p.account, p.commodity, p.amount) for e in seen.values() for p in e.postings)


def book_of(sums: Iterable[tuple[str, str, str, Decimal]], *, start: Book | None = None) -> Book:
    """The book from rows of (pair, account, commodity, amount), e.g. sums made by the database, added to `start`."""
    start = start or Book()
    cash = defaultdict(Decimal, start.cash_usd)
    shares = defaultdict(Decimal, start.shares)
    fees = defaultdict(Decimal, start.fees_usd)
    capital = start.capital_usd
    for pair, account, commodity, amount in sums:
        if account == CASH:
            cash[pair] += amount
        elif account == SHARES:
            shares[pair, Symbol(commodity)] += amount
        elif account == FEES:
            fees[pair] += amount
        elif account == CAPITAL:
            capital -= amount
        elif account != TRADING:
            raise InvariantBroken(f"account {account!r}, the book knows {CASH}, {SHARES}, {TRADING}, {FEES} and {CAPITAL}")
    return Book(cash_usd=_not_zero(cash), shares=_not_zero(shares), fees_usd=_not_zero(fees), capital_usd=capital)


def _not_zero(values: Mapping[K, Decimal]) -> Mapping[K, Decimal]:
    return MappingProxyType({key: value for key, value in values.items() if value != 0})


def positions(book: Book) -> dict[Symbol, Decimal]:
    """Shares of each symbol over all pairs, signed, without zeros: what the broker must show."""
    total: dict[Symbol, Decimal] = defaultdict(Decimal)
    for (_, symbol), shares in book.shares.items():
        total[symbol] += shares
    return {symbol: shares for symbol, shares in sorted(total.items()) if shares != 0}


def market_value_usd(book: Book, marks: Mapping[Symbol, Decimal], pair: str | None = None) -> Decimal:
    """Signed value of the shares at the marks, of one pair or of all. Raises KeyError for a held symbol without a mark."""
    return sum((shares * marks[symbol] for (owner, symbol), shares in book.shares.items() if pair in (None, owner)), _ZERO)


def gross_usd(book: Book, marks: Mapping[Symbol, Decimal]) -> Decimal:
    """Absolute value of the shares of each symbol, long and short added. Raises KeyError for a held symbol without a mark."""
    return sum((abs(shares) * marks[symbol] for symbol, shares in positions(book).items()), _ZERO)


def equity_usd(book: Book, marks: Mapping[Symbol, Decimal]) -> Decimal:
    """Cash and shares together. Raises KeyError for a held symbol without a mark."""
    return book.total_cash_usd + market_value_usd(book, marks)


def profit(book: Book, marks: Mapping[Symbol, Decimal], pair: str, cash_at_open_usd: Decimal | None = None) -> Profit:
    """Profit of a pair at the marks. The sum over all pairs and NO_PAIR is equity less capital, exactly.

    cash_at_open_usd: cash of the pair's sub-ledger when its open trade began, which is what earlier trades have earned; None when flat.
    """
    capital_usd = book.capital_usd if pair == NO_PAIR else _ZERO
    total_usd = book.cash_usd.get(pair, _ZERO) - capital_usd + market_value_usd(book, marks, pair)
    realized_usd = total_usd if cash_at_open_usd is None else cash_at_open_usd
    return Profit(realized_usd=realized_usd, unrealized_usd=total_usd - realized_usd, fees_usd=book.fees_usd.get(pair, _ZERO))


def differences(book: Book, broker_positions: Iterable[Position], broker_cash_usd: Decimal) -> tuple[Difference, ...]:
    """Where the ledger and the broker disagree: position by position, and cash to the cent. Empty when they are equal."""
    broker = {position.symbol: position.qty for position in broker_positions}
    ledger = positions(book)
    found = [
        Difference(what=symbol, ledger=ledger.get(symbol, _ZERO), broker=broker.get(symbol, _ZERO))
        for symbol in sorted(ledger.keys() | broker.keys())
        if ledger.get(symbol, _ZERO) != broker.get(symbol, _ZERO)
    ]
    if cents(book.total_cash_usd) != cents(broker_cash_usd):
        found.append(Difference(what="cash", ledger=book.total_cash_usd, broker=broker_cash_usd))
    return tuple(found)
