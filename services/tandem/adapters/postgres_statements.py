"""Statements whose answers nobody reads, kept until they are sent as one message. Called by postgres_ledger.py within its transactions.

A decision writes to ten tables. Each statement by itself waits for the server's answer, and orders wait for all of them: a round trip each,
and on a busy machine a change of processes each. Sent together they take one. An error of any of them is raised by `send`, and ends the
transaction as it would have by itself.
"""

from collections.abc import Sequence
from typing import Any

import psycopg2.extensions


class Statements:
    """What psycopg2's execute_values and execute_batch need of a cursor, in front of the real one."""

    def __init__(self, cursor: psycopg2.extensions.cursor) -> None:
        self.connection = cursor.connection  # tells the encoding
        self._cursor = cursor
        self._kept: list[bytes] = []

    def mogrify(self, query: str | bytes, args: Sequence[Any] | None = None) -> bytes:
        """The statement with its values."""
        return bytes(self._cursor.mogrify(query, args))

    def execute(self, query: str | bytes, args: Sequence[Any] | None = None) -> None:
        """Keep a statement."""
        self._kept.append(self.mogrify(query, args) if args is not None or isinstance(query, str) else query)

    def send(self) -> None:
        """Everything that was kept, in its order."""
        if self._kept:
            kept, self._kept = self._kept, []
            self._cursor.execute(b";".join(kept))
