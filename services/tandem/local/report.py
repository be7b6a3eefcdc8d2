"""The report of a replay: every number is taken from where it lies (Kafka, Postgres, the exchange), none from a service's own account."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg2.extensions

from tandem.domain.ledger import CASH, FEES, SHARES, USD
from tandem.domain.units import cents, rfc3339
from tandem.local.measure import KafkaCounts, TickKey
from tandem.ports import Broker

Rows = list[tuple[Any, ...]]


@dataclass(kw_only=True)
class Report:
    """What `--report` writes. Money in USD after all costs; times are event time unless the name says otherwise."""

    data: dict[str, Any]  # file, digest, span
    bar: str
    speed: str
    ticks_replayed: int
    ticks_in_kafka: int
    ticks_doubled: int
    frames_in_kafka: int
    bars: int
    forecasts: int
    forecasts_scored: int
    signals: int
    intents: int
    orders: int
    fills: int
    round_trips: int
    pnl_usd: str
    costs_usd: str
    fees_usd: str
    spread_cost_usd: str
    equity_usd: str
    open_pairs: int
    ledger_equals_broker: bool
    differences: list[str]
    unhedged_seconds_max: float
    parked_records: int
    tick_to_forecast_ms: dict[str, float | None]
    ticks_per_second: float
    replay_seconds: float
    memory_peak_mib: float
    models: dict[str, Any]  # by sector
    skipped_sectors: dict[str, str]
    decisions_digest: str
    seconds: dict[str, float] = field(default_factory=dict)  # wall time of each stage

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def latency_ms(counts: KafkaCounts) -> dict[str, float | None]:
    """p50 and p99 in milliseconds; None when nothing was forecast."""
    if len(counts.latency_ms) == 0:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(counts.latency_ms, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


_OF_MARKET = ("bars", "forecast_scores")  # kept by replay; everything else is kept by book
# %s: the run, twice; '' means every one. A session compares its book with the broker before it does anything else.
_OF_BOOK = "(%s = '' OR book IN (SELECT book FROM reconciliations WHERE run = %s))"
_OF_REPLAY = "(%s = '' OR replay_id = %s)"


class Book:
    """The ledger's tables, read for the report."""

    def __init__(self, connection: psycopg2.extensions.connection, run: str = "") -> None:
        """run: only what belongs to this replay and to the book that it was traded in; everything without one."""
        self._connection, self._run = connection, run

    def rows(self, query: str, *parameters: object) -> Rows:
        """All rows of a query."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def count(self, table: str, where: str = "true") -> int:
        """Rows of one of our own tables."""
        mine = _OF_REPLAY if table in _OF_MARKET else _OF_BOOK
        query = f"SELECT count(*) FROM {table} WHERE {where} AND {mine}"  # noqa: S608 all are literals of this module's callers
        return int(self._mine(query)[0][0])

    @property
    def is_closed(self) -> bool:
        """Whether the portfolio has compared it with the broker after the replay's last bar."""
        query = "SELECT count(*) FROM reconciliations WHERE occasion = 'end_of_stream' AND %s IN ('', run)"
        return bool(self.rows(query, self._run)[0][0])

    def balance(self, account: str, commodity: str) -> Decimal:
        """The sum of an account's postings in one commodity."""
        query = f"SELECT coalesce(sum(amount), 0) FROM postings WHERE {_OF_BOOK} AND account = %s AND commodity = %s"  # noqa: S608 literals
        return Decimal(self._mine(query, account, commodity)[0][0])

    def positions(self) -> dict[str, Decimal]:
        """Shares by symbol, without those that are flat."""
        query = f"""SELECT commodity, sum(amount) FROM postings WHERE {_OF_BOOK} AND account = %s
                    GROUP BY 1 HAVING sum(amount) <> 0"""  # noqa: S608 literals
        return dict(self._mine(query, SHARES))

    def unhedged_s_max(self) -> float:
        """The longest time that a leg of a pair stood alone."""
        query = f"SELECT coalesce(max(greatest(unhedged_open_s, unhedged_close_s)), 0) FROM pair_trades WHERE {_OF_BOOK}"  # noqa: S608 literals
        return float(self._mine(query)[0][0])

    def decisions_digest(self) -> str:
        """sha256 over every order and its executions, in the order of decision: equal for two runs that decided the same."""
        digest = hashlib.sha256()
        for row in self._mine(
            f"""SELECT o.decided_ns, o.client_order_id, o.symbol, o.side, o.qty, o.limit_usd, o.status,
                       f.execution_id, f.event_ns, f.qty, f.price_usd
                FROM orders o LEFT JOIN fills f USING (book, client_order_id) WHERE {_OF_BOOK}
                ORDER BY o.decided_ns, o.client_order_id, f.event_ns, f.execution_id"""  # noqa: S608 literals
        ):
            digest.update(("|".join("" if value is None else _plain(value) for value in row) + "\n").encode())
        return digest.hexdigest()

    def spread_cost(self, prices: Mapping[TickKey, float]) -> Decimal:
        """What fills paid over the price of the tick that filled them."""
        total = Decimal(0)
        for symbol, event_ns, qty, price in self._mine(f"SELECT symbol, event_ns, qty, price_usd FROM fills WHERE {_OF_BOOK}"):  # noqa: S608 literals
            tick = prices.get((symbol, event_ns))
            if tick is not None:
                total += qty * abs(price - Decimal(str(tick)))
        return cents(total)

    def fill_keys(self) -> set[TickKey]:
        """Symbol and event time of each fill."""
        query = f"SELECT symbol, event_ns FROM fills WHERE {_OF_BOOK}"  # noqa: S608 literals
        return {(symbol, int(event_ns)) for symbol, event_ns in self._mine(query)}

    def _mine(self, query: str, *more: object) -> Rows:
        """A query whose first parameters, or only ones, name the run."""
        return self.rows(query, self._run, self._run, *more)


def _plain(value: object) -> str:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def compare(book: Book, broker: Broker) -> list[str]:
    """Where the ledger and the broker differ: position by position, and cash to the cent. Empty when they agree."""
    differences = []
    ours, theirs = book.positions(), {position.symbol: position.qty for position in broker.positions()}
    for symbol in sorted(set(ours) | set(theirs)):
        mine, other = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))  # type: ignore[call-overload]
        if mine != other:
            differences.append(f"{symbol}: ledger {mine}, broker {other}")
    cash, broker_cash = cents(book.balance(CASH, USD)), cents(Decimal(broker.account().cash))
    if cash != broker_cash:
        differences.append(f"cash: ledger {cash}, broker {broker_cash}")
    return differences


def equity_usd(book: Book, last_price: Mapping[str, float]) -> Decimal:
    """Cash and positions at each symbol's last price."""
    held = sum((qty * Decimal(str(last_price[symbol])) for symbol, qty in book.positions().items()), Decimal(0))
    return cents(book.balance(CASH, USD) + held)


def fees_usd(book: Book) -> Decimal:
    """Fees paid."""
    return cents(book.balance(FEES, USD))


def span(first_ns: int | None, last_ns: int | None) -> dict[str, str | None]:
    """A span of event time as text."""
    return {"from": None if first_ns is None else rfc3339(first_ns), "to": None if last_ns is None else rfc3339(last_ns)}


def lines(report: Report) -> Iterable[tuple[str, str]]:
    """The summary that a person reads, as (label, text)."""
    latency = report.tick_to_forecast_ms
    yield "data", f"{report.data['file']} ({report.bar} bars), {_replayed(report.data['replayed'])}"
    yield "models", ", ".join(f"{sector} v{model['version']} ({_pairs(len(model['pairs']))})" for sector, model in report.models.items())
    for sector, reason in report.skipped_sectors.items():
        yield f"no model for {sector}", reason
    yield "ticks", f"{report.ticks_replayed:,} replayed, {report.ticks_in_kafka:,} in Kafka, {report.ticks_doubled} doubled"
    yield "flow", f"{report.bars:,} bars, {report.forecasts:,} forecasts, {report.signals:,} signals, {report.parked_records} parked"
    yield "trading", f"{report.intents:,} intents, {report.orders:,} orders, {report.fills:,} fills, {_pairs(report.open_pairs)} open"
    yield "result", f"{report.pnl_usd} USD after costs of {report.costs_usd} USD (fees {report.fees_usd}, spread {report.spread_cost_usd})"
    yield "ledger equals broker", "yes" if report.ledger_equals_broker else "NO: " + "; ".join(report.differences)
    yield "longest time unhedged", f"{report.unhedged_seconds_max:.3f} s of event time"
    yield "tick to forecast", f"p50 {latency['p50']} ms, p99 {latency['p99']} ms"
    yield (
        "speed",
        f"{report.ticks_per_second:,.0f} ticks/s over {report.replay_seconds:.1f} s; peak memory {report.memory_peak_mib:,.0f} MiB",
    )
    yield "decisions", report.decisions_digest


def _replayed(within: Mapping[str, str | None]) -> str:
    first, last = (moment and f"{moment.partition('.')[0]}Z" for moment in (within["from"], within["to"]))
    return f"replayed {first} to {last}" if first and last else "nothing replayed"


def _pairs(number: int) -> str:
    return "1 pair" if number == 1 else f"{number} pairs"
