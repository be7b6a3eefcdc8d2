"""Which pairs hold a position, in which account, from the portfolios' tables. Read only, one short connection for each question.

A book is one life of an account; only the newest of each account counts. Before the first portfolio has run there are no tables, and
nothing is open.
"""

import threading
import time
from dataclasses import dataclass

import psycopg2.errors

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures
from tandem.domain.ids import PairId

_KEPT_S = 1.0  # 500 pairs that are withdrawn at once ask once
_QUERY = """
    SELECT s.pair, n.account, n.source, s.state
    FROM pair_states s
    JOIN (SELECT DISTINCT ON (account) book, account, source FROM books ORDER BY account, generation DESC) n USING (book)
    WHERE s.state <> 'flat'
    ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """A pair that is not flat in a book. account: the broker's id of it; source: live, paper or recycled."""

    pair: PairId
    account: str
    source: str
    state: str


class OpenPositions:
    """Asks Postgres; an answer is good for a second. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._kept: tuple[float, tuple[OpenPosition, ...]] = (float("-inf"), ())

    def now(self) -> tuple[OpenPosition, ...]:
        """Every position that is not flat, in order of pair. Raises Transient; a failed query is never read as flat."""
        with self._lock:
            if time.monotonic() - self._kept[0] >= _KEPT_S:
                self._kept = (time.monotonic(), self._ask())
            return self._kept[1]

    def _ask(self) -> tuple[OpenPosition, ...]:
        with failures("PostgreSQL"):
            connection = connect(self._url, application="tandem-operator")
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(_QUERY)
                    return tuple(OpenPosition(pair=PairId(p), account=a, source=s, state=t) for p, a, s, t in cursor.fetchall())
            except psycopg2.errors.UndefinedTable:
                return ()
            finally:
                connection.close()
