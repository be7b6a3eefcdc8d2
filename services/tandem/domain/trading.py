"""Signals, intents, orders, fills and positions. Money and shares are Decimal or int, never float."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tandem.domain.ids import PairId, Symbol


class Side(StrEnum):
    """The side of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The side that undoes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderStatus(StrEnum):
    """Life of one order, seen from our side. UNKNOWN: sent, and no answer tells what became of it."""

    INITIALIZED = "initialized"
    DENIED = "denied"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTIAL = "partial"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"  # goes on under another id, which we never ask for: whoever replaced it, this order has ended
    FILLED = "filled"

    @property
    def is_final(self) -> bool:
        """Nothing can follow, except a late fill, which is always booked."""
        return self in _FINAL


_FINAL = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.REPLACED,
        OrderStatus.FILLED,
    }
)


class PairState(StrEnum):
    """Life of one pair's position."""

    FLAT = "flat"
    OPENING = "opening"
    HEDGED = "hedged"
    CLOSING = "closing"
    UNWINDING = "unwinding"
    QUARANTINED = "quarantined"


class Action(StrEnum):
    """What an intent wants done with a pair."""

    OPEN_LONG = "open_long"  # buy the spread: buy a, sell b
    OPEN_SHORT = "open_short"
    CLOSE = "close"
    UNWIND = "unwind"  # undo a single leg that stands alone
    COMPLETE = "complete"  # send again what the other leg of a bare one lacks


class TradingMode(StrEnum):
    """The kill switch, from the mildest to the strictest. All but ACTIVE stop new opens; see flow/signals.py."""

    ACTIVE = "active"
    REDUCING = "reducing"  # what is open closes on its signals
    FLATTENING = "flattening"  # what is open closes at the next bar
    HALTED = "halted"  # nothing closes on a signal either


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of one leg. Market when limit_usd is None."""

    client_order_id: str
    intent_id: str
    pair: PairId
    leg: str  # "a" or "b"
    attempt: int
    symbol: Symbol
    side: Side
    qty: int
    limit_usd: Decimal | None
    decided_ns: int  # event time of the decision: the bar's close
    crossed_qty: int = 0  # of qty: what meets orders of other pairs inside, and is not sent

    def __post_init__(self) -> None:
        if self.qty <= 0 or not 0 <= self.crossed_qty <= self.qty:
            raise ValueError(f"order {self.client_order_id}: qty {self.qty} and {self.crossed_qty} of it crossed: above 0, and within qty")

    @property
    def outside_qty(self) -> int:
        """Shares that the broker gets to see; 0: the order never leaves."""
        return self.qty - self.crossed_qty


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution as the broker reports it; execution_id is unique for ever."""

    execution_id: str
    client_order_id: str
    symbol: Symbol
    side: Side
    qty: Decimal
    price_usd: Decimal
    event_ns: int


class Charge(StrEnum):
    """What money is for that is no execution. The kind of its ledger entry."""

    FEE = "fee"
    BORROW = "borrow"  # for shares that were lent to us
    DIVIDEND = "dividend"  # received on long shares, paid on short ones; so is a split's fraction of a share
    INTEREST = "interest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """Money the broker took, or gave when below 0, for an execution or a day; activity_id is unique for ever."""

    activity_id: str
    symbol: Symbol | None
    amount_usd: Decimal  # positive: paid by us
    event_ns: int
    description: str
    broker_order_id: str = ""  # the order that caused it, where the broker says so
    charge: Charge = Charge.FEE


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Shares of one symbol; negative when short."""

    symbol: Symbol
    qty: Decimal
