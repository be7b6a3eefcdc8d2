"""What the API answers about profit, risk and history: rows of Postgres and records of the decision thread, shaped. Changes nothing."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from decimal import Decimal
from enum import StrEnum

from tandem.adapters.attribution_rows import BookRows
from tandem.domain.errors import Transient
from tandem.domain.ids import Symbol
from tandem.domain.trading import PairState
from tandem.flow import accounting
from tandem.flow.attribution import Attributed, Foreign, Parts, attribute, of_account, total
from tandem.portfolio import schemas_reports as schemas
from tandem.portfolio.engine import Engine


class By(StrEnum):
    """What the profit is summed over."""

    TRADE = "trade"
    PAIR = "pair"
    SECTOR = "sector"
    VERSION = "version"


_KEYS: dict[By, Callable[[Attributed], str]] = {
    By.TRADE: lambda row: row.trade.trade_id,
    By.PAIR: lambda row: row.trade.pair,
    By.SECTOR: lambda row: row.trade.sector,
    By.VERSION: lambda row: f"{row.trade.model.name} {row.trade.model.version}",
}


def attribution(rows: BookRows, by: By, mark: Callable[[Symbol], Decimal]) -> schemas.Attribution:
    """The whole change of equity by cause. mark: the last price of a symbol. Raises Transient while one is not known."""
    held = {leg for trade in rows.trades if trade.closed_ns is None for leg in (trade.leg_a, trade.leg_b)}
    held |= {symbol for _, symbol in rows.book.shares} | {event.symbol for event in rows.account if isinstance(event, Foreign)}
    marks = {symbol: mark(symbol) for symbol in sorted(held)}
    if unknown := [symbol for symbol, price in marks.items() if not price.is_finite()]:
        raise Transient(f"no price is known yet of {', '.join(unknown)}")
    attributed = [attribute(trade, marks) for trade in rows.trades]
    account = of_account(rows.account, marks)
    change_usd = accounting.equity_usd(rows.book, marks) - rows.book.capital_usd
    return schemas.Attribution(
        by=by.value,
        rows=_grouped(attributed, by),
        account=_parts(account),
        equity_change_usd=change_usd,
        unallocated_usd=change_usd - total(attributed).total_usd - account.total_usd,
    )


def _grouped(attributed: Iterable[Attributed], by: By) -> list[schemas.AttributionRow]:
    groups: dict[str, list[Attributed]] = defaultdict(list)
    for row in attributed:
        groups[_KEYS[by](row)].append(row)
    return [
        schemas.AttributionRow(
            key=key,
            pair=rows[0].trade.pair if by in (By.TRADE, By.PAIR) else None,
            sector=rows[0].trade.sector if by is not By.VERSION else None,
            version=rows[0].trade.model.version if by in (By.TRADE, By.VERSION) else None,
            trades=len(rows),
            **_parts(total(rows)).model_dump(),
        )
        for key, rows in (groups.items() if by is By.TRADE else sorted(groups.items()))
    ]


def _parts(parts: Parts) -> schemas.Parts:
    return schemas.Parts(**asdict(parts), total_usd=parts.total_usd)


def risk(engine: Engine) -> schemas.Risk:
    """Exposure at the marks, breakers and the drawdown ladder."""
    books, guard = engine.books, engine.desk.guard
    book, state = books.book, guard.state
    held = accounting.positions(book)
    marks = {symbol: books.price_usd(symbol) for symbol in held}
    if unknown := [symbol for symbol, price in marks.items() if not price.is_finite()]:
        raise Transient(f"no price is known yet of {', '.join(unknown)}")
    equity_usd, gross_usd = accounting.equity_usd(book, marks), accounting.gross_usd(book, marks)
    return schemas.Risk(
        equity_usd=equity_usd,
        gross_usd=gross_usd,
        net_usd=accounting.market_value_usd(book, marks),
        gross_ratio=float(gross_usd / equity_usd) if equity_usd > 0 else 0.0,
        drawdown=float(state.drawdown),
        size_factor=guard.size_factor,
        open_pairs=len(books.open_pairs()),
        quarantined=sorted(pair for pair, e in dict(books.executions).items() if e.state is PairState.QUARANTINED),
        breakers=[
            schemas.Breaker(breaker=t.breaker.value, mode=t.mode, reason=t.reason, at_ns=t.at_ns, ends=t.ends.value)
            for t in state.tripped.values()
        ],
        symbols=[schemas.SymbolExposure(symbol=symbol, qty=qty, value_usd=qty * marks[symbol]) for symbol, qty in held.items()],
    )
