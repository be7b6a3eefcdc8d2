"""What pairs hold or have on order, by symbol, side and sector, for the sizing of the next one, and what the book is worth at a bar.

Decides nothing. Called by books.py.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.trading import OrderStatus, Side
from tandem.flow import accounting
from tandem.flow.accounting import Book
from tandem.flow.execution_records import Execution, Leg
from tandem.flow.journal import EquityPoint
from tandem.flow.sizing import Exposure

_ZERO = Decimal(0)


def exposure_of(pairs: Iterable[Execution], equity_usd: Decimal, price_usd: Callable[[Symbol], Decimal]) -> Exposure:
    """Of pairs that are not flat; each leg counts as the larger of what is held and what is wanted."""
    pairs = tuple(pairs)
    sides: dict[Symbol, frozenset[Side]] = {}
    symbol_usd: dict[Symbol, Decimal] = {}
    sector_usd: dict[SectorId, Decimal] = {}
    for execution in pairs:
        for leg in execution.legs:
            shares = max(leg.held, Decimal(leg.target), key=abs)
            sides[leg.symbol] = sides.get(leg.symbol, frozenset()) | _sides(leg)
            if shares:
                usd = shares * price_usd(leg.symbol)
                symbol_usd[leg.symbol] = symbol_usd.get(leg.symbol, _ZERO) + usd
                sector_usd[execution.sector] = sector_usd.get(execution.sector, _ZERO) + abs(usd)
    return Exposure(
        equity_usd=equity_usd,
        pairs_open=len(pairs),
        gross_usd=sum((abs(usd) for usd in symbol_usd.values()), _ZERO),
        symbol_usd=symbol_usd,
        sides=sides,
        sector_usd=sector_usd,
    )


def equity_point(book: Book, marks: Mapping[Symbol, Decimal], *, run: str, bar_close_ns: int, open_pairs: int) -> EquityPoint:
    """The book's value at a bar. marks: of every symbol that it holds."""
    return EquityPoint(
        run=run,
        bar_close_ns=bar_close_ns,
        equity_usd=accounting.equity_usd(book, marks),
        cash_usd=book.total_cash_usd,
        gross_usd=accounting.gross_usd(book, marks),
        open_pairs=open_pairs,
    )


def _sides(leg: Leg) -> set[Side]:
    """The side of what works at the broker. What has not left yet meets whatever is ordered the other way inside."""
    if leg.order is None or not leg.is_live or leg.order.status is OrderStatus.INITIALIZED:
        return set()
    return {leg.order.order.side}
