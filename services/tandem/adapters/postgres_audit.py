"""Appends to the audit chain in PostgreSQL, in the transaction of what the records tell of. flow/audit.py says what is in it.

Called by postgres_ledger.py; reading for people is in audit_trail.py.
"""

from collections.abc import Sequence

import psycopg2.extensions
from psycopg2.extras import execute_values

from tandem.adapters.postgres_statements import Statements
from tandem.flow.audit import AuditRecord, Head, beginning, chained

COLUMNS = "seq, previous, hash, kind, subject, refs, event_ns, document"


def head(cursor: psycopg2.extensions.cursor, book: str) -> Head:
    """The newest link of a book's chain."""
    cursor.execute("SELECT seq, hash FROM audit_log WHERE book = %s ORDER BY seq DESC LIMIT 1", (book,))
    found = cursor.fetchone()
    return Head(seq=found[0], hash=found[1]) if found else beginning(book)


def append(statements: Statements, book: str, records: Sequence[AuditRecord], newest: Head) -> Head:
    """Add records to a book's chain after its newest link; what is its newest link then. One writer at a time: the key refuses a fork."""
    links = chained(newest, records)
    rows = [
        (book, link.seq, link.previous, link.hash, r.kind, r.subject, list(r.refs), r.event_ns, r.document)
        for link in links
        for r in (link.record,)
    ]
    execute_values(statements, f"INSERT INTO audit_log (book, {COLUMNS}) VALUES %s", rows)  # noqa: S608 - constants
    return links[-1].head if links else newest
