"""What a run left behind, as records: ticks and batches of Kafka, rows of the ledger, lines of the exchange's log. No behaviour.

Read by topics.py, ledger_rows.py and exchange_log.py; judged by the checks. Columns and fields that are not named here may be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.market import Heartbeat, TickArray, TickFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorTicks:
    """One sector's tick topic: what was written, in order of offset, and what could not be read."""

    sector: str
    records: tuple[tuple[int, TickFrame | Heartbeat], ...]  # with the offset
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """What the market was to send: the file's trades within the replayed span. ticks.symbol counts in `symbols`."""

    symbols: tuple[str, ...]
    ticks: TickArray


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One record of the forecast topic. content: the record's bytes."""

    offset: int
    batch: ForecastBatch
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """The forecast topic of one replay."""

    records: tuple[BatchRecord, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """A row of `intents`, in the order in which they were made where the table tells it."""

    intent_id: str
    run: str
    pair: str
    action: str
    bar_close_ns: int
    model_digest: str
    trade_id: str = ""
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """A row of `orders`."""

    client_order_id: str
    intent_id: str
    pair: str
    leg: str
    attempt: int
    symbol: str
    side: str
    qty: Decimal
    limit_usd: Decimal | None
    decided_ns: int
    status: str
    filled_qty: Decimal
    seq: int
    broker_order_id: str = ""
    crossed_qty: Decimal = Decimal(0)  # met another pair's order inside: the broker has never seen this part
    epoch: int | None = None

    @property
    def sent_qty(self) -> Decimal:
        """What went to the broker."""
        return self.qty - self.crossed_qty


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRow:
    """A row of `fills`. internal: two pairs met, and no broker knows of it."""

    execution_id: str
    client_order_id: str
    pair: str
    symbol: str
    side: str
    qty: Decimal
    price_usd: Decimal
    event_ns: int
    internal: bool = False

    @property
    def signed(self) -> Decimal:
        """Shares that came, negative when they went."""
        return self.qty if self.side == "buy" else -self.qty


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A row of `entries` with its postings: (account, commodity, amount)."""

    entry_id: str
    kind: str
    source_id: str
    pair: str
    event_ns: int
    postings: tuple[tuple[str, str, Decimal], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """A row of `pair_states`."""

    pair: str
    state: str
    direction: int
    symbol_a: str
    symbol_b: str
    target_a: Decimal
    target_b: Decimal
    held_a: Decimal
    held_b: Decimal
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """A row of `pair_trades`."""

    trade_id: str
    pair: str
    opened_ns: int
    closed_ns: int | None
    unhedged_open_s: float
    unhedged_close_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """A row of `audit_log`."""

    seq: int
    kind: str
    subject: str
    refs: tuple[str, ...]
    event_ns: int
    document: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """A row of `decisions` that names a record of the forecast topic."""

    intent_id: str
    offset: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One book of the portfolio."""

    book: str
    capital_usd: Decimal
    intents: tuple[IntentRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    fills: tuple[FillRow, ...] = ()
    entries: tuple[EntryRow, ...] = ()
    pairs: tuple[PairRow, ...] = ()
    trades: tuple[TradeRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()  # in order of their numbers
    decisions: tuple[DecisionRow, ...] = ()
    reconciled: tuple[tuple[str, bool, str], ...] = ()  # occasion, equal, differences, oldest first
    alarms: tuple[tuple[str, str, int], ...] = ()  # scope, code, event time: what the portfolio has told people of
    decided: Mapping[str, tuple[int, bool]] = field(default_factory=dict)  # by run: newest bar decided, end of stream seen


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLine:
    """One line of the exchange's log. `fields` is the whole line."""

    seq: int
    replay_id: str
    event_ns: int
    kind: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field as text, "" where it is not there."""
        value = self.fields.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> Decimal:
        """A field as a number, 0 where it is not there."""
        value = self.fields.get(name)
        return Decimal(0) if value in (None, "") else Decimal(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLog:
    """The exchange's log of one replay, in order of its lines. unreadable: lines that are no line of a log."""

    lines: tuple[ExchangeLine, ...]
    unreadable: tuple[str, ...] = ()

    def of(self, *kinds: str) -> tuple[ExchangeLine, ...]:
        """The lines of these kinds."""
        return tuple(line for line in self.lines if line.kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was found. None: that part was not to be looked at."""

    replay_id: str
    pairs: tuple[PairSpec, ...] = ()
    sectors: tuple[SectorTicks, ...] | None = None
    recording: Recording | None = None
    forecasts: Forecasts | None = None
    ledger: Ledger | None = None
    exchange: ExchangeLog | None = None
    ended: bool = True  # the replay is over and everything has come to rest: what is then due is due
    unhedged_s_max: float = 60.0  # event time for which one leg may stand alone
    sessions: tuple[tuple[int, int], ...] | None = None  # open and close of each, half days included; None where bars are days
    close_cutoff_s: float = 0.0  # before a session's close nothing may be opened
    resume_wait_s: float = 0.0  # nor so long after the end of a halt of one of its symbols
    session_end: str = "keep"  # the portfolio's policy; close: nothing may be held over a session's end
