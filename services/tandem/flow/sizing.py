"""An entry signal to shares of both legs, or a refusal with its reason.

The notional falls with the forecast volatility: target / forecast, capped. Dollars a : dollars b = 1 : |beta|. Shares are whole: the
short leg is rounded down first, the long one follows from it, so that a short is never larger than planned. Called by the portfolio.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast
from tandem.domain.ids import Symbol
from tandem.domain.trading import Action, Side
from tandem.domain.units import price_usd

_ZERO = Decimal(0)
_ONE = Decimal(1)


class Refusal(StrEnum):
    """Why no order is made of a signal."""

    BETA_UNUSABLE = "beta_unusable"
    LEG_ROUNDS_TO_ZERO = "leg_rounds_to_zero"
    HEDGE_ERROR = "hedge_error"
    PAIRS_OPEN_MAX = "pairs_open_max"
    GROSS_EXPOSURE = "gross_exposure"
    SYMBOL_EXPOSURE = "symbol_exposure"
    OPPOSES_OTHER_PAIR = "opposes_other_pair"  # the broker's wash-trade rule: no two sides of one symbol at a time
    SHORT_EQUITY_MIN = "short_equity_min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of config/risk.yaml that sizing obeys. Exposures are multiples of equity."""

    volatility_target_daily: float  # standard deviation of a full-size position's spread over a day, as log return
    scale_max: float
    pairs_open_max: int
    gross_exposure_max: Decimal
    symbol_exposure_max: Decimal
    hedge_error_max: Decimal  # of the hedge's dollars, left by whole shares
    short_equity_usd_min: Decimal

    def __post_init__(self) -> None:
        for name in ("volatility_target_daily", "scale_max", "pairs_open_max", "gross_exposure_max", "symbol_exposure_max"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")
        if self.hedge_error_max < 0 or self.short_equity_usd_min < 0:
            raise ValueError(
                f"hedge_error_max {self.hedge_error_max}, short_equity_usd_min {self.short_equity_usd_min}: must not be below 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What all other pairs hold or have on order, at the marks.

    sides: the sides on which other pairs hold or trade each symbol. symbol_usd: signed, orders on their way included.
    """

    equity_usd: Decimal
    pairs_open: int
    gross_usd: Decimal
    symbol_usd: Mapping[Symbol, Decimal] = field(default_factory=dict)
    sides: Mapping[Symbol, frozenset[Side]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegPlan:
    """One leg to trade."""

    leg: str  # "a" or "b"
    symbol: Symbol
    side: Side
    qty: int
    notional_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Both legs, and the factor that the forecast variance gave."""

    a: LegPlan
    b: LegPlan
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No trade."""

    refusal: Refusal
    detail: str


def volatility_scale(variance: float, bars_per_day: float, limits: Limits) -> float:
    """target / forecast of the daily volatility, at most scale_max; never rises with the variance. variance: per bar, of log returns."""
    return min(limits.scale_max, limits.volatility_target_daily / math.sqrt(variance * bars_per_day))


def size(forecast: Forecast, spec: PairSpec, action: Action, *, limits: Limits, exposure: Exposure, bars_per_day: float) -> Plan | Refused:
    """The legs to open a pair with. `action` is OPEN_LONG or OPEN_SHORT."""
    if not math.isfinite(forecast.beta) or forecast.beta == 0:
        return Refused(refusal=Refusal.BETA_UNUSABLE, detail=f"beta {forecast.beta}, must be finite and not 0")
    scale = volatility_scale(forecast.variance, bars_per_day, limits)
    plan = _legs(forecast, action, spec.notional_usd * Decimal(str(scale)), scale)
    return _refusal(plan, abs(Decimal(str(forecast.beta))), limits, exposure) or plan


def _legs(forecast: Forecast, action: Action, notional_usd: Decimal, scale: float) -> Plan:
    assert action in (Action.OPEN_LONG, Action.OPEN_SHORT), f"{action} opens nothing"
    side_a = Side.BUY if action is Action.OPEN_LONG else Side.SELL
    side_b = side_a.opposite if forecast.beta > 0 else side_a
    ratio = abs(Decimal(str(forecast.beta)))
    price_a, price_b = price_usd(forecast.price_a), price_usd(forecast.price_b)
    dollars_a = notional_usd / (_ONE + ratio)
    if side_b is Side.SELL and side_a is Side.BUY:
        qty_b = (dollars_a * ratio / price_b).quantize(_ONE, rounding=ROUND_DOWN)
        qty_a = (qty_b * price_b / ratio / price_a).quantize(_ONE, rounding=ROUND_HALF_EVEN)
    else:
        qty_a = (dollars_a / price_a).quantize(_ONE, rounding=ROUND_DOWN)
        qty_b = (qty_a * price_a * ratio / price_b).quantize(_ONE, rounding=ROUND_HALF_EVEN)
    a = LegPlan(leg="a", symbol=forecast.leg_a, side=side_a, qty=int(qty_a), notional_usd=qty_a * price_a)
    b = LegPlan(leg="b", symbol=forecast.leg_b, side=side_b, qty=int(qty_b), notional_usd=qty_b * price_b)
    return Plan(a=a, b=b, scale=scale)


def _refusal(plan: Plan, ratio: Decimal, limits: Limits, exposure: Exposure) -> Refused | None:
    a, b = plan.a, plan.b
    if a.qty == 0 or b.qty == 0:
        return Refused(refusal=Refusal.LEG_ROUNDS_TO_ZERO, detail=f"{a.symbol} {a.qty}, {b.symbol} {b.qty} shares; at least 1 of each")
    error = abs(b.notional_usd - ratio * a.notional_usd) / (ratio * a.notional_usd)
    if error > limits.hedge_error_max:
        return Refused(refusal=Refusal.HEDGE_ERROR, detail=f"{error:.3f} of the hedge is missing, at most {limits.hedge_error_max}")
    for leg in (a, b):
        if leg.side.opposite in exposure.sides.get(leg.symbol, frozenset()):
            return Refused(refusal=Refusal.OPPOSES_OTHER_PAIR, detail=f"{leg.side} {leg.symbol}, another pair is on the other side")
    if exposure.pairs_open >= limits.pairs_open_max:
        return Refused(refusal=Refusal.PAIRS_OPEN_MAX, detail=f"{exposure.pairs_open} pairs are open, at most {limits.pairs_open_max}")
    if exposure.equity_usd < limits.short_equity_usd_min:
        return Refused(
            refusal=Refusal.SHORT_EQUITY_MIN, detail=f"equity {exposure.equity_usd:.2f}, shorts need {limits.short_equity_usd_min}"
        )
    gross_usd = exposure.gross_usd + a.notional_usd + b.notional_usd
    if gross_usd > limits.gross_exposure_max * exposure.equity_usd:
        return Refused(
            refusal=Refusal.GROSS_EXPOSURE,
            detail=f"{gross_usd:.0f} USD with this pair, at most {limits.gross_exposure_max * exposure.equity_usd:.0f}",
        )
    for leg in (a, b):
        symbol_usd = abs(exposure.symbol_usd.get(leg.symbol, _ZERO) + leg.side.sign * leg.notional_usd)
        if symbol_usd > limits.symbol_exposure_max * exposure.equity_usd:
            return Refused(
                refusal=Refusal.SYMBOL_EXPOSURE,
                detail=f"{symbol_usd:.0f} USD of {leg.symbol}, at most {limits.symbol_exposure_max * exposure.equity_usd:.0f}",
            )
    return None
