"""The paper exchange's records: its rules, its orders and its state. No behaviour; that is flow/exchange.py. Events: exchange_events.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.directives import Band, RejectNext
from tandem.flow.fees import FeeTable

_ZERO = Decimal(0)


class TimeInForce(StrEnum):
    """How long an order works."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"  # in the opening auction: the session's first trade
    CLS = "cls"  # in the closing auction: the session's last trade
    IOC = "ioc"  # on the next trade or quote as far as it goes, the rest is canceled
    FOK = "fok"  # the same, whole or not at all


class OrderKind(StrEnum):
    """Alpaca's order types."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


def kind_of(limit_usd: Decimal | None, stop_usd: Decimal | None, *, trails: bool) -> OrderKind:
    """The type of an order that has these prices."""
    if trails:
        return OrderKind.TRAILING_STOP
    if stop_usd is not None:
        return OrderKind.STOP if limit_usd is None else OrderKind.STOP_LIMIT
    return OrderKind.MARKET if limit_usd is None else OrderKind.LIMIT


class OrderClass(StrEnum):
    """How orders hang together."""

    SIMPLE = ""
    BRACKET = "bracket"  # an entry, then two exits of which one cancels the other
    OCO = "oco"  # the two exits alone
    OTO = "oto"  # an entry, then one exit


class Origin(StrEnum):
    """Who asked for an order."""

    CLIENT = "client"
    LEG = "leg"  # of a bracket, OCO or OTO
    REPLACE = "replace"
    MANUAL = "manual"  # somebody else who may trade in this account
    LIQUIDATION = "liquidation"  # the broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What stays the same during a replay. Fields that are not shown (repr) are not in the text that ids are made of."""

    fees: FeeTable = field(default_factory=FeeTable)
    half_spread_bps: Decimal = Decimal(1)  # of the trade's price, paid by the order on each side where there is no quote
    half_spread_min_usd: Decimal = Decimal("0.005")  # half of the smallest spread that a quote from one dollar up can have
    leverage: Decimal = Decimal(2)  # Regulation T
    short_reserve: Decimal = Decimal("1.03")  # Alpaca holds 3 % above the ask for a short sale
    short_equity_min_usd: Decimal = Decimal(2000)  # FINRA rule 4210
    strict: bool = True  # refuse wash trades and orders that would turn a position over, as Alpaca does
    # False for adjusted closes of the past, where a cent may be a percent: fills get the exact price. Not in the text that ids are made of.
    whole_ticks: bool = field(default=True, repr=False)
    # Share of a trade's (quote's) size that our orders together may take; 0: any quantity fills on one trade, whatever its size.
    participation: Decimal = field(default=_ZERO, repr=False)
    slippage_bps: Decimal = field(default=_ZERO, repr=False)  # of the price, paid by orders without a limit on top of the spread
    borrow_bps_year: Decimal = field(default=_ZERO, repr=False)  # on what is short overnight and easy to borrow
    hard_borrow_bps_year: Decimal = field(default=_ZERO, repr=False)  # the same where it is hard to borrow
    margin_bps_year: Decimal = field(default=_ZERO, repr=False)  # on what cash is below 0 overnight
    gross_equity_max: Decimal = field(default=Decimal(6), repr=False)  # times equity; above it Alpaca lets an account only close

    def __post_init__(self) -> None:
        if min(self.half_spread_bps, self.half_spread_min_usd) < 0 or self.half_spread_bps >= 10_000:
            raise ValueError(f"half spread of {self.half_spread_bps} bps, at least {self.half_spread_min_usd} USD: must be 0 to 9999 bps")
        if not 0 <= self.participation <= 1:
            raise ValueError(f"participation {self.participation}: must be 0 (any quantity) to 1 (the whole trade)")
        if not 0 <= self.slippage_bps < 10_000:
            raise ValueError(f"slippage {self.slippage_bps} bps: must be 0 to 9999")
        if min(self.borrow_bps_year, self.hard_borrow_bps_year) < 0:
            raise ValueError(f"borrow {self.borrow_bps_year} and {self.hard_borrow_bps_year} bps a year: must be 0 or more")
        if self.margin_bps_year < 0:
            raise ValueError(f"margin {self.margin_bps_year} bps a year: must be 0 or more")

    def __str__(self) -> str:
        """The text that ids of replays are made of: fields that are not shown count where they are not 0."""
        parts = {"participation": self.participation, "slippage": self.slippage_bps, "borrow": self.borrow_bps_year}
        more = {**parts, "hard_borrow": self.hard_borrow_bps_year, "margin": self.margin_bps_year}
        return repr(self) + "".join(f",{name}={value}" for name, value in more.items() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The session that is on or comes next, and the end of the one before; None where the calendar ends."""

    closed_ns: int | None
    open_ns: int | None
    close_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a replacement asks for; None leaves a field as it is. qty counts what the old order has filled."""

    client_order_id: str
    qty: Decimal | None = None
    limit_usd: Decimal | None = None
    stop_usd: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None
    expires_ns: int | None = None  # with time_in_force
    hours: Hours | None = None  # as Submit's


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """An accepted order that is not done. Market when there is neither limit, stop nor trail."""

    order_id: str
    client_order_id: str
    number: int  # 1 for the first order of the replay; orders of one tick fill in this order
    symbol: Symbol
    side: Side
    qty: Decimal  # 0 while notional_usd has not been turned into shares
    limit_usd: Decimal | None
    time_in_force: TimeInForce
    extended_hours: bool
    accepted_ns: int
    expires_ns: int | None
    reserve_usd: Decimal  # buying power that it holds, for all of qty
    notional_usd: Decimal | None = None
    stop_usd: Decimal | None = None  # of a trailing stop: where it stands now
    trail_usd: Decimal | None = None
    trail_percent: Decimal | None = None
    mark_usd: Decimal | None = None  # of a trailing stop: the best price seen
    is_triggered: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    group: str = ""  # order id of the first order of a bracket, OCO or OTO
    is_exit: bool = False
    is_held: bool = False  # waits for the entry of its group
    origin: Origin = Origin.CLIENT
    replaces: str = ""
    works_after_ns: int = 0  # fills are later than this
    filled_qty: Decimal = _ZERO
    filled_usd: Decimal = _ZERO  # sum of qty x price
    executions: int = 0
    cancel_is_pending: bool = False
    change: Change | None = None  # a replacement that waits

    @property
    def kind(self) -> OrderKind:
        """Alpaca's type."""
        return kind_of(self.limit_usd, self.stop_usd, trails=self.trail_usd is not None or self.trail_percent is not None)

    @property
    def remaining(self) -> Decimal:
        """Shares that may still fill."""
        return self.qty - self.filled_qty

    @property
    def is_pending(self) -> bool:
        """A request to cancel or replace it waits for the symbol's next trade."""
        return self.cancel_is_pending or self.change is not None

    @property
    def waits_for_stop(self) -> bool:
        """A stop that has not been reached."""
        return self.stop_usd is not None and not self.is_triggered

    @property
    def reserved_usd(self) -> Decimal:
        """Buying power that the rest of it holds."""
        if self.is_held:
            return _ZERO
        return self.reserve_usd if not self.qty else self.reserve_usd * self.remaining / self.qty


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares of one symbol, negative when short, and what they cost: qty x average entry price, of the same sign."""

    qty: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the broker allows with a symbol."""

    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What holds besides orders and holdings: the market's state and what a script has prepared."""

    halted: Mapping[Symbol, str] = field(default_factory=dict)  # reason by symbol
    market_halt: str | None = None  # reason of a halt of everything
    bands: Mapping[Symbol, Band] = field(default_factory=dict)
    restricted: frozenset[Symbol] = frozenset()  # Regulation SHO rule 201
    flags: Mapping[Symbol, Flags] = field(default_factory=dict)
    rejects: tuple[RejectNext, ...] = ()
    races: frozenset[Symbol] = frozenset()
    power_cap_usd: Decimal | None = None

    def is_halted(self, symbol: Symbol) -> bool:
        """Whether nothing fills."""
        return self.market_halt is not None or symbol in self.halted

    def of(self, symbol: Symbol) -> Flags:
        """The broker's flags of a symbol."""
        return self.flags.get(symbol, _ALL_ALLOWED)


_ALL_ALLOWED = Flags()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeState:
    """One account and its working orders. Final orders are not kept: they are outputs."""

    replay_id: str
    now_ns: int
    cash_usd: Decimal
    holdings: Mapping[Symbol, Holding]  # none is 0
    orders: Mapping[str, WorkingOrder]  # by order id, oldest first
    marks: Mapping[Symbol, Decimal]  # last price known of each symbol that was traded or asked for
    last_equity_usd: Decimal  # at the end of the last session
    last_marks: Mapping[Symbol, Decimal]  # of what was held then
    accepted: int  # orders so far
    traded_ns: Mapping[Symbol, int] = field(default_factory=dict)  # last trade in regular hours that an order has seen
    conditions: Conditions = field(default_factory=Conditions)
    fees_usd: Mapping[str, Decimal] = field(default_factory=dict)  # of the day by kind, before rounding
