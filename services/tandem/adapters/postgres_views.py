"""The portfolio's tables for people: read-only queries, one short connection each, so that any thread may ask and none holds a lock."""

from collections.abc import Sequence
from typing import Any

from psycopg2.extras import RealDictCursor

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures

Row = dict[str, Any]


class PortfolioViews:
    """Queries over one book."""

    def __init__(self, url: str) -> None:
        self._url = url

    def orders(self, book: str, client_order_ids: Sequence[str]) -> dict[str, Row]:
        """Pair, leg and intent of orders of ours, by client_order_id."""
        query = (
            "SELECT client_order_id, pair, leg, attempt, intent_id, decided_ns FROM orders WHERE book = %s AND client_order_id = ANY(%s)"
        )
        return {row["client_order_id"]: row for row in self._rows(query, book, list(client_order_ids))}

    def fills(self, book: str, *, limit: int, pair: str = "") -> list[Row]:
        """Executions, newest first."""
        query = (
            "SELECT execution_id, client_order_id, pair, symbol, side, qty, price_usd, event_ns FROM fills "
            "WHERE book = %s AND (%s = '' OR pair = %s) ORDER BY seq DESC LIMIT %s"
        )
        return self._rows(query, book, pair, pair, limit)

    def reconciliations(self, book: str, *, limit: int) -> list[Row]:
        """Comparisons of the ledger with the broker, newest first."""
        query = (
            "SELECT run, occasion, event_ns, equal, differences, ledger_cash_usd, broker_cash_usd, made_at FROM reconciliations "
            "WHERE book = %s ORDER BY seq DESC LIMIT %s"
        )
        return self._rows(query, book, limit)

    def trading_states(self, book: str) -> list[Row]:
        """The trading modes that are in force, as the decision thread applied them."""
        return self._rows("SELECT scope, mode, reason, applied_at FROM trading_states WHERE book = %s ORDER BY scope", book)

    def _rows(self, query: str, *values: Any) -> list[Row]:
        with failures("PostgreSQL"):
            connection = connect(self._url, application="tandem-portfolio-api")
            try:
                with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                    cursor.execute(query, values)
                    return [dict(row) for row in cursor.fetchall()]
            finally:
                connection.close()
