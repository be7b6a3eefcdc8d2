"""The portfolio's book in PostgreSQL: everything that one decision changes is one transaction, and the keys of the tables refuse doubles.

One connection, one thread, one book; an advisory lock keeps a second writer of the account out. Reading for people is in
postgres_views.py. Implements ports.Ledger.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import Json, execute_batch, execute_values

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_rows import (
    ORDER_COLUMNS,
    STATE_COLUMNS,
    TRADE_COLUMNS,
    execution,
    model_row,
    order_state,
    state_row,
    trade,
    trade_row,
)
from tandem.domain.control import TradingState
from tandem.domain.errors import InvariantBroken, Permanent, Transient
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import Entry
from tandem.domain.trading import OrderStatus, TradingMode
from tandem.flow.accounting import Book, book_of
from tandem.flow.execution import Execution
from tandem.flow.journal import Changes, Trade
from tandem.flow.orders import OrderState

Cursor = psycopg2.extensions.cursor
_RECENT_NS = 7 * 86_400 * 1_000_000_000  # executions delivered again are younger than this; older ones are looked up one by one


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


@contextmanager
def failures(place: str) -> Iterator[None]:
    """psycopg2's errors as ours."""
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise Transient(f"{place}: {str(error).strip()}") from error
    except psycopg2.IntegrityError as error:
        raise InvariantBroken(f"{place}: a key refused what was to be written: {str(error).strip()}") from error
    except psycopg2.Error as error:
        raise Permanent(f"{place}: {str(error).strip()}") from error


class PortfolioStore:
    """The newest book of one account."""

    def __init__(self, url: str, account: str) -> None:
        """account: the broker's account id. Opening or beginning a book comes before everything else. Raises Transient."""
        self.book = ""
        self._account = account
        self._connection = connect(url, application="tandem-portfolio")

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with failures("PostgreSQL"), self._connection, self._connection.cursor() as cursor:
            yield cursor

    def lock(self) -> bool:
        """Keep other writers of this account's books out until the connection ends; False if there is one already."""
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"tandem-portfolio-{self._account}",))
            return bool(_one(cursor)[0])

    def open_newest_book(self) -> tuple[str, Decimal] | None:
        """Go on with the account's newest book: its source and the capital that it began with. None if there is no book."""
        query = "SELECT book, source, capital_usd FROM books WHERE account = %s ORDER BY generation DESC LIMIT 1"
        with self._transaction() as cursor:
            cursor.execute(query, (self._account,))
            row = cursor.fetchone()
        if row is None:
            return None
        self.book = row[0]
        return row[1], row[2]

    def begin_book(self, source: str, capital_usd: Decimal) -> None:
        """Make the account's next book, and go on with it."""
        with self._transaction() as cursor:
            cursor.execute("SELECT coalesce(max(generation), 0) + 1 FROM books WHERE account = %s", (self._account,))
            generation = int(_one(cursor)[0])
            self.book = self._account if generation == 1 else f"{self._account}#{generation}"
            self._insert(cursor, "books", "account, generation, source, capital_usd", [(self._account, generation, source, capital_usd)])

    def has_orders(self) -> bool:
        """Whether anything was ever decided in this book."""
        with self._transaction() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM orders WHERE book = %s)", (self.book,))
            return bool(_one(cursor)[0])

    def append(self, entries: Iterable[Entry]) -> int:
        """Add the entries that are new, in one transaction. Returns how many were new."""
        with self._transaction() as cursor:
            return self._append(cursor, tuple(entries))

    def _append(self, cursor: Cursor, entries: Sequence[Entry]) -> int:
        rows = [(self.book, e.entry_id, e.kind, e.source_id, e.pair, e.event_ns) for e in entries]
        columns = "(book, entry_id, kind, source_id, pair, event_ns)"
        query = f"INSERT INTO entries {columns} VALUES %s ON CONFLICT DO NOTHING RETURNING entry_id"  # noqa: S608 - constants only
        new = {entry_id for (entry_id,) in execute_values(cursor, query, rows, fetch=True)}
        postings = [
            (self.book, e.entry_id, line, p.account, p.commodity, p.amount)
            for e in entries
            if e.entry_id in new
            for line, p in enumerate(e.postings)
        ]
        execute_values(cursor, "INSERT INTO postings (book, entry_id, line, account, commodity, amount) VALUES %s", postings)
        return len(new)

    def commit(self, changes: Changes) -> None:
        """Write everything in one transaction. Raises InvariantBroken if an intent, order, execution or entry is there already."""
        with self._transaction() as cursor:
            self._write_decisions(cursor, changes)
            self._write_books(cursor, changes)
            self._write_states(cursor, changes)
            self._write_measures(cursor, changes)

    def _insert(self, cursor: Cursor, table: str, columns: str, rows: Sequence[tuple[Any, ...]], *, again: str = "") -> None:
        """Insert the rows, each after the book's name; `again` says what to do with a row that is there."""
        if rows:
            query = f"INSERT INTO {table} (book, {columns}) VALUES %s {again}"  # noqa: S608 - table and columns are constants of this file
            execute_values(cursor, query, [(self.book, *row) for row in rows])

    def _write_decisions(self, cursor: Cursor, changes: Changes) -> None:
        new = {order.client_order_id for order in changes.new_orders}
        # First the ends of old orders, so that a leg's next order does not meet its last one still alive.
        self._update_orders(cursor, {key: state for key, state in changes.orders.items() if key not in new})
        self._insert(
            cursor,
            "intents",
            "intent_id, run, pair, sector, action, reason, bar_close_ns, trade_id, model_name, model_version, model_digest",
            [
                (i.intent_id, i.run, i.pair, i.sector, i.action, i.reason, i.bar_close_ns, i.trade_id, *model_row(i.model))
                for i in changes.intents
            ],
        )
        self._insert(
            cursor,
            "orders",
            "client_order_id, intent_id, pair, leg, attempt, symbol, side, qty, limit_usd, decided_ns, status",
            [
                (
                    *(o.client_order_id, o.intent_id, o.pair, o.leg, o.attempt, o.symbol, o.side, o.qty, o.limit_usd, o.decided_ns),
                    OrderStatus.INITIALIZED,
                )
                for o in changes.new_orders
            ],
        )
        self._update_orders(cursor, {key: state for key, state in changes.orders.items() if key in new})

    def _update_orders(self, cursor: Cursor, orders: Mapping[str, OrderState]) -> None:
        execute_batch(
            cursor,
            "UPDATE orders SET status = %s, filled_qty = %s, reported_qty = %s, broker_order_id = %s, reason = %s "
            "WHERE book = %s AND client_order_id = %s",
            [(o.status, o.filled, o.reported, o.broker_order_id, o.reason, self.book, key) for key, o in orders.items()],
        )

    def _write_books(self, cursor: Cursor, changes: Changes) -> None:
        self._insert(
            cursor,
            "fills",
            "execution_id, client_order_id, pair, symbol, side, qty, price_usd, event_ns",
            [(f.execution_id, f.client_order_id, pair, f.symbol, f.side, f.qty, f.price_usd, f.event_ns) for f, pair in changes.fills],
        )
        if changes.entries and (new := self._append(cursor, changes.entries)) != len(changes.entries):
            raise InvariantBroken(f"{len(changes.entries) - new} of {len(changes.entries)} entries are in the ledger already")

    def _write_states(self, cursor: Cursor, changes: Changes) -> None:
        self._insert(
            cursor,
            "pair_states",
            ", ".join(STATE_COLUMNS),
            [state_row(e) for e in changes.executions.values()],
            again=_upsert("book, pair", STATE_COLUMNS[1:]),
        )
        self._insert(
            cursor,
            "pair_trades",
            ", ".join(TRADE_COLUMNS),
            [trade_row(t) for t in changes.trades.values()],
            again=_upsert("book, trade_id", TRADE_COLUMNS[1:]),
        )
        states = {scope: state for scope, state in changes.trading_states.items() if state is not None}
        self._insert(
            cursor,
            "trading_states",
            "scope, mode, reason",
            [(s.scope, s.mode, s.reason) for s in states.values()],
            again="ON CONFLICT (book, scope) DO UPDATE SET mode = EXCLUDED.mode, reason = EXCLUDED.reason, applied_at = now()",
        )
        gone = [(self.book, scope) for scope, state in changes.trading_states.items() if state is None]
        execute_batch(cursor, "DELETE FROM trading_states WHERE book = %s AND scope = %s", gone)
        self._insert(
            cursor,
            "stream_positions",
            "run, decided_ns, ended",
            [(run, decided_ns, ended) for run, (decided_ns, ended) in changes.decided.items()],
            again=_upsert("book, run", ("decided_ns", "ended")),
        )

    def _write_measures(self, cursor: Cursor, changes: Changes) -> None:
        self._insert(
            cursor,
            "signals",
            "run, pair, bar_close_ns, action, reason, outcome, refusal, detail, model_name, model_version, model_digest, "
            "z, reversion_probability, variance",
            [
                (
                    *(s.run, s.pair, s.bar_close_ns, s.action, s.reason, "refused" if s.refusal else "taken", s.refusal, s.detail),
                    *(*model_row(s.model), s.z, s.reversion_probability, s.variance),
                )
                for s in changes.signals
            ],
            again="ON CONFLICT DO NOTHING",
        )
        self._insert(
            cursor,
            "equity_curve",
            "run, bar_close_ns, equity_usd, cash_usd, gross_usd, open_pairs",
            [(p.run, p.bar_close_ns, p.equity_usd, p.cash_usd, p.gross_usd, p.open_pairs) for p in changes.equity],
            again="ON CONFLICT DO NOTHING",
        )
        self._insert(
            cursor,
            "risk_events",
            "event_id, scope, code, detail, event_ns",
            [(r.event_id, r.scope, r.code, r.detail, r.event_ns) for r in changes.risk_events.values()],
            again="ON CONFLICT DO NOTHING",
        )
        self._insert(
            cursor,
            "reconciliations",
            "run, occasion, event_ns, equal, differences, ledger_cash_usd, broker_cash_usd",
            [
                (
                    *(r.run, r.occasion, r.event_ns, not r.differences),
                    Json([{key: str(value) for key, value in asdict(d).items()} for d in r.differences]),
                    *(r.ledger_cash_usd, r.broker_cash_usd),
                )
                for r in changes.reconciliations
            ],
        )

    def load(self) -> Stored:
        """Everything that a restart goes on from."""
        with self._transaction() as cursor:
            orders = self._orders(cursor)
            cursor.execute(
                "SELECT e.pair, p.account, p.commodity, sum(p.amount) FROM entries e JOIN postings p USING (book, entry_id) "
                "WHERE book = %s GROUP BY 1, 2, 3",
                (self.book,),
            )
            book = book_of(cursor.fetchall())
            last_fill_ns, execution_ids = self._recent(cursor, "fills", "execution_id", "")
            last_fee_ns, fee_ids = self._recent(cursor, "entries", "source_id", "AND kind = 'fee'")
            return Stored(
                book=book,
                executions=self._executions(cursor, orders),
                trades=self._trades(cursor),
                trading_states=self._trading_states(cursor),
                execution_ids=execution_ids,
                fee_ids=fee_ids,
                order_pairs={key: state.order.pair for key, state in orders.items()},
                prices=self._prices(cursor),
                remembered_from_ns=last_fill_ns - _RECENT_NS,
                last_fill_ns=last_fill_ns,
                last_fee_ns=last_fee_ns,
            )

    def _recent(self, cursor: Cursor, table: str, column: str, where: str) -> tuple[int, set[str]]:
        cursor.execute(f"SELECT coalesce(max(event_ns), 0) FROM {table} WHERE book = %s {where}", (self.book,))  # noqa: S608 - constants
        last_ns = int(_one(cursor)[0])
        query = f"SELECT {column} FROM {table} WHERE book = %s {where} AND event_ns >= %s"  # noqa: S608 - constants
        cursor.execute(query, (self.book, last_ns - _RECENT_NS))
        return last_ns, {row[0] for row in cursor.fetchall()}

    def _prices(self, cursor: Cursor) -> dict[Symbol, float]:
        query = "SELECT DISTINCT ON (symbol) symbol, price_usd FROM fills WHERE book = %s ORDER BY symbol, event_ns DESC"
        cursor.execute(query, (self.book,))
        return {Symbol(symbol): float(price) for symbol, price in cursor.fetchall()}

    def _orders(self, cursor: Cursor) -> dict[str, OrderState]:
        cursor.execute(
            f"SELECT {', '.join(ORDER_COLUMNS)} FROM orders o WHERE book = %s AND "  # noqa: S608 - constants
            "(status NOT IN ('denied', 'canceled', 'expired', 'rejected', 'filled') OR EXISTS (SELECT FROM pair_states s "
            "WHERE s.book = o.book AND s.pair = o.pair AND o.client_order_id IN (s.order_a, s.order_b))) ORDER BY seq",
            (self.book,),
        )
        return {row[0]: order_state(row) for row in cursor.fetchall()}

    def order_of(self, client_order_id: str) -> PairId | None:
        """The pair of an order that is not in memory any more; None if it is not ours."""
        with self._transaction() as cursor:
            cursor.execute("SELECT pair FROM orders WHERE book = %s AND client_order_id = %s", (self.book, client_order_id))
            row = cursor.fetchone()
        return None if row is None else PairId(row[0])

    def has_fill(self, execution_id: str) -> bool:
        """Whether an execution is booked."""
        with self._transaction() as cursor:
            cursor.execute("SELECT FROM fills WHERE book = %s AND execution_id = %s", (self.book, execution_id))
            return cursor.fetchone() is not None

    def decided(self, run: str) -> tuple[int, bool] | None:
        """The newest bar of a run with a decision, and whether its end was seen; None if the run is new."""
        with self._transaction() as cursor:
            cursor.execute("SELECT decided_ns, ended FROM stream_positions WHERE book = %s AND run = %s", (self.book, run))
            row = cursor.fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def _executions(self, cursor: Cursor, orders: dict[str, OrderState]) -> dict[PairId, Execution]:
        cursor.execute(f"SELECT {', '.join(STATE_COLUMNS)} FROM pair_states WHERE book = %s ORDER BY pair", (self.book,))  # noqa: S608
        rows = [dict(zip(STATE_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
        return {PairId(row["pair"]): execution(row, orders) for row in rows}

    def _trades(self, cursor: Cursor) -> dict[PairId, Trade]:
        query = f"SELECT DISTINCT ON (pair) {', '.join(TRADE_COLUMNS)} FROM pair_trades WHERE book = %s ORDER BY pair, opened_ns DESC"  # noqa: S608
        cursor.execute(query, (self.book,))
        rows = [dict(zip(TRADE_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
        return {PairId(row["pair"]): trade(row) for row in rows}

    def _trading_states(self, cursor: Cursor) -> dict[str, TradingState]:
        cursor.execute("SELECT scope, mode, reason FROM trading_states WHERE book = %s", (self.book,))
        return {scope: TradingState(scope=scope, mode=TradingMode(mode), reason=reason) for scope, mode, reason in cursor.fetchall()}

    def close(self) -> None:
        """Let go of the connection and the lock."""
        self._connection.close()


def _upsert(key: str, columns: Sequence[str]) -> str:
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{name} = EXCLUDED.{name}" for name in columns)


def _one(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None, "the query always gives a row"
    return row
