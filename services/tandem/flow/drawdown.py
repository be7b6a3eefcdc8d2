"""The drawdown ladder: how far below its highest equity an account may fall before it trades smaller, only reduces, or stops.

A rung is reached at its drawdown and left when part of it has been made good, so that an account at the border does not change its size at
each bar. Called by breakers.py, which keeps the highest equity, and by sizing for the factor.
"""

from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.trading import TradingMode

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """From this drawdown on: new positions times `size`, and the trading mode if one is named."""

    drawdown: Decimal
    size: Decimal = _ONE
    mode: TradingMode | None = None

    def __post_init__(self) -> None:
        if not 0 < self.drawdown < 1 or not 0 <= self.size <= 1:
            raise ValueError(f"drawdown {self.drawdown} must be in (0, 1), size {self.size} in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Rungs from the mildest to the strictest. A rung is left when the drawdown is below `recovered` times the rung's."""

    rungs: tuple[Rung, ...] = (
        Rung(drawdown=Decimal("0.05"), size=Decimal("0.5")),
        Rung(drawdown=Decimal("0.08"), size=Decimal("0.5"), mode=TradingMode.REDUCING),
        Rung(drawdown=Decimal("0.12"), size=Decimal(0), mode=TradingMode.HALTED),
    )
    recovered: Decimal = Decimal("0.5")

    def __post_init__(self) -> None:
        for before, after in zip(self.rungs, self.rungs[1:], strict=False):
            if not before.drawdown < after.drawdown or after.size > before.size:
                raise ValueError(f"rungs {self.rungs}: each must have a larger drawdown than the one before, and no larger size")
        if not 0 <= self.recovered <= 1:
            raise ValueError(f"recovered {self.recovered}, must be in [0, 1]")

    def rung(self, drawdown: Decimal, now: int) -> int:
        """The rung at a drawdown, 0 for none, when the account stands on rung `now`."""
        reached = sum(drawdown >= rung.drawdown for rung in self.rungs)
        if reached >= now:
            return reached
        held = (number for number in range(now, reached, -1) if drawdown >= self.recovered * self.rungs[number - 1].drawdown)
        return next(held, reached)

    def size(self, rung: int) -> Decimal:
        """The factor of new positions on a rung."""
        return self.rungs[rung - 1].size if rung else _ONE
