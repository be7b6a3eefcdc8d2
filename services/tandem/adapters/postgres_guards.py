"""What guards remember, as rows of risk_guards: breakers, cool-downs, drift. Called by postgres_ledger.py within its transactions."""

from collections.abc import Mapping
from typing import Any

import psycopg2.extensions
from psycopg2.extras import Json

from tandem.flow.journal import GuardRecord

GUARD_COLUMNS = ("name", "scope", "document", "event_ns")


def guard_row(record: GuardRecord) -> tuple[Any, ...]:
    """The row without its book."""
    return record.name, record.scope, Json(dict(record.document)), record.event_ns


def guards_of(cursor: psycopg2.extensions.cursor, book: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Every guard's document of a book, by name and scope."""
    cursor.execute("SELECT name, scope, document FROM risk_guards WHERE book = %s", (book,))
    return {(name, scope): document for name, scope, document in cursor.fetchall()}
