"""What a restart of the portfolio goes on from, read in one transaction. Called by postgres_ledger.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg2.extensions

from tandem.adapters.postgres_guards import guards_of
from tandem.adapters.postgres_rows import (
    CROSS_COLUMNS,
    ORDER_COLUMNS,
    STATE_COLUMNS,
    TRADE_COLUMNS,
    cross,
    execution,
    order_state,
    trade,
)
from tandem.domain.control import TradingState
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import SHARES
from tandem.domain.trading import TradingMode
from tandem.flow.accounting import MOVES_MAX, Book, ShareMove, book_of
from tandem.flow.execution_records import Execution
from tandem.flow.journal import Trade
from tandem.flow.netting import Cross
from tandem.flow.orders import OrderState

Cursor = psycopg2.extensions.cursor
_RECENT_NS = 7 * 86_400 * 1_000_000_000  # executions delivered again are younger than this; older ones are looked up one by one
_NO_FEES = "AND kind NOT IN ('deposit', 'fill', 'split', 'foreign_fill', 'adopted')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a restart goes on from. open_orders: those that may still be filled, and the newest of each leg."""

    book: Book
    executions: dict[PairId, Execution]
    trades: dict[PairId, Trade]  # the newest of each pair
    trading_states: dict[str, TradingState]
    execution_ids: set[str]  # of the last days
    fee_ids: set[str]
    order_pairs: dict[str, PairId]  # by client_order_id, of orders that may still be heard of
    prices: dict[Symbol, float]  # last execution of each symbol: a mark until the first forecast
    remembered_from_ns: int  # executions and fees before this time are not in the sets
    last_fill_ns: int  # 0 if there is none
    last_fee_ns: int
    moves: tuple[ShareMove, ...] = ()  # the newest ones of the ledger, oldest first
    crosses: tuple[Cross, ...] = ()  # that have not happened yet
    guards: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)  # by name and scope
    unmarked: bool = False  # something was booked after the newest point of the equity curve


def load(cursor: Cursor, book: str) -> Stored:
    """All of it, of one book."""
    orders = _orders(cursor, book)
    cursor.execute(
        "SELECT e.pair, p.account, p.commodity, sum(p.amount) FROM entries e JOIN postings p USING (book, entry_id) "
        "WHERE book = %s GROUP BY 1, 2, 3",
        (book,),
    )
    sums = book_of(cursor.fetchall())
    last_fill_ns, execution_ids = _recent(cursor, book, "fills", "execution_id", "")
    _, foreign_ids = _recent(cursor, book, "entries", "source_id", "AND kind = 'foreign_fill'")
    last_fee_ns, fee_ids = _recent(cursor, book, "entries", "split_part(source_id, '#', 1)", _NO_FEES)
    return Stored(
        book=sums,
        executions=_executions(cursor, book, orders),
        trades=_trades(cursor, book),
        trading_states=_trading_states(cursor, book),
        execution_ids=execution_ids | foreign_ids,
        fee_ids=fee_ids,
        order_pairs={key: state.order.pair for key, state in orders.items()},
        prices=_prices(cursor, book),
        remembered_from_ns=last_fill_ns - _RECENT_NS,
        last_fill_ns=last_fill_ns,
        last_fee_ns=last_fee_ns,
        moves=_moves(cursor, book),
        crosses=_crosses(cursor, book),
        guards=guards_of(cursor, book),
        unmarked=_unmarked(cursor, book),
    )


def _moves(cursor: Cursor, book: str) -> tuple[ShareMove, ...]:
    cursor.execute(
        "SELECT e.event_ns, e.pair, p.commodity, p.amount FROM entries e JOIN postings p USING (book, entry_id) "
        "WHERE book = %s AND p.account = %s ORDER BY e.event_ns DESC LIMIT %s",
        (book, SHARES, MOVES_MAX),
    )
    rows = reversed(cursor.fetchall())
    return tuple(ShareMove(event_ns=int(at), pair=pair, symbol=Symbol(name), shares=amount) for at, pair, name, amount in rows)


def _unmarked(cursor: Cursor, book: str) -> bool:
    """The book opens with its capital, which is no point of the curve."""
    query = "SELECT max(event_ns) > coalesce((SELECT max(bar_close_ns) FROM equity_curve WHERE book = %s), 0) FROM entries WHERE book = %s"
    cursor.execute(query, (book, book))
    row = cursor.fetchone()
    return bool(row and row[0])


def _crosses(cursor: Cursor, book: str) -> tuple[Cross, ...]:
    query = f"SELECT {', '.join(CROSS_COLUMNS)} FROM crosses WHERE book = %s AND price_usd IS NULL ORDER BY cross_id"  # noqa: S608
    cursor.execute(query, (book,))
    return tuple(map(cross, cursor.fetchall()))


def _recent(cursor: Cursor, book: str, table: str, column: str, where: str) -> tuple[int, set[str]]:
    cursor.execute(f"SELECT coalesce(max(event_ns), 0) FROM {table} WHERE book = %s {where}", (book,))  # noqa: S608 - constants
    row = cursor.fetchone()
    assert row is not None, "the query always gives a row"
    last_ns = int(row[0])
    query = f"SELECT {column} FROM {table} WHERE book = %s {where} AND event_ns >= %s"  # noqa: S608 - constants
    cursor.execute(query, (book, last_ns - _RECENT_NS))
    return last_ns, {row[0] for row in cursor.fetchall()}


def _prices(cursor: Cursor, book: str) -> dict[Symbol, float]:
    query = "SELECT DISTINCT ON (symbol) symbol, price_usd FROM fills WHERE book = %s ORDER BY symbol, event_ns DESC"
    cursor.execute(query, (book,))
    return {Symbol(symbol): float(price) for symbol, price in cursor.fetchall()}


def _orders(cursor: Cursor, book: str) -> dict[str, OrderState]:
    cursor.execute(
        f"SELECT {', '.join(ORDER_COLUMNS)} FROM orders o WHERE book = %s AND "  # noqa: S608 - constants
        "(status NOT IN ('denied', 'canceled', 'expired', 'rejected', 'replaced', 'filled') OR EXISTS (SELECT FROM pair_states s "
        "WHERE s.book = o.book AND s.pair = o.pair AND o.client_order_id IN (s.order_a, s.order_b))) ORDER BY seq",
        (book,),
    )
    return {row[0]: order_state(row) for row in cursor.fetchall()}


def _executions(cursor: Cursor, book: str, orders: dict[str, OrderState]) -> dict[PairId, Execution]:
    cursor.execute(f"SELECT {', '.join(STATE_COLUMNS)} FROM pair_states WHERE book = %s ORDER BY pair", (book,))  # noqa: S608
    rows = [dict(zip(STATE_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    return {PairId(row["pair"]): execution(row, orders) for row in rows}


def _trades(cursor: Cursor, book: str) -> dict[PairId, Trade]:
    query = f"SELECT DISTINCT ON (pair) {', '.join(TRADE_COLUMNS)} FROM pair_trades WHERE book = %s ORDER BY pair, opened_ns DESC"  # noqa: S608
    cursor.execute(query, (book,))
    rows = [dict(zip(TRADE_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    return {PairId(row["pair"]): trade(row) for row in rows}


def _trading_states(cursor: Cursor, book: str) -> dict[str, TradingState]:
    cursor.execute("SELECT scope, mode, reason FROM trading_states WHERE book = %s", (book,))
    return {scope: TradingState(scope=scope, mode=TradingMode(mode), reason=reason) for scope, mode, reason in cursor.fetchall()}
