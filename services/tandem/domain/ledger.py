"""Double entry in several commodities: an entry whose postings do not sum to zero per commodity cannot exist."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.errors import InvariantBroken

USD = "USD"
CASH = "assets:cash"
SHARES = "assets:shares"
TRADING = "trading"  # the other side of an exchange of money for shares
CAPITAL = "equity:capital"
FEES = "expenses:fees"
BORROW = "expenses:borrow"  # for shares lent to us
DIVIDENDS = "income:dividends"  # received on long shares, paid on short ones
INTEREST = "income:interest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """An amount of one commodity (USD, or a symbol for shares) on one account."""

    account: str
    commodity: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event of the book. `pair` is "" for what belongs to no pair."""

    entry_id: str
    kind: str  # "deposit", "fill", "foreign_fill", "adopted", "split", or a domain.trading.Charge
    source_id: str  # execution id, activity id; with "#" and the pair where one event is divided among pairs
    pair: str
    event_ns: int
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for posting in self.postings:
            sums[posting.commodity] += posting.amount
        off = {commodity: amount for commodity, amount in sums.items() if amount != 0}
        if off or not self.postings:
            raise InvariantBroken(f"entry {self.entry_id} ({self.kind} {self.source_id}) sums to {off}, must be 0 in each commodity")
