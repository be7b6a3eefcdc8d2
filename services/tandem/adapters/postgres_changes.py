"""What one transaction of the portfolio writes, as statements in the order that the tables' keys ask for. Called by postgres_ledger.py."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from psycopg2.extras import Json, execute_batch, execute_values

from tandem.adapters.postgres_guards import GUARD_COLUMNS, guard_row
from tandem.adapters.postgres_rows import (
    CROSS_COLUMNS,
    STATE_COLUMNS,
    TRADE_COLUMNS,
    cross_row,
    decision_row,
    model_row,
    state_row,
    trade_row,
)
from tandem.adapters.postgres_statements import Statements
from tandem.domain.ledger import Entry
from tandem.flow.journal import Changes
from tandem.flow.netting import is_internal
from tandem.flow.orders import OrderState

_ORDER_COLUMNS = (
    "client_order_id, intent_id, pair, leg, attempt, symbol, side, qty, limit_usd, decided_ns, crossed_qty, "
    "status, filled_qty, inside_qty, reported_qty, broker_order_id, reason"
)


class ChangeStatements:
    """The statements of one book's changes."""

    def __init__(self, statements: Statements, book: str, epoch: int | None, *, told_before: str) -> None:
        """epoch: of the writer, for the intents. told_before: what to do with a signal or alarm that is there, as the end of an INSERT."""
        self._statements, self._book, self._epoch, self._told_before = statements, book, epoch, told_before

    def add(self, changes: Changes) -> None:
        """All of them but the audit chain's."""
        self._write_decisions(changes)
        self._write_books(changes)
        self._write_states(changes)
        self._write_measures(changes)

    def _insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]], *, again: str = "") -> None:
        """Insert the rows, each after the book's name; `again` says what to do with a row that is there."""
        if rows:
            query = f"INSERT INTO {table} (book, {columns}) VALUES %s {again}"  # noqa: S608 - table and columns are constants of this file
            execute_values(self._statements, query, [(self._book, *row) for row in rows])

    def _write_decisions(self, changes: Changes) -> None:
        new = {order.client_order_id for order in changes.new_orders}
        # First the ends of old orders, so that a leg's next order does not meet its last one still alive.
        self._update_orders({key: state for key, state in changes.orders.items() if key not in new})
        self._insert(
            "intents",
            "intent_id, run, pair, sector, action, reason, bar_close_ns, trade_id, model_name, model_version, model_digest, epoch",
            [
                (i.intent_id, i.run, i.pair, i.sector, i.action, i.reason, i.bar_close_ns, i.trade_id, *model_row(i.model), self._epoch)
                for i in changes.intents
            ],
        )
        self._insert(
            "decisions",
            "intent_id, price_a, price_b, half_spread_a, half_spread_b, beta, "
            'topic, partition, "offset", sha256, tick_topic, tick_first, tick_last',
            [decision_row(decision) for decision in changes.decisions],
        )
        states = [changes.orders.get(order.client_order_id) or OrderState(order=order) for order in changes.new_orders]
        self._insert("orders", _ORDER_COLUMNS, [_order_row(state) for state in states])

    def _update_orders(self, orders: Mapping[str, OrderState]) -> None:
        execute_batch(
            self._statements,
            "UPDATE orders SET status = %s, filled_qty = %s, inside_qty = %s, reported_qty = %s, broker_order_id = %s, reason = %s "
            "WHERE book = %s AND client_order_id = %s",
            [(*_became(state), self._book, key) for key, state in orders.items()],
        )

    def _write_books(self, changes: Changes) -> None:
        crosses = [cross_row(*made) for made in changes.crosses.values()]
        self._insert("crosses", ", ".join(CROSS_COLUMNS), crosses, again=_upsert("book, cross_id", ("price_usd", "event_ns")))
        self._insert(
            "fills",
            "execution_id, client_order_id, pair, symbol, side, qty, price_usd, event_ns, internal",
            [
                (f.execution_id, f.client_order_id, pair, f.symbol, f.side, f.qty, f.price_usd, f.event_ns, is_internal(f.execution_id))
                for f, pair in changes.fills
            ],
        )
        self._insert(
            "entries",
            "entry_id, kind, source_id, pair, event_ns",
            [(e.entry_id, e.kind, e.source_id, e.pair, e.event_ns) for e in changes.entries],
        )
        self._insert("postings", "entry_id, line, account, commodity, amount", posting_rows(changes.entries))

    def _write_states(self, changes: Changes) -> None:
        self._insert(
            "pair_states",
            ", ".join(STATE_COLUMNS),
            [state_row(e) for e in changes.executions.values()],
            again=_upsert("book, pair", STATE_COLUMNS[1:]),
        )
        self._insert(
            "pair_trades",
            ", ".join(TRADE_COLUMNS),
            [trade_row(t) for t in changes.trades.values()],
            again=_upsert("book, trade_id", TRADE_COLUMNS[1:]),
        )
        states = {scope: state for scope, state in changes.trading_states.items() if state is not None}
        self._insert(
            "trading_states",
            "scope, mode, reason",
            [(s.scope, s.mode, s.reason) for s in states.values()],
            again="ON CONFLICT (book, scope) DO UPDATE SET mode = EXCLUDED.mode, reason = EXCLUDED.reason, applied_at = now()",
        )
        gone = [(self._book, scope) for scope, state in changes.trading_states.items() if state is None]
        execute_batch(self._statements, "DELETE FROM trading_states WHERE book = %s AND scope = %s", gone)
        self._insert(
            "risk_guards",
            ", ".join(GUARD_COLUMNS),
            [guard_row(record) for record in changes.guards.values()],
            again=_upsert("book, name, scope", GUARD_COLUMNS[2:]),
        )
        self._insert(
            "stream_positions",
            "run, decided_ns, ended",
            [(run, decided_ns, ended) for run, (decided_ns, ended) in changes.decided.items()],
            again=_upsert("book, run", ("decided_ns", "ended")),
        )

    def _write_measures(self, changes: Changes) -> None:
        self._insert(
            "signals",
            "run, pair, bar_close_ns, action, reason, outcome, refusal, detail, model_name, model_version, model_digest, "
            "z, reversion_probability, variance",
            [
                (
                    *(s.run, s.pair, s.bar_close_ns, s.action, s.reason, "refused" if s.refusal else "taken", s.refusal, s.detail),
                    *(*model_row(s.model), s.z, s.reversion_probability, s.variance),
                )
                for s in changes.signals
            ],
            again=self._told_before,
        )
        self._insert(
            "equity_curve",
            "run, bar_close_ns, equity_usd, cash_usd, gross_usd, open_pairs",
            [(p.run, p.bar_close_ns, p.equity_usd, p.cash_usd, p.gross_usd, p.open_pairs) for p in changes.equity],
            again="ON CONFLICT DO NOTHING",
        )
        self._insert(
            "risk_events",
            "event_id, scope, code, detail, event_ns",
            [(r.event_id, r.scope, r.code, r.detail, r.event_ns) for r in changes.risk_events.values()],
            again=self._told_before,
        )
        self._insert(
            "reconciliations",
            "run, occasion, event_ns, equal, differences, ledger_cash_usd, broker_cash_usd",
            [
                (
                    *(r.run, r.occasion, r.event_ns, not r.differences),
                    Json([{key: str(value) for key, value in asdict(d).items()} for d in r.differences]),
                    *(r.ledger_cash_usd, r.broker_cash_usd),
                )
                for r in changes.reconciliations
            ],
        )


def _order_row(state: OrderState) -> tuple[Any, ...]:
    o = state.order
    made = (o.client_order_id, o.intent_id, o.pair, o.leg, o.attempt, o.symbol, o.side, o.qty, o.limit_usd, o.decided_ns, o.crossed_qty)
    return *made, *_became(state)


def _became(state: OrderState) -> tuple[Any, ...]:
    """What is known of it since it was made."""
    return state.status, state.filled, state.inside, state.reported, state.broker_order_id, state.reason


def posting_rows(entries: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """The lines of entries, without the book."""
    return [(e.entry_id, line, p.account, p.commodity, p.amount) for e in entries for line, p in enumerate(e.postings)]


def _upsert(key: str, columns: Sequence[str]) -> str:
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{name} = EXCLUDED.{name}" for name in columns)
