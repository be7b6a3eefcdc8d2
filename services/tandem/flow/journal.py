"""What the portfolio writes down, as records: intents, signals, trades, marks, alarms, comparisons. No behaviour.

Made by the portfolio, stored by adapters/postgres_ledger.py in the tables of migration 0001.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tandem.domain.control import TradingState
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.domain.ledger import Entry
from tandem.domain.trading import Action, Fill, Order
from tandem.flow.accounting import Difference
from tandem.flow.decisions import Decision
from tandem.flow.execution_records import Execution
from tandem.flow.netting import Cross
from tandem.flow.orders import OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The durable decision to act on a pair. It is stored, with its orders, before anything is sent."""

    intent_id: str
    run: str  # replay id, or the account on live feeds
    pair: PairId
    sector: SectorId
    action: Action
    reason: str
    bar_close_ns: int
    trade_id: str  # the opening intent of the round trip
    model: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRecord:
    """An action that the rules asked for, and what came of it. refusal is "" when it was taken."""

    run: str
    pair: PairId
    bar_close_ns: int
    action: Action
    reason: str
    refusal: str
    detail: str
    model: ModelRef
    z: float
    reversion_probability: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One round trip of a pair. Times are event time; None until it happened."""

    trade_id: str
    pair: PairId
    sector: SectorId
    direction: int
    model: ModelRef
    opened_ns: int
    entry_z: float
    cash_at_open_usd: Decimal  # of the pair's sub-ledger, i.e. what earlier trades earned
    hedged_ns: int | None = None
    closed_ns: int | None = None
    exit_z: float | None = None
    exit_reason: str = ""
    unhedged_open_s: float = 0.0
    unhedged_close_s: float = 0.0
    pnl_usd: Decimal | None = None  # after fees, once closed

    def leaving(self, *, z: float, reason: str) -> "Trade":
        """The trade with why it is being closed."""
        return replace(self, exit_z=z, exit_reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """The book at the marks of one bar."""

    run: str
    bar_close_ns: int
    equity_usd: Decimal
    cash_usd: Decimal
    gross_usd: Decimal
    open_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskEvent:
    """An alarm. event_id is derived from its content, so that a repeated one is stored once."""

    event_id: str
    scope: str  # "pair/KO-PEP", "book"
    code: str
    detail: str
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRecord:
    """What a guard remembers over a restart: breakers, cool-downs, drift. One of each name and scope, as plain values."""

    name: str
    scope: str  # "" of the account, or a pair
    document: Mapping[str, Any]
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A comparison of the ledger with the broker."""

    run: str
    occasion: str  # "start", "end_of_stream"
    event_ns: int
    differences: tuple[Difference, ...]
    ledger_cash_usd: Decimal
    broker_cash_usd: Decimal


@dataclass(slots=True)
class Changes:
    """Everything that one transaction writes. Of what has an identity and changes, only the newest state is kept."""

    intents: list[Intent] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)  # one of each intent
    new_orders: list[Order] = field(default_factory=list)
    orders: dict[str, OrderState] = field(default_factory=dict)  # by client_order_id: status and shares filled
    fills: list[tuple[Fill, PairId]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    executions: dict[PairId, Execution] = field(default_factory=dict)
    trades: dict[str, Trade] = field(default_factory=dict)
    signals: list[SignalRecord] = field(default_factory=list)
    crosses: dict[str, tuple[Cross, Fill | None]] = field(default_factory=dict)  # by id, with the sale once it has happened
    equity: list[EquityPoint] = field(default_factory=list)
    risk_events: dict[str, RiskEvent] = field(default_factory=dict)
    trading_states: dict[str, TradingState | None] = field(default_factory=dict)  # by scope; None: taken back
    guards: dict[tuple[str, str], GuardRecord] = field(default_factory=dict)  # by name and scope
    reconciliations: list[Reconciliation] = field(default_factory=list)
    decided: dict[str, tuple[int, bool]] = field(default_factory=dict)  # by run: newest bar with a decision, end of stream seen

    def __bool__(self) -> bool:
        """Something is to be written."""
        return any(getattr(self, name) for name in self.__slots__)

    @property
    def is_urgent(self) -> bool:
        """More than measurements, which may wait for company. What guards remember may not: its bars are not read again."""
        return any(getattr(self, name) for name in self.__slots__ if name not in ("signals", "equity", "risk_events"))
