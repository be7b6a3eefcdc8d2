"""The fitted variance model of one series: which recursion, which distribution, which numbers. A record; no fitting, no filtering.

    e = x / sqrt(h), x of unit scale
    garch:   h' = omega + alpha x^2 + beta h                                   (Bollerslev 1986)
    gjr:     h' = omega + (alpha + gamma [x < 0]) x^2 + beta h                 (Glosten, Jagannathan and Runkle 1993)
    egarch:  log h' = omega + alpha (|e| - sqrt(2/pi)) + gamma e + beta log h  (Nelson 1991)

Names and order of the parameters are those of the `arch` package, so that its fits can be compared number by number.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

RISK_METRICS_DECAY = 0.94
_HAIR = 1e-9  # RiskMetrics has persistence 1 and no level; this close to it the difference is below any printed digit


class Kind(StrEnum):
    """The recursion of the conditional variance."""

    GARCH = "garch"
    GJR = "gjr"
    EGARCH = "egarch"


class Shocks(StrEnum):
    """The distribution of the standardised innovations."""

    NORMAL = "normal"
    STUDENT_T = "t"
    SKEWED_T = "skewt"  # Hansen (1994)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volatility:
    """A stationary variance recursion, for innovations divided by `scale` (and by the root of their slot's profile)."""

    kind: Kind
    shocks: Shocks
    omega: float
    alpha: float
    gamma: float  # 0 for garch
    beta: float
    nu: float | None  # degrees of freedom, above 2; None for the normal distribution
    skew: float | None  # Hansen's lambda in (-1, 1), below 0: long left tail; None unless skewed t
    scale: float  # standard deviation of the training innovations, in their units; the recursion runs at unit variance

    def __post_init__(self) -> None:
        numbers = [self.omega, self.alpha, self.gamma, self.beta, self.scale, *(x for x in (self.nu, self.skew) if x is not None)]
        if not all(map(math.isfinite, numbers)) or self.scale <= 0:
            raise ValueError(f"volatility parameters must be finite and scale above 0; found {self}")
        if (self.nu is None) != (self.shocks is Shocks.NORMAL) or (self.nu is not None and self.nu <= 2):
            raise ValueError(f"nu above 2 for t and skewed t, None for normal; found {self.shocks} with nu {self.nu}")
        if (self.skew is None) == (self.shocks is Shocks.SKEWED_T) or not -1 < (self.skew or 0.0) < 1:
            raise ValueError(f"skew in (-1, 1) for skewed t, else None; found {self.shocks} with skew {self.skew}")
        if self.kind is Kind.GARCH and self.gamma != 0:
            raise ValueError(f"gamma {self.gamma}, garch has none: must be 0")
        if self.kind is not Kind.EGARCH and not (
            self.omega > 0 and self.alpha >= 0 and self.beta >= 0 and self.alpha + self.gamma >= -1e-12
        ):
            raise ValueError(f"omega above 0, alpha, beta and alpha + gamma from 0; found {self}")
        if not -1 < self.persistence < 1:
            raise ValueError(f"persistence {self.persistence}, must be below 1")

    @property
    def persistence(self) -> float:
        """The part of a deviation of the variance from its level that the next bar keeps; gjr: for shocks symmetric about 0."""
        if self.kind is Kind.EGARCH:
            return self.beta
        return self.alpha + self.gamma / 2 + self.beta


def risk_metrics(scale: float) -> Volatility:
    """The exponentially weighted mean of squares (RiskMetrics 1996, daily decay .94) as a GARCH model, at this scale."""
    return Volatility(
        kind=Kind.GARCH,
        shocks=Shocks.NORMAL,
        omega=_HAIR,
        alpha=1 - RISK_METRICS_DECAY,
        gamma=0.0,
        beta=RISK_METRICS_DECAY - _HAIR,
        nu=None,
        skew=None,
        scale=scale,
    )
