"""The paper exchange's records: its rules and state, the events that move it and what it says. No behaviour; that is flow/exchange.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.fees import FeeTable


class TimeInForce(StrEnum):
    """How long an order works. IOC and FOK mean the same here, as a fill is always whole: fill on the next tick or cancel."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What stays the same during a replay."""

    fees: FeeTable = field(default_factory=FeeTable)
    half_spread_bps: Decimal = Decimal(1)  # of the trade's price, paid by the order on each side
    half_spread_min_usd: Decimal = Decimal("0.005")  # half of the smallest spread that a quote from one dollar up can have
    leverage: Decimal = Decimal(2)  # Regulation T
    short_reserve: Decimal = Decimal("1.03")  # Alpaca holds 3 % above the ask for a short sale
    short_equity_min_usd: Decimal = Decimal(2000)  # FINRA rule 4210
    strict: bool = True  # refuse wash trades and orders that would turn a position over, as Alpaca does
    # False for adjusted closes of the past, where a cent may be a percent: fills get the exact price. Not in the text that ids are made of.
    whole_ticks: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        if min(self.half_spread_bps, self.half_spread_min_usd) < 0 or self.half_spread_bps >= 10_000:
            raise ValueError(f"half spread of {self.half_spread_bps} bps, at least {self.half_spread_min_usd} USD: must be 0 to 9999 bps")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """An accepted order that is neither filled, canceled nor expired. Market when limit_usd is None."""

    order_id: str
    client_order_id: str
    number: int  # 1 for the first order of the replay; orders of one tick fill in this order
    symbol: Symbol
    side: Side
    qty: Decimal
    limit_usd: Decimal | None
    time_in_force: TimeInForce
    extended_hours: bool
    accepted_ns: int
    expires_ns: int | None
    reserve_usd: Decimal  # buying power that it holds until it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares of one symbol, negative when short, and what they cost: qty x average entry price, of the same sign."""

    qty: Decimal
    cost_usd: Decimal


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A trade in the market."""

    event_ns: int
    symbol: Symbol
    price_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """An order comes in. expires_ns: end of the session in which a day order works, None for others."""

    event_ns: int
    client_order_id: str
    symbol: Symbol
    side: Side
    qty: Decimal
    limit_usd: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    extended_hours: bool = False
    expires_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A request to cancel a working order."""

    event_ns: int
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Event time moves on, with prices to value by. session_end: keep equity and prices as those of the last session."""

    event_ns: int
    prices_usd: Mapping[Symbol, Decimal] = field(default_factory=dict)
    session_end: bool = False


Event = Tick | Submit | Cancel | Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The order works."""

    order: WorkingOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The order does not exist. status and code as Alpaca answers them; details are further fields of its answer."""

    client_order_id: str
    status: int
    code: int
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The whole order was executed."""

    order: WorkingOrder
    execution_id: str
    price_usd: Decimal
    event_ns: int
    position_qty: Decimal  # after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """A fee was taken from the cash."""

    activity_id: str
    order: WorkingOrder
    execution_id: str
    kind: str
    amount_usd: Decimal
    description: str
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The order ended without a fill: canceled by request or by its time in force, or expired."""

    order: WorkingOrder
    expired: bool
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRefused:
    """There is no such working order."""

    order_id: str


Output = Accepted | Rejected | Filled | Charged | Closed | CancelRefused
