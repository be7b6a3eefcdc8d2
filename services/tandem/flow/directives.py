"""What may happen to the paper exchange from outside: halts, bands, borrow lists, corporate actions, the broker's own doings, refusals.

Records only. They come from the recording (halts and bands), from a script or from POST /tandem/exchange/directives
(recycler/directives_body.py reads both forms), and reach the exchange as `exchange_events.Direct`. docs/exchange.md explains each.
"""

from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side

REJECTED_STATUS, REJECTED_CODE, REJECTED_MESSAGE = 403, 40310000, "insufficient buying power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """No order fills until `Resume`. symbol None: the whole market, as a market-wide breaker does it."""

    symbol: Symbol | None = None
    reason: str = "T1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Orders fill again, from the next trade or quote on. None ends a halt of the whole market only."""

    symbol: Symbol | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Limit up, limit down: no fill outside these prices. None takes a limit away."""

    symbol: Symbol
    low_usd: Decimal | None
    high_usd: Decimal | None

    def __post_init__(self) -> None:
        if self.low_usd is not None and self.high_usd is not None and self.low_usd > self.high_usd:
            raise ValueError(f"band of {self.symbol}: low {self.low_usd} is above high {self.high_usd}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortRestriction:
    """Regulation SHO rule 201 is in force or not: market short sales are refused, limit ones fill on an uptick only."""

    symbol: Symbol
    restricted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFlags:
    """What the broker allows with a symbol from here on; None leaves a flag as it is.

    A name that turns hard to borrow, or that cannot be sold short any more, loses its open short sales.
    """

    symbol: Symbol
    tradable: bool | None = None
    shortable: bool | None = None
    easy_to_borrow: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """old_shares become new_shares, at the same cost. Working orders of the symbol are canceled; a fraction of a share is paid in cash."""

    symbol: Symbol
    new_shares: int
    old_shares: int

    def __post_init__(self) -> None:
        if min(self.new_shares, self.old_shares) < 1:
            raise ValueError(f"split of {self.symbol}: {self.new_shares} for {self.old_shares}, both must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dividend:
    """Cash for each share that is held; who is short pays it. Takes place on the ex-date."""

    symbol: Symbol
    usd_per_share: Decimal

    def __post_init__(self) -> None:
        if self.usd_per_share <= 0:
            raise ValueError(f"dividend of {self.symbol}: {self.usd_per_share} USD a share, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """The broker closes what is held, at the last price, without being asked. None: every symbol; qty None: all of it."""

    symbol: Symbol | None = None
    qty: Decimal | None = None

    def __post_init__(self) -> None:
        if self.qty is not None and self.qty <= 0:
            raise ValueError(f"liquidation of {self.qty} shares, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTrade:
    """Somebody trades in the same account, at the last price, without a client_order_id of ours."""

    symbol: Symbol
    side: Side
    qty: Decimal

    def __post_init__(self) -> None:
        if self.qty <= 0:
            raise ValueError(f"manual trade of {self.symbol}: {self.qty} shares, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectNext:
    """The next `count` orders of a symbol (None: of any) do not work. late: each is accepted first, then rejected by a trade update."""

    symbol: Symbol | None = None
    count: int = 1
    late: bool = False
    status: int = REJECTED_STATUS
    code: int = REJECTED_CODE
    message: str = REJECTED_MESSAGE

    def __post_init__(self) -> None:
        if self.count < 1 or not 400 <= self.status < 600:
            raise ValueError(f"reject_next of {self.count} orders with status {self.status}: at least 1, status 400 to 599")


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """The next cancellation or replacement of a symbol's order takes effect at the symbol's next trade only, and a fill there wins."""

    symbol: Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCut:
    """No more than this buying power from here on; None takes the limit away."""

    usd: Decimal | None

    def __post_init__(self) -> None:
        if self.usd is not None and self.usd < 0:
            raise ValueError(f"buying power of {self.usd} USD: must be 0 or more")


Directive = (
    Halt | Resume | Band | ShortRestriction | AssetFlags | Split | Dividend | Liquidation | ManualTrade | RejectNext | Race | PowerCut
)
