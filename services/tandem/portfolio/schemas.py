"""Answers and questions of the portfolio's HTTP API. Money and shares are decimal text, statistics numbers, times ns UTC."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tandem.domain.trading import PairState, TradingMode

Money = Annotated[Decimal, Field(description="Decimal text.")]
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes that character in no text


class BrokerDocument(BaseModel):
    """The broker's own words, unchanged: fields as in Alpaca's trading API."""

    model_config = ConfigDict(extra="allow")


class Account(BrokerDocument):
    """The broker's account."""

    id: str
    cash: str
    equity: str
    buying_power: str


class PairShares(BaseModel):
    """Shares of one pair's sub-ledger."""

    pair: str
    qty: Money


class Position(BrokerDocument):
    """A position at the broker, and the pairs that it belongs to."""

    symbol: str
    qty: str
    pairs: list[PairShares] = Field(description="How the ledger divides it; adds up to qty.")


class Order(BrokerDocument):
    """An order at the broker, and what it was for. pair is null for an order that is not ours."""

    client_order_id: str
    symbol: str
    side: str
    status: str
    pair: str | None
    leg: str | None
    intent_id: str | None
    decided_ns: int | None


class Fill(BaseModel):
    """One execution in the ledger."""

    execution_id: str
    client_order_id: str
    pair: str
    symbol: str
    side: str
    qty: Money
    price_usd: Money
    event_ns: int


class Forecast(BaseModel):
    """The newest forecast of a pair that the portfolio acted on."""

    model: str
    version: str
    digest: str
    bar_close_ns: int
    z: float
    spread: float
    variance: float = Field(description="Of the spread's innovation over the next bar, GARCH corrected by the GRU.")
    garch_variance: float
    reversion_probability: float
    half_life_bars: float
    beta: float


class Leg(BaseModel):
    """One leg. Shares are signed; target is what is wanted while hedged."""

    symbol: str
    held: Money
    target: int
    order_id: str | None
    order_status: str | None


class Pnl(BaseModel):
    """Profit after fees."""

    realized_usd: Money
    unrealized_usd: Money
    total_usd: Money
    fees_usd: Money


class Thresholds(BaseModel):
    """As declared; z in training standard deviations of the spread."""

    entry_z: float
    exit_z: float
    stop_z: float
    probability_min: float


class Pair(BaseModel):
    """A declared pair, or one that still holds something."""

    pair: str
    sector: str
    declared: bool
    state: PairState
    direction: int = Field(description="+1 long the spread (long a), -1 short, 0 nothing.")
    waiting: str | None = Field(
        description="Why it does not trade now: SectorNotRouted, NoForecastYet, PairNotInModel, or a code of the signal and sizing rules."
    )
    legs: list[Leg]
    thresholds: Thresholds | None = Field(description="Null for a pair that is no longer declared.")
    trade_id: str | None
    entry_z: float | None
    unhedged_s: float = Field(description="Longest time with one leg bare in the newest trade, event time.")
    forecast: Forecast | None
    pnl: Pnl


class PairPnl(Pnl):
    """Profit of one pair."""

    pair: str


class PnlReport(BaseModel):
    """Profit of the book; pairs and unallocated add up to total_usd."""

    equity_usd: Money
    capital_usd: Money
    total_usd: Money
    fees_usd: Money
    pairs: list[PairPnl]
    unallocated_usd: Money = Field(description="What belongs to no pair, e.g. a fee that the broker charges by the day.")


class Summary(BaseModel):
    """The book as it is now, and the broker's figures from the cache."""

    book: str
    decided_ns: int = Field(description="Close of the newest bar that was decided; 0 before the first.")
    waiting_for: list[str] = Field(description="Sectors whose forecasts the next bar is waiting for; in lockstep the replay waits too.")
    open_pairs: int
    equity_usd: Money = Field(description="Of the ledger, at the newest marks.")
    cash_usd: Money
    pnl_usd: Money
    fees_usd: Money
    broker: dict[str, Any] = Field(description="Account and positions summarised, at most 30 s old.")


class Difference(BaseModel):
    """One value on which ledger and broker disagree."""

    what: str
    ledger: Money
    broker: Money


class Reconciliation(BaseModel):
    """A comparison of the ledger with the broker."""

    run: str
    occasion: str
    event_ns: int
    equal: bool
    differences: list[Difference]
    ledger_cash_usd: Money
    broker_cash_usd: Money
    made_at: datetime


class CacheReport(BaseModel):
    """Questions since the start."""

    hits: int
    misses: int
    errors: int = Field(description="Failures of the cache; the questions were answered by the broker.")
    refreshes: int
    hit_ratio: float


class TradingState(BaseModel):
    """A trading mode in force."""

    scope: str
    mode: TradingMode
    reason: str
    applied_at: datetime


class TradingStateOrder(BaseModel):
    """A trading mode to set. The strictest of all that apply to a pair holds."""

    model_config = ConfigDict(extra="forbid")

    scope: str = Field(
        pattern=r"^(global|account/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?|sector/[a-z][a-z0-9-]{0,39}|pair/[A-Z][A-Z0-9.]{0,9}-[A-Z][A-Z0-9.]{0,9})$",
        examples=["global"],
    )
    mode: TradingMode = Field(
        description="reducing: no new positions; flattening: closes at the next bar; halted: no exits on signals. Unwinding goes on."
    )
    reason: str = Field(min_length=1, max_length=500, pattern=_NO_NUL, examples=["earnings week"])


class Accepted(BaseModel):
    """The order is durable in the control topic; the decision thread applies it within a second."""

    accepted: bool
    scope: str
    mode: TradingMode


class ReleaseOrder(BaseModel):
    """Why a pair may go on, and what becomes of shares in its symbols that belong to no pair."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500, examples=["compared with the broker's statement"])
    adopt: bool = Field(default=False, description="Give the pair what somebody else has traded in its symbols.")


class Released(BaseModel):
    """The pair goes on: ledger and broker agree on its symbols."""

    pair: str
    state: PairState


class BreakerReset(BaseModel):
    """The reset is with the decision thread."""

    accepted: bool
    breaker: str


class Problem(BaseModel):
    """Why a question was not answered."""

    detail: str
