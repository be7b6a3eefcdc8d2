"""The portfolio's book in PostgreSQL: everything that one decision changes is one transaction, and the keys of the tables refuse doubles.

One connection, one thread, one book. Each transaction proves that its writer's epoch (writer_lease.py) is the newest, and keeps it so
until it has ended. Orders wait for the transaction that they are in: it is one message, which the server ends by itself, without a
question before it. What would be asked is known: the audit chain ends where we left it, and what we tell was not told before. Where that
is wrong, a key refuses the whole message; then the questions are asked. Reading for people is in postgres_views.py. Implements
ports.Ledger.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.errors import UniqueViolation
from psycopg2.extras import execute_values

from tandem.adapters import postgres_audit, telemetry
from tandem.adapters.postgres import connect
from tandem.adapters.postgres_changes import ChangeStatements, posting_rows
from tandem.adapters.postgres_load import Stored, load
from tandem.adapters.postgres_statements import Statements
from tandem.adapters.writer_lease import Fenced
from tandem.domain.errors import InvariantBroken, Permanent, Transient
from tandem.domain.ids import PairId
from tandem.domain.ledger import Entry
from tandem.flow.audit import Head, records_of
from tandem.flow.journal import Changes

Cursor = psycopg2.extensions.cursor
_FENCED = "TDM01"  # of the functions in migrations 0005 and 0010


@contextmanager
def failures(place: str) -> Iterator[None]:
    """psycopg2's errors as ours."""
    try:
        yield
    except Fenced:
        telemetry.counter("portfolio_fenced_total").inc()
        raise
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise Transient(f"{place}: {str(error).strip()}") from error
    except psycopg2.IntegrityError as error:
        raise InvariantBroken(f"{place}: a key refused what was to be written: {str(error).strip()}") from error
    except psycopg2.Error as error:
        if error.pgcode == _FENCED:
            telemetry.counter("portfolio_fenced_total").inc()
            raise Fenced(f"{place}: {str(error).strip()}") from error
        raise Permanent(f"{place}: {str(error).strip()}") from error


class PortfolioStore:
    """The newest book of one account."""

    def __init__(self, url: str, account: str, *, epoch: int | None = None, trading_account: str = "") -> None:
        """account: the broker's account id. Opening or beginning a book comes before everything else. Raises Transient.

        epoch: of the writer; None only where nobody has ever taken one for the account. trading_account: the name that people give it.
        """
        self.book = ""
        self._epoch, self._trading_account = epoch, trading_account
        self._account = account
        self._newest: Head | None = None  # of the audit chain, once we have written to it and nothing went wrong since
        self._connection = connect(url, application="tandem-portfolio")
        self._connection.autocommit = True  # transactions of several messages are told to begin

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with failures("PostgreSQL"), self._connection, self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _writing(self) -> Iterator[Cursor]:
        """A transaction that holds our epoch still. Raises Fenced if there is a newer one."""
        with self._transaction() as cursor:
            if self._epoch is not None:
                cursor.execute("SELECT epoch FROM writers WHERE account = %s FOR KEY SHARE", (self._account,))
                row = cursor.fetchone()
                if row is None or row[0] != self._epoch:
                    raise Fenced(f"account {self._account}: epoch {self._epoch} is over, the writer has {row and row[0]}")
            yield cursor

    def open_newest_book(self) -> tuple[str, Decimal] | None:
        """Go on with the account's newest book: its source and the capital that it began with. None if there is no book.

        A book of before there were names, or of a renamed account, gets the account's name.
        """
        query = "SELECT book, source, capital_usd, trading_account FROM books WHERE account = %s ORDER BY generation DESC LIMIT 1"
        with self._transaction() as cursor:
            cursor.execute(query, (self._account,))
            row = cursor.fetchone()
        if row is None:
            return None
        self.book = row[0]
        if self._trading_account not in ("", row[3]):
            with self._writing() as cursor:
                cursor.execute("UPDATE books SET trading_account = %s WHERE book = %s", (self._trading_account, self.book))
        return row[1], row[2]

    def begin_book(self, source: str, capital_usd: Decimal) -> None:
        """Make the account's next book, and go on with it."""
        with self._writing() as cursor:
            cursor.execute("SELECT coalesce(max(generation), 0) + 1 FROM books WHERE account = %s", (self._account,))
            generation = int(_one(cursor)[0])
            self.book = self._account if generation == 1 else f"{self._account}#{generation}"
            cursor.execute(
                "INSERT INTO books (book, account, generation, source, capital_usd, trading_account) VALUES (%s, %s, %s, %s, %s, %s)",
                (self.book, self._account, generation, source, capital_usd, self._trading_account or None),
            )

    def has_orders(self) -> bool:
        """Whether anything was ever decided in this book."""
        with self._transaction() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM orders WHERE book = %s)", (self.book,))
            return bool(_one(cursor)[0])

    def append(self, entries: Iterable[Entry]) -> int:
        """Add the entries that are new, in one transaction. Returns how many were new."""
        self._newest = None
        with self._writing() as cursor:
            rows = {e.entry_id: e for e in entries}
            values = [(self.book, e.entry_id, e.kind, e.source_id, e.pair, e.event_ns) for e in rows.values()]
            columns = "(book, entry_id, kind, source_id, pair, event_ns)"
            query = f"INSERT INTO entries {columns} VALUES %s ON CONFLICT DO NOTHING RETURNING entry_id"  # noqa: S608 - constants only
            ids = {entry_id for (entry_id,) in execute_values(cursor, query, values, fetch=True)}
            new = [entry for entry in rows.values() if entry.entry_id in ids]
            statements = Statements(cursor)
            postings = [(self.book, *row) for row in posting_rows(new)]
            execute_values(statements, "INSERT INTO postings (book, entry_id, line, account, commodity, amount) VALUES %s", postings)
            postgres_audit.append(statements, self.book, records_of(Changes(entries=new)), postgres_audit.head(cursor, self.book))
            statements.send()
        return len(new)

    def commit(self, changes: Changes) -> None:
        """Write everything in one transaction. Raises InvariantBroken if an intent, order, execution or entry is there already."""
        newest, self._newest = self._newest, None  # not known again until this has gone well
        self._newest = (newest and self._commit_at_once(changes, newest)) or self._commit_with_care(changes)

    def _commit_at_once(self, changes: Changes, newest: Head) -> Head | None:
        """In one message. Returns the audit chain's newest link; None if nothing was written, as something was there before."""
        with failures("PostgreSQL"), self._connection.cursor() as cursor:
            statements = Statements(cursor)
            if self._epoch is not None:
                statements.execute("SELECT hold_epoch(%s, %s)", (self._account, self._epoch))
            try:
                return self._write(statements, changes, changes, newest)
            except UniqueViolation:
                return None

    def _commit_with_care(self, changes: Changes) -> Head:
        """After a look at what is there. Returns the audit chain's newest link."""
        with self._writing() as cursor:
            told, newest = self._told(cursor, changes), postgres_audit.head(cursor, self.book)
            return self._write(Statements(cursor), changes, told, newest, told_before="ON CONFLICT DO NOTHING")

    def _write(self, statements: Statements, changes: Changes, told: Changes, newest: Head, *, told_before: str = "") -> Head:
        """Send all of the changes, and what the audit chain tells of them after its newest link."""
        if not changes.is_urgent:
            # Measurements need not wait for the disk: our death loses none, a crash of the server the newest fraction of a second.
            statements.execute("SET LOCAL synchronous_commit = off")
        ChangeStatements(statements, self.book, self._epoch, told_before=told_before).add(changes)
        newest = postgres_audit.append(statements, self.book, records_of(told), newest)
        statements.send()
        return newest

    def _told(self, cursor: Cursor, changes: Changes) -> Changes:
        """The changes without the measurements that are there already: after a kill they are made again, and the chain tells each once."""
        keys = [(s.run, s.pair, s.bar_close_ns, s.action.value) for s in changes.signals]
        known, alarms = set[tuple[Any, ...]](), set[str]()
        if keys:
            cursor.execute(
                "SELECT s.run, s.pair, s.bar_close_ns, s.action FROM signals s JOIN "
                "unnest(%s::text[], %s::text[], %s::bigint[], %s::text[]) "
                "AS k (run, pair, bar_close_ns, action) USING (run, pair, bar_close_ns, action) WHERE s.book = %s",
                (*(list(column) for column in zip(*keys, strict=True)), self.book),
            )
            known = set(cursor.fetchall())
        if changes.risk_events:
            cursor.execute(
                "SELECT event_id FROM risk_events WHERE book = %s AND event_id = ANY(%s)", (self.book, list(changes.risk_events))
            )
            alarms = {event_id for (event_id,) in cursor.fetchall()}
        return replace(
            changes,
            signals=[signal for signal, key in zip(changes.signals, keys, strict=True) if key not in known],
            risk_events={key: event for key, event in changes.risk_events.items() if key not in alarms},
        )

    def load(self) -> Stored:
        """Everything that a restart goes on from."""
        with self._transaction() as cursor:
            return load(cursor, self.book)

    def order_of(self, client_order_id: str) -> PairId | None:
        """The pair of an order that is not in memory any more; None if it is not ours."""
        with self._transaction() as cursor:
            cursor.execute("SELECT pair FROM orders WHERE book = %s AND client_order_id = %s", (self.book, client_order_id))
            row = cursor.fetchone()
        return None if row is None else PairId(row[0])

    def has_fill(self, execution_id: str) -> bool:
        """Whether an execution is booked."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT FROM fills WHERE book = %s AND execution_id = %s UNION ALL "
                "SELECT FROM entries WHERE book = %s AND kind = 'foreign_fill' AND source_id = %s",
                (self.book, execution_id, self.book, execution_id),
            )
            return cursor.fetchone() is not None

    def decided(self, run: str) -> tuple[int, bool] | None:
        """The newest bar of a run with a decision, and whether its end was seen; None if the run is new."""
        with self._transaction() as cursor:
            cursor.execute("SELECT decided_ns, ended FROM stream_positions WHERE book = %s AND run = %s", (self.book, run))
            row = cursor.fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def close(self) -> None:
        """Let go of the connection and the lock."""
        self._connection.close()


def _one(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None, "the query always gives a row"
    return row
