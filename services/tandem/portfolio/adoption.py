"""Shares in the account that belong to no pair, because somebody else traded them, and how a person gives them to one.

Called by comparison.py when a quarantined pair is released.
"""

from decimal import Decimal

from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Fill, Side
from tandem.flow import accounting
from tandem.flow.accounting import NO_PAIR
from tandem.portfolio.books import Books


def foreign_shares(books: Books, pair: PairId) -> dict[Symbol, Decimal]:
    """Shares of the pair's symbols that belong to no pair."""
    symbols = (leg.symbol for leg in books.executions[pair].legs)
    return {symbol: qty for symbol in symbols if (qty := books.book.shares.get((NO_PAIR, symbol), Decimal(0)))}


def adopt(books: Books, pair: PairId, at_ns: int) -> None:
    """Give a pair the shares of its symbols that belong to none, at their marks."""
    for symbol, shares in foreign_shares(books, pair).items():
        price_usd = books.price_usd(symbol)
        for entry in accounting.adopted_entries(books.book, pair, symbol, price_usd, at_ns):
            books.enter(entry)
        fill = Fill(
            execution_id=f"adopted/{pair}/{symbol}/{at_ns}",
            client_order_id="",
            symbol=symbol,
            side=Side.BUY if shares > 0 else Side.SELL,
            qty=abs(shares),
            price_usd=price_usd,
            event_ns=at_ns,
        )
        books.tell(pair, fill, at_ns)
