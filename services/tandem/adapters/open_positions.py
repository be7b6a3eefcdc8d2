"""Which pairs hold a position, in which account, from the portfolios' tables. Read only, one short connection for each question.

An answer is never older than its question: a record that is withdrawn on an older one leaves behind what was opened since.

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

# The name by way of JSON: an operator that is newer than its portfolios asks before the column is there (migration 0009).
_QUERY = """
    SELECT s.pair, n.account, n.source, s.state, coalesce(n.name, '')
    FROM pair_states s
    JOIN (SELECT DISTINCT ON (account) book, account, source, to_jsonb(books) ->> 'trading_account' AS name
          FROM books ORDER BY account, generation DESC) n USING (book)
    WHERE s.state <> 'flat'
    ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """A pair that is not flat in a book. account: the broker's id of it; source: live, paper or recycled.

    trading_account: whose book it is by the name of its TradingAccount; "" of one that no portfolio has opened since there are names.
    """

    pair: PairId
    account: str
    source: str
    state: str
    trading_account: str = ""


class OpenPositions:
    """Asks Postgres. Safe to use from many threads: those that wait while it is asked share the next answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._newest: tuple[float, tuple[OpenPosition, ...]] = (float("-inf"), ())  # with the time at which it was asked for

    def now(self) -> tuple[OpenPosition, ...]:
        """Every position that is not flat, in order of pair. Raises Transient; a failed query is never read as flat."""
        asked_s = time.monotonic()
        with self._lock:
            if self._newest[0] <= asked_s:
                self._newest = (time.monotonic(), self._ask())
            return self._newest[1]

    def _ask(self) -> tuple[OpenPosition, ...]:
        with failures("PostgreSQL"):
            connection = connect(self._url, application="tandem-operator")
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(_QUERY)
                    return tuple(
                        OpenPosition(pair=PairId(pair), account=account, source=source, state=state, trading_account=name)
                        for pair, account, source, state, name in cursor.fetchall()
                    )
            except psycopg2.errors.UndefinedTable:
                return ()
            finally:
                connection.close()
