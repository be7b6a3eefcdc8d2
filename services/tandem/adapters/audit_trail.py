"""The audit chain for people: all that belongs to one order, and whether the chain is whole. Reads only, over short connections."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg2.extensions

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_audit import COLUMNS
from tandem.adapters.postgres_ledger import failures
from tandem.domain.errors import Permanent
from tandem.flow.audit import AuditRecord, Link, beginning, breaks

Cursor = psycopg2.extensions.cursor
_PAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a look at a whole chain has found. head: what to note elsewhere, so that a chain cut short is found, too."""

    book: str
    links: int
    head: str
    faults: tuple[str, ...]


class AuditTrail:
    """The chains of a database."""

    def __init__(self, url: str) -> None:
        self._url = url

    def newest_book(self) -> str:
        """The book that was begun last. Raises Permanent when there is none."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT book FROM books ORDER BY created_at DESC, generation DESC LIMIT 1")
            found = cursor.fetchone()
        if found is None:
            raise Permanent("there is no book in this database: nothing has been traded yet")
        return str(found[0])

    def check(self, book: str) -> Checked:
        """Follow the chain from its beginning, page by page however long it is."""
        start = last = beginning(book)

        def seen(cursor: Cursor) -> Iterator[Link]:
            nonlocal last
            for link in _links(cursor):
                last = link.head
                yield link

        with self._connected() as connection, connection.cursor(name="audit") as cursor:
            cursor.itersize = _PAGE
            cursor.execute(f"SELECT {COLUMNS} FROM audit_log WHERE book = %s ORDER BY seq", (book,))  # noqa: S608 - constants
            faults = tuple(breaks(start, seen(cursor)))
        return Checked(book=book, links=last.seq, head=last.hash, faults=faults)

    def holds(self, book: str, digest: str) -> bool:
        """Whether a head that somebody noted is still a link of the chain."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM audit_log WHERE book = %s AND hash = %s)", (book, digest))
            found = cursor.fetchone()
        return bool(found and found[0])

    def of(self, book: str, wanted: str) -> tuple[Link, ...]:
        """What led to an order and what came of it, in order of writing; empty when the id is unknown.

        wanted: a client order id, the broker's order id, an execution, an entry, or an intent, which gives all its orders.
        """
        with self._connected() as connection, connection.cursor() as cursor:
            find = _Finder(cursor, book)
            entries = find("entry", {wanted})
            executions = _refs(entries) | {wanted}
            clients = _refs(find("fill", executions)) | _refs(find("order_status", {wanted}))
            orders = find("order", clients | {wanted})
            clients = {link.record.subject for link in orders}
            statuses, crosses, fills = find("order_status", clients), find("cross", clients), find("fill", clients)
            entries = find("entry", {link.record.subject for link in fills})
            intents = [link for link in find("intent", _refs(orders) - clients) if link.record.subject in _refs(orders)]
            signals = find("signal", _refs(intents))
        found = {link.seq: link for links in (signals, intents, orders, statuses, crosses, fills, entries) for link in links}
        return tuple(found[seq] for seq in sorted(found))

    @contextmanager
    def _connected(self) -> Iterator[psycopg2.extensions.connection]:
        with failures("PostgreSQL"), closing(connect(self._url, application="tandem-audit")) as connection, connection:
            yield connection


class _Finder:
    """Links of one book by kind and by any of some ids."""

    def __init__(self, cursor: Cursor, book: str) -> None:
        self._cursor, self._book = cursor, book

    def __call__(self, kind: str, ids: Iterable[str]) -> list[Link]:
        query = f"SELECT {COLUMNS} FROM audit_log WHERE book = %s AND kind = %s AND refs && %s ORDER BY seq"  # noqa: S608 - constants
        self._cursor.execute(query, (self._book, kind, sorted(ids)))
        return list(_links(self._cursor))


def _links(cursor: Cursor) -> Iterator[Link]:
    for seq, previous, digest, kind, subject, refs, event_ns, document in cursor:
        record = AuditRecord(kind=kind, subject=subject, refs=tuple(refs), event_ns=event_ns, document=document)
        yield Link(seq=seq, previous=previous, hash=digest, record=record)


def _refs(links: Iterable[Link]) -> set[str]:
    return {ref for link in links for ref in link.record.refs}
