"""What a backtest leaves behind: executions with the prices around them, round trips, the account bar by bar, windows. Money is Decimal."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Side
from tandem.flow.accounting import Book
from tandem.flow.journal import SignalRecord, Trade
from tandem.quant.quality import SymbolRejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill. decided_usd: last trade when the order was decided; market_usd: the trade that it was filled on; price_usd: what it got."""

    pair: PairId
    trade_id: str
    symbol: Symbol
    side: Side
    qty: Decimal
    decided_ns: int
    event_ns: int
    decided_usd: Decimal
    market_usd: Decimal
    price_usd: Decimal

    @property
    def spread_usd(self) -> Decimal:
        """What half the spread and the rounding to its tick cost; never below 0."""
        return (self.price_usd - self.market_usd) * self.side.sign * self.qty

    @property
    def waited_usd(self) -> Decimal:
        """What the market moved against the order between its decision and its fill; below 0 when it moved with it."""
        return (self.market_usd - self.decided_usd) * self.side.sign * self.qty

    @property
    def traded_usd(self) -> Decimal:
        """Value at the market's price."""
        return self.market_usd * self.qty


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPoint:
    """The account at the close of a bar, at the last trades. gross: long and short added; net: long less short."""

    window: int
    close_ns: int
    equity_usd: Decimal
    cash_usd: Decimal
    gross_usd: Decimal
    net_usd: Decimal
    open_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """One step of the walk: bars [train_start, trade_start) of the panel are seen, [trade_start, trade_stop) are traded."""

    number: int  # from 1
    train_start: int
    trade_start: int
    trade_stop: int
    train_from_ns: int
    train_to_ns: int  # close of the last bar that is seen
    trade_to_ns: int  # close of the last bar that is traded


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOutcome:
    """What a window chose and earned. equity: at its start and end."""

    plan: WindowPlan
    pairs: tuple[PairId, ...]
    digest: str  # of the model; "" without one
    tested: int  # pairs that were looked at to choose these
    note: str  # why it trades nothing, or what was rejected
    equity_start_usd: Decimal
    equity_end_usd: Decimal
    rejections: tuple[SymbolRejection, ...] = ()  # symbols left out for a defect in what the window had seen
    suspects: tuple[SymbolRejection, ...] = ()  # symbols of its pairs whose defect shows only with the traded bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Everything that happened to the account."""

    capital_usd: Decimal
    executions: tuple[Execution, ...]
    trades: tuple[Trade, ...]  # in order of their opening
    trade_windows: Mapping[str, int]  # by trade_id
    signals: tuple[SignalRecord, ...]
    points: tuple[BarPoint, ...]
    windows: tuple[WindowOutcome, ...]
    book: Book
    marks_usd: Mapping[Symbol, Decimal]  # last trades of what is still held
    borrow_usd: Mapping[str, Decimal]  # by pair
    alarms: tuple[str, ...]
