"""Reads one book of the portfolio from Postgres as it stands there. Takes the columns that it knows; others may be there."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import RealDictCursor

from tandem.adapters.postgres import connect, place
from tandem.checker.evidence import AuditRow, DecisionRow, EntryRow, FillRow, IntentRow, Ledger, OrderRow, PairRow, TradeRow
from tandem.domain.errors import Permanent, Transient

Row = Mapping[str, Any]


def read_ledger(url: str, book: str = "") -> Ledger:
    """A book in one snapshot; the newest when none is named. Raises Transient without a server, Permanent without a book."""
    try:
        with closing(connect(url, application="tandem-verify")) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                return _Reader(cursor, book).ledger(url)
    except psycopg2.OperationalError as error:
        raise Transient(f"PostgreSQL at {place(url)}: {str(error).strip()}") from error
    except psycopg2.Error as error:
        raise Permanent(f"the ledger at {place(url)} cannot be read: {str(error).strip()}") from error


class _Reader:
    def __init__(self, cursor: RealDictCursor, book: str) -> None:
        self._cursor, self._book = cursor, book

    def ledger(self, url: str) -> Ledger:
        books = self._ask("SELECT * FROM books WHERE %s IN ('', book) ORDER BY created_at DESC, generation DESC LIMIT 1", self._book)
        if not books:
            raise Permanent(f"no book {self._book or 'at all'} at {place(url)}")
        self._book = str(books[0]["book"])
        return Ledger(
            book=self._book,
            capital_usd=Decimal(books[0]["capital_usd"]),
            intents=tuple(map(_intent, self._rows("intents"))),
            orders=tuple(map(_order, self._rows("orders", "seq"))),
            fills=tuple(map(_fill, self._rows("fills", "seq"))),
            entries=self._entries(),
            pairs=tuple(map(_pair, self._rows("pair_states", "pair"))),
            trades=tuple(map(_trade, self._rows("pair_trades", "opened_ns"))),
            audit=tuple(map(_audit, self._rows("audit_log", "seq"))),
            decisions=tuple(
                DecisionRow(intent_id=row["intent_id"], offset=int(row["offset"]), sha256=row["sha256"])
                for row in self._rows("decisions")
                if row["offset"] is not None
            ),
            reconciled=tuple((r["occasion"], bool(r["equal"]), str(r["differences"])) for r in self._rows("reconciliations", "seq")),
            alarms=tuple((r["scope"], r["code"], int(r["event_ns"])) for r in self._rows("risk_events", "seq")),
            decided={r["run"]: (int(r["decided_ns"]), bool(r["ended"])) for r in self._rows("stream_positions")},
        )

    def _ask(self, query: str, *values: object) -> list[Row]:
        self._cursor.execute(query, values)
        return list(self._cursor.fetchall())

    def _rows(self, table: str, order: str = "1") -> list[Row]:
        return self._ask(f"SELECT * FROM {table} WHERE book = %s ORDER BY {order}", self._book)  # noqa: S608  names of this file

    def _entries(self) -> tuple[EntryRow, ...]:
        postings: dict[str, list[tuple[str, str, Decimal]]] = defaultdict(list)
        for row in self._rows("postings", "entry_id, line"):
            postings[row["entry_id"]].append((row["account"], row["commodity"], row["amount"]))
        return tuple(
            EntryRow(
                entry_id=row["entry_id"],
                kind=row["kind"],
                source_id=row["source_id"],
                pair=row["pair"],
                event_ns=int(row["event_ns"]),
                postings=tuple(postings[row["entry_id"]]),
            )
            for row in self._rows("entries", "event_ns, entry_id")
        )


def _intent(row: Row) -> IntentRow:
    return IntentRow(
        intent_id=row["intent_id"],
        run=row["run"],
        pair=row["pair"],
        action=row["action"],
        bar_close_ns=int(row["bar_close_ns"]),
        model_digest=row["model_digest"],
        trade_id=row["trade_id"],
        epoch=_epoch(row),
    )


def _order(row: Row) -> OrderRow:
    return OrderRow(
        client_order_id=row["client_order_id"],
        intent_id=row["intent_id"],
        pair=row["pair"],
        leg=row["leg"],
        attempt=int(row["attempt"]),
        symbol=row["symbol"],
        side=row["side"],
        qty=row["qty"],
        limit_usd=row["limit_usd"],
        decided_ns=int(row["decided_ns"]),
        status=row["status"],
        filled_qty=row["filled_qty"],
        seq=int(row["seq"]),
        broker_order_id=row["broker_order_id"],
        crossed_qty=row.get("crossed_qty", Decimal(0)),
        epoch=_epoch(row),
    )


def _fill(row: Row) -> FillRow:
    return FillRow(
        execution_id=row["execution_id"],
        client_order_id=row["client_order_id"],
        pair=row["pair"],
        symbol=row["symbol"],
        side=row["side"],
        qty=row["qty"],
        price_usd=row["price_usd"],
        event_ns=int(row["event_ns"]),
        internal=bool(row.get("internal", False)),
    )


def _pair(row: Row) -> PairRow:
    return PairRow(
        pair=row["pair"],
        state=row["state"],
        direction=int(row["direction"]),
        symbol_a=row["symbol_a"],
        symbol_b=row["symbol_b"],
        target_a=row["target_a"],
        target_b=row["target_b"],
        held_a=row["held_a"],
        held_b=row["held_b"],
        reason=row["reason"],
    )


def _audit(row: Row) -> AuditRow:
    return AuditRow(
        seq=int(row["seq"]),
        kind=row["kind"],
        subject=row["subject"],
        refs=tuple(row["refs"]),
        event_ns=int(row["event_ns"]),
        document=row["document"],
        previous=row["previous"],
        hash=row["hash"],
    )


def _trade(row: Row) -> TradeRow:
    return TradeRow(
        trade_id=row["trade_id"],
        pair=row["pair"],
        opened_ns=int(row["opened_ns"]),
        closed_ns=None if row["closed_ns"] is None else int(row["closed_ns"]),
        unhedged_open_s=float(row["unhedged_open_s"]),
        unhedged_close_s=float(row["unhedged_close_s"]),
    )


def _epoch(row: Row) -> int | None:
    """The writer's epoch, where the table has it."""
    value = row.get("epoch", row.get("writer_epoch"))
    return None if value is None else int(value)
