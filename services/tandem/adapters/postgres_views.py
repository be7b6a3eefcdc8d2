"""The portfolio's tables for people: read-only queries, one short connection each, so that any thread may ask and none holds a lock."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg2.extras import RealDictCursor

from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures

Row = dict[str, Any]


class PortfolioViews:
    """Queries over one book."""

    def __init__(self, url: str) -> None:
        self.url = url

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

    def equity(self, book: str, *, limit: int) -> list[Row]:
        """Values of the book, newest first."""
        query = (
            "SELECT run, bar_close_ns, equity_usd, cash_usd, gross_usd, open_pairs FROM equity_curve "
            "WHERE book = %s ORDER BY bar_close_ns DESC LIMIT %s"
        )
        return self._rows(query, book, limit)

    def signals(self, book: str, *, limit: int, pair: str = "") -> list[Row]:
        """Signals, newest first, with the trade that came of them."""
        query = (
            "SELECT s.run, s.pair, s.bar_close_ns, s.action, s.reason, s.outcome, s.refusal, s.detail, s.model_version, s.z, "
            "s.reversion_probability, s.variance, i.trade_id, t.pnl_usd FROM signals s "
            "LEFT JOIN intents i USING (book, run, pair, bar_close_ns, action) LEFT JOIN pair_trades t USING (book, trade_id) "
            "WHERE s.book = %s AND (%s = '' OR s.pair = %s) ORDER BY s.bar_close_ns DESC, s.pair LIMIT %s"
        )
        return self._rows(query, book, pair, pair, limit)

    def risk_events(self, book: str, *, limit: int) -> list[Row]:
        """Alarms, newest first."""
        query = "SELECT event_id, scope, code, detail, event_ns FROM risk_events WHERE book = %s ORDER BY seq DESC LIMIT %s"
        return self._rows(query, book, limit)

    def audit(self, book: str, wanted: str) -> list[Row]:
        """The audit links that an id leads to, in order."""
        return [
            {
                "seq": link.seq,
                "kind": link.record.kind,
                "subject": link.record.subject,
                "event_ns": link.record.event_ns,
                "document": json.loads(link.record.document),
                "previous": link.previous,
                "hash": link.hash,
            }
            for link in AuditTrail(self.url).of(book, wanted)
        ]

    def _rows(self, query: str, *values: Any) -> list[Row]:
        with failures("PostgreSQL"):
            connection = connect(self.url, application="tandem-portfolio-api")
            try:
                with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                    cursor.execute(query, values)
                    return [dict(row) for row in cursor.fetchall()]
            finally:
                connection.close()
