"""What moves the paper exchange, and what it says. Records only; flow/exchange.py steps over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.directives import Directive
from tandem.flow.exchange_records import Change, Hours, OrderClass, TimeInForce, WorkingOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A trade in the market. size 0: not known, or of no matter."""

    event_ns: int
    symbol: Symbol
    price_usd: Decimal
    size: int = 0
    is_extended: bool = False  # outside the session: only orders that asked for it fill
    is_quoted: bool = False  # a fresh quote stands, which fills come from: this trade moves stops and marks only
    is_uptick: bool = False  # above the symbol's trade before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """The best bid and ask of a symbol. 0 where there is none; a crossed one fills nothing."""

    event_ns: int
    symbol: Symbol
    bid_usd: Decimal
    bid_size: int
    ask_usd: Decimal
    ask_size: int
    is_extended: bool = False

    @property
    def is_sound(self) -> bool:
        """Both sides are there and do not cross."""
        return 0 < self.bid_usd <= self.ask_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A leg that waits for its entry: a limit takes profit, a stop (with a limit or not) ends a loss."""

    client_order_id: str
    limit_usd: Decimal | None = None
    stop_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """An order comes in. expires_ns: when its time in force ends it, None for never. Either qty or notional_usd is above 0."""

    event_ns: int
    client_order_id: str
    symbol: Symbol
    side: Side
    qty: Decimal
    limit_usd: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    extended_hours: bool = False
    expires_ns: int | None = None
    notional_usd: Decimal | None = None
    stop_usd: Decimal | None = None
    trail_usd: Decimal | None = None
    trail_percent: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: Exit | None = None  # of an OCO the order itself takes profit
    stop_loss: Exit | None = None
    hours: Hours | None = None  # needed for opg and cls, whose windows it gives


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A request to cancel a working order."""

    event_ns: int
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """A request to put another order in the place of a working one."""

    event_ns: int
    order_id: str
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Event time moves on, with prices to value by. session_end: keep equity and prices as those of the last session."""

    event_ns: int
    prices_usd: Mapping[Symbol, Decimal] = field(default_factory=dict)
    session_end: bool = False
    nights: int = 1  # with session_end: calendar days until the next session, for which shares and cash are lent


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """A directive takes effect. prices_usd: last prices of what it may trade."""

    event_ns: int
    directive_id: str
    directive: Directive
    prices_usd: Mapping[Symbol, Decimal] = field(default_factory=dict)


Event = Tick | Quoted | Submit | Cancel | Replace | Mark | Direct


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The order works, or waits for the entry of its group."""

    order: WorkingOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """An exit that waited for its entry works now."""

    order: WorkingOrder
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The order does not exist. status and code as Alpaca answers them; details are further fields of its answer."""

    client_order_id: str
    status: int
    code: int
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """An order that was accepted is rejected after all."""

    order: WorkingOrder
    status: int
    code: int
    message: str
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """One execution. order: as it is after it."""

    order: WorkingOrder
    execution_id: str
    qty: Decimal
    price_usd: Decimal
    event_ns: int
    position_qty: Decimal  # after it
    cash_usd: Decimal  # after it, before its fees

    @property
    def is_last(self) -> bool:
        """Nothing of the order is left."""
        return self.order.remaining == 0


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


class Booking(StrEnum):
    """What was booked without an order."""

    BORROW = "borrow"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    SPLIT = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """Cash or shares moved without an order."""

    activity_id: str
    kind: Booking
    symbol: Symbol | None  # None of interest
    qty: Decimal  # held at that moment, signed
    amount_usd: Decimal  # what the account gained; below 0 where it paid
    event_ns: int
    description: str
    new_qty: Decimal | None = None  # of a split
    per_share_usd: Decimal | None = None  # of a dividend
    nights: int = 0  # of borrow and interest


class Ending(StrEnum):
    """Why an order ended without being filled whole."""

    REQUEST = "request"
    EXPIRED = "expired"
    AT_ONCE = "at_once"  # ioc or fok, and the rest did not fill
    SIBLING = "sibling"  # the other exit filled, or the entry is gone
    BORROW = "hard_to_borrow"
    SPLIT = "split"
    BROKER = "broker"  # a liquidation


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The order ended, filled in part or not at all: canceled by request or by a rule, or expired."""

    order: WorkingOrder
    ending: Ending
    event_ns: int

    @property
    def expired(self) -> bool:
        """Its time was over."""
        return self.ending is Ending.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """Another order has taken the place of this one. Accepted of the other follows."""

    order: WorkingOrder
    new_order_id: str
    new_client_order_id: str
    event_ns: int


class Waiting(StrEnum):
    """What became of a request that could not be done at once."""

    CANCEL_PENDING = "cancel_pending"
    REPLACE_PENDING = "replace_pending"
    CANCEL_REJECTED = "cancel_rejected"
    REPLACE_REJECTED = "replace_rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A request to cancel or replace waits, or has failed after waiting."""

    order: WorkingOrder
    what: Waiting
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """An order's quantity was lowered, as its sibling filled in part."""

    order: WorkingOrder
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRefused:
    """There is no such working order, or a request for it waits already."""

    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRefused:
    """The order stays as it is."""

    order_id: str
    status: int
    code: int
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """A directive took effect; what it caused follows."""

    directive_id: str
    directive: Directive
    event_ns: int


Output = (
    Accepted
    | Released
    | Rejected
    | Voided
    | Filled
    | Charged
    | Booked
    | Closed
    | Replaced
    | Noted
    | Adjusted
    | CancelRefused
    | ReplaceRefused
    | Happened
)
