"""Answers of the portfolio's reports over HTTP: attribution, equity, signals, risk, audit. Money and shares are decimal text."""

from typing import Any

from pydantic import BaseModel, Field

from tandem.domain.trading import Action, TradingMode
from tandem.portfolio.schemas import Money


class Parts(BaseModel):
    """Profit by cause; costs are below 0. The parts add up to total_usd, to the last digit."""

    spread_alpha_usd: Money = Field(description="Of leg a, and of leg b as far as the opening's hedge ratio asks for it.")
    hedge_drift_usd: Money = Field(description="Of the shares of leg b that are more or less than that.")
    slippage_usd: Money = Field(description="Executions against the prices of their decisions, without the half spread.")
    half_spread_usd: Money = Field(description="Half of the spread quoted at the decision; 0 where no quote was known.")
    unwind_usd: Money = Field(description="All that trades which were never hedged lost, and the executions that undid a leg.")
    fees_usd: Money
    borrow_usd: Money
    dividends_usd: Money
    interest_usd: Money
    foreign_usd: Money = Field(description="Of shares that somebody else traded in the account, at the marks.")
    total_usd: Money


class AttributionRow(Parts):
    """The profit of one trade, pair, sector or model version."""

    key: str = Field(description="Trade id, pair, sector, or model name and version; what `by` asked for.")
    pair: str | None = Field(description="Of a trade or pair.")
    sector: str | None = Field(description="Null for a model version.")
    version: str | None = Field(description="Of a trade or model version.")
    trades: int


class Attribution(BaseModel):
    """Where the change of equity came from: rows, the account's own charges, and what neither explains, which is 0."""

    by: str
    rows: list[AttributionRow]
    account: Parts = Field(description="Charges that belong to no pair, e.g. a fee that the broker takes by the day.")
    equity_change_usd: Money = Field(description="Equity at the marks less the capital, by the ledger's postings alone.")
    unallocated_usd: Money = Field(description="equity_change_usd less all rows and the account: 0, else a part is missing.")


class EquityPoint(BaseModel):
    """The book at the marks of one bar."""

    run: str
    bar_close_ns: int
    equity_usd: Money
    cash_usd: Money
    gross_usd: Money
    open_pairs: int


class Signal(BaseModel):
    """What the rules asked for at a bar, and what came of it: the trade it opened or closed, and that trade's profit once closed."""

    run: str
    pair: str
    bar_close_ns: int
    action: Action
    reason: str
    outcome: str
    refusal: str
    detail: str
    model_version: str
    z: float | None
    reversion_probability: float | None
    variance: float | None
    trade_id: str | None
    pnl_usd: Money | None = Field(description="Of the trade, after fees, once it is closed.")


class RiskEvent(BaseModel):
    """An alarm."""

    event_id: str
    scope: str
    code: str
    detail: str
    event_ns: int


class Breaker(BaseModel):
    """A breaker that has tripped."""

    breaker: str
    mode: TradingMode
    reason: str
    at_ns: int
    ends: str = Field(description="What ends it: next_session, pause, recovery or reset. A person's reset ends each.")


class SymbolExposure(BaseModel):
    """Shares of one symbol over all pairs, and their value."""

    symbol: str
    qty: Money
    value_usd: Money


class Risk(BaseModel):
    """What is at risk now, and what holds it back."""

    equity_usd: Money
    gross_usd: Money
    net_usd: Money
    gross_ratio: float = Field(description="Gross by equity.")
    drawdown: float = Field(description="Share of the highest equity that is lost.")
    size_factor: float = Field(description="What the drawdown ladder leaves of a new position.")
    open_pairs: int
    quarantined: list[str]
    breakers: list[Breaker]
    symbols: list[SymbolExposure]


class AuditLink(BaseModel):
    """One link of the audit chain."""

    seq: int
    kind: str
    subject: str
    event_ns: int
    document: dict[str, Any] = Field(description="As it was hashed, parsed.")
    previous: str
    hash: str
