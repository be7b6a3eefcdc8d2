"""What the broker says of a tradable symbol on a day: whether it may be traded, sold short, and how much of it trades."""

from dataclasses import dataclass
from math import isfinite

from tandem.domain.ids import Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One symbol as of one morning. easy_to_borrow holds for that day only. adv_shares: mean daily volume before it; 0 when not
    known. market_beta: of its daily returns to the market's; 1 when not known.
    """

    symbol: Symbol
    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    adv_shares: float = 0.0
    market_beta: float = 1.0
    as_of_ns: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.adv_shares < float("inf"):
            raise ValueError(f"asset {self.symbol}: adv_shares {self.adv_shares}, must be finite and not below 0")
        if not isfinite(self.market_beta):
            raise ValueError(f"asset {self.symbol}: market_beta {self.market_beta}, must be finite")
