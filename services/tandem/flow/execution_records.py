"""A pair's execution as records: its legs, the events that change it, and what it may ask for. No behaviour of their own.

Made and read by execution.py, the machine; carried by the portfolio.
"""

from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.domain.units import NS_PER_S
from tandem.flow.orders import OrderState
from tandem.flow.signals import Held

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a pair may wait. Bars count from the one after the decision; seconds are event time with one leg bare.

    completions_max: orders sent again for what the other leg of a bare one lacks, before it is given up. retry_s: from one attempt to the
    next where no bar closes in between. keep_share_min: of an opening that is filled in part, what is worth keeping as a smaller pair.
    """

    leg_wait_bars_max: int
    leg_wait_s_max: float
    unwind_attempts_max: int
    completions_max: int = 1
    retry_s: float = 5.0
    keep_share_min: float = 0.25

    def __post_init__(self) -> None:
        if self.leg_wait_bars_max < 1 or self.leg_wait_s_max <= 0 or self.unwind_attempts_max < 1:
            raise ValueError(f"{self}: each must be at least 1, seconds above 0")
        if self.completions_max < 0 or self.retry_s <= 0 or not 0 <= self.keep_share_min <= 1:
            raise ValueError(f"{self}: completions_max must not be below 0, retry_s above 0, keep_share_min within 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg. target and held are signed shares: wanted while hedged, and there now. order: the newest one."""

    symbol: Symbol
    target: int = 0
    held: Decimal = _ZERO
    order: OrderState | None = None

    @property
    def is_live(self) -> bool:
        """An order may still be filled."""
        return self.order is not None and not self.order.is_over

    @property
    def is_opening(self) -> bool:
        """A live order adds to the position."""
        return self.order is not None and self.is_live and self.order.order.side.sign * self.target > 0

    @property
    def is_complete(self) -> bool:
        """All that was wanted is held."""
        return self.held == self.target

    @property
    def missing(self) -> int:
        """Signed shares that are wanted and not held."""
        return int(self.target - self.held)

    @property
    def is_touched(self) -> bool:
        """Something of it is held, or the broker says that it will be."""
        return self.held != 0 or (self.order is not None and self.is_live and self.order.reported > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The state of one pair. first_fill_ns, last_fill_ns: executions since the legs began to move, None before.

    leaving: it is on its way out, so that whatever is left is undone; else what is hedged may stay.
    """

    pair: PairId
    sector: SectorId
    a: Leg
    b: Leg
    state: PairState = PairState.FLAT
    held: Held | None = None
    trade_id: str = ""
    decided_ns: int = 0  # bar of the newest intent: no second decision at it
    attempts: int = 0  # unwindings tried
    completions: int = 0  # orders sent again while opening
    leaving: bool = False
    waited_bars: int = 0
    first_fill_ns: int | None = None
    last_fill_ns: int | None = None
    reason: str = ""  # why UNWINDING or QUARANTINED

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Both legs."""
        return self.a, self.b

    @property
    def unhedged_s(self) -> float:
        """Event time from the first execution to the last one since the legs began to move."""
        if self.first_fill_ns is None or self.last_fill_ns is None:
            return 0.0
        return (self.last_fill_ns - self.first_fill_ns) / NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Two orders that open the pair are on their way."""

    trade_id: str
    held: Held
    a: Order
    b: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Two orders that close the pair are on their way."""

    a: Order
    b: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Flattening:
    """Orders that undo what is left, at most one per leg, are on their way."""

    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completing:
    """Orders for what an opening still lacks, at most one per leg, are on their way."""

    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the broker says of one order. filled: shares over all its executions, booked here or not."""

    client_order_id: str
    status: OrderStatus
    filled: Decimal = _ZERO
    broker_order_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Time to look after the pair. bar_closed: a bar has passed, which counts against its patience."""

    at_ns: int
    bar_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Stop touching the pair: something is wrong that a person must look at."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A person has looked, the ledger and the broker agree: the pair goes on from what it holds."""


Event = Opened | Closing | Flattening | Completing | Review | Quarantine | Release | Reported | Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """Ask the broker to cancel this order."""

    order: OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenWanted:
    """Send market orders of these legs: (leg, symbol, side, shares)."""

    legs: tuple[tuple[str, Symbol, Side, int], ...]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteWanted:
    """Send market orders for what these legs lack: (leg, symbol, side, shares)."""

    legs: tuple[tuple[str, Symbol, Side, int], ...]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that a person may want to know. code is from a short fixed list."""

    code: str
    detail: str


Output = CancelWanted | FlattenWanted | CompleteWanted | Alarm
