"""Executions and fees to ledger entries, and entries to positions, cash and profit, in all and per pair.

A symbol may be in two pairs: each pair has its own sub-ledger (an entry carries its pair), and the broker's position is their sum.
Does not value anything by itself: marks come from the caller. Called by the portfolio.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId, Symbol, entry_id
from tandem.domain.ledger import BORROW, CAPITAL, CASH, DIVIDENDS, FEES, INTEREST, SHARES, TRADING, USD, Entry, Posting
from tandem.domain.trading import Charge, Fee, Fill, Position
from tandem.domain.units import cents

NO_PAIR = ""  # the sub-ledger of what belongs to no pair: capital, fees that cannot be attributed
_ZERO = Decimal(0)
_PART_USD = Decimal("0.000001")  # what a charge is divided to among pairs; the last pair takes the rest
_ACCOUNTS: Mapping[Charge, str] = MappingProxyType(
    {Charge.FEE: FEES, Charge.BORROW: BORROW, Charge.DIVIDEND: DIVIDENDS, Charge.INTEREST: INTEREST}
)
_PLAIN = (TRADING, BORROW, DIVIDENDS, INTEREST)  # whose sums the book does not keep: the other side of theirs is cash or shares
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The sum of all entries. Each mapping holds only what is not zero.

    cash_usd: by pair, NO_PAIR included. shares: by (pair, symbol). fees_usd: by pair, positive when paid; borrow, dividends and interest
    are not in it, but in the cash. capital_usd: paid in.
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
    return _entry("fill", fill.execution_id, pair, fill.event_ns, *_exchange(fill.symbol, fill.qty * fill.side.sign, fill.price_usd))


def foreign_entry(fill: Fill) -> Entry:
    """An execution in the account that no order of ours caused: it belongs to no pair."""
    lines = _exchange(fill.symbol, fill.qty * fill.side.sign, fill.price_usd)
    return _entry("foreign_fill", fill.execution_id, NO_PAIR, fill.event_ns, *lines)


def adopted_entries(book: Book, pair: PairId, symbol: Symbol, price_usd: Decimal, event_ns: int) -> tuple[Entry, ...]:
    """All shares of a symbol that belong to no pair, given to a pair at a price; none when there are none."""
    shares = book.shares.get((NO_PAIR, symbol), _ZERO)
    source = f"{pair}/{symbol}/{event_ns}"
    parts = ((NO_PAIR, -shares, "out"), (pair, shares, "in")) if shares else ()
    return tuple(_entry("adopted", f"{source}#{way}", owner, event_ns, *_exchange(symbol, qty, price_usd)) for owner, qty, way in parts)


def _exchange(symbol: Symbol, shares: Decimal, price_usd: Decimal) -> tuple[tuple[str, str, Decimal], ...]:
    """The lines of shares that came (negative: went) for money."""
    money_usd = shares * price_usd
    return ((CASH, USD, -money_usd), (TRADING, USD, money_usd), (SHARES, symbol, shares), (TRADING, symbol, -shares))


def fee_entry(fee: Fee, pair: str) -> Entry:
    """One charge of the broker. `pair` is NO_PAIR where no single pair caused it."""
    lines = ((CASH, USD, -fee.amount_usd), (_ACCOUNTS[fee.charge], USD, fee.amount_usd))
    return _entry(fee.charge.value, fee.activity_id, pair, fee.event_ns, *lines)


MOVES_MAX = 10_000  # movements of shares that are remembered: of days, where a charge is told within one or a few


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareMove:
    """Shares that a sub-ledger got, or gave when below 0."""

    event_ns: int
    pair: str
    symbol: Symbol
    shares: Decimal


def moves_of(entry: Entry) -> tuple[ShareMove, ...]:
    """What an entry did to shares."""
    return tuple(
        ShareMove(event_ns=entry.event_ns, pair=entry.pair, symbol=Symbol(p.commodity), shares=p.amount)
        for p in entry.postings
        if p.account == SHARES
    )


def shares_before(fee: Fee, shares: Mapping[tuple[str, Symbol], Decimal], moves: Iterable[ShareMove]) -> dict[tuple[str, Symbol], Decimal]:
    """The sub-ledgers of a charge's symbol at its own time, however late it is told.

    shares: of now; moves: those since. A dividend belongs to who held before anything traded at its time, a borrow fee to who held after.
    """
    found = {key: qty for key, qty in shares.items() if key[1] == fee.symbol}
    for move in moves:
        is_later = move.event_ns >= fee.event_ns if fee.charge is Charge.DIVIDEND else move.event_ns > fee.event_ns
        if move.symbol == fee.symbol and is_later:
            key = (move.pair, move.symbol)
            found[key] = found.get(key, _ZERO) - move.shares
    return {key: qty for key, qty in found.items() if qty}


def charge_entries(fee: Fee, pair: str, shares: Mapping[tuple[str, Symbol], Decimal]) -> tuple[Entry, ...]:
    """A charge as entries. `pair`: who caused it, NO_PAIR when the broker does not say; shares: of the sub-ledgers, at its time.

    A dividend or borrow fee of a symbol is divided among the pairs that hold it on the side that pays, by their shares. What nobody
    holds any more, and whatever is of the account as a whole, belongs to no pair.
    """
    if pair != NO_PAIR or fee.symbol is None or fee.charge not in (Charge.DIVIDEND, Charge.BORROW):
        return (fee_entry(fee, pair),)
    held = {owner: qty for (owner, symbol), qty in sorted(shares.items()) if symbol == fee.symbol and owner != NO_PAIR}
    if fee.charge is Charge.BORROW:
        held = {owner: qty for owner, qty in held.items() if qty < 0}
    total = sum(held.values(), _ZERO)
    if not total:
        return (fee_entry(fee, NO_PAIR),)
    left, entries = fee.amount_usd, []
    for number, (owner, qty) in enumerate(held.items(), start=1):
        part = left if number == len(held) else (fee.amount_usd * qty / total).quantize(_PART_USD)
        left -= part
        source = fee if len(held) == 1 else replace(fee, activity_id=f"{fee.activity_id}#{owner}")
        entries.append(fee_entry(replace(source, amount_usd=part), owner))
    return tuple(entries)


def split_entry(activity_id: str, symbol: Symbol, pair: str, shares: Decimal, event_ns: int) -> Entry:
    """Shares that a split adds to a pair's sub-ledger, or takes when below 0. No money moves: what they are worth is in the marks."""
    source = activity_id if pair == NO_PAIR else f"{activity_id}#{pair}"
    return _entry("split", source, pair, event_ns, (SHARES, symbol, shares), (TRADING, symbol, -shares))


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
        elif account not in _PLAIN:
            raise InvariantBroken(f"account {account!r}, the book knows {', '.join((CASH, SHARES, FEES, CAPITAL, *_PLAIN))}")
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
