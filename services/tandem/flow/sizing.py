"""An entry signal to shares of both legs, or a refusal with its reason.

The notional falls with the forecast volatility (target / forecast, capped) and with the model's confidence: none at the pair's floor, the
whole from `confidence_full` on. It is never more than a fraction of Kelly's bet on the same probability and volatility. Dollars a : dollars
b = 1 : |beta|. Shares are whole: the short leg is rounded down first, the long one follows from it, so that a short is never larger than
planned. Then come the caps on what all pairs together hold. Orders are planned at prices on their ticks; caps look at the last prices
as they are: those are the marks of what is held. Called by the portfolio.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.trading import Action, Side
from tandem.domain.units import price_usd
from tandem.flow.pretrade import Code

_ZERO = Decimal(0)
_ONE = Decimal(1)
_KELLY_MAX = 0.25  # more than half of Kelly's bet grows slower than less of it when the probability is overestimated by a little
_POSITIVE = (
    *("volatility_target_daily", "scale_max", "kelly_fraction", "confidence_full", "pairs_open_max", "gross_exposure_max"),
    *("symbol_exposure_max", "net_exposure_max", "beta_exposure_max", "sector_exposure_max"),
)


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
    CONFIDENCE_FLOOR = "confidence_floor"
    NET_EXPOSURE = "net_exposure"
    BETA_EXPOSURE = "beta_exposure"
    SECTOR_EXPOSURE = "sector_exposure"


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
    kelly_fraction: float = 0.25
    confidence_full: float = 0.65  # reversion probability from which a pair gets its whole size
    net_exposure_max: Decimal = Decimal("0.5")
    beta_exposure_max: Decimal = Decimal("0.5")
    sector_exposure_max: Decimal = _ONE

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")
        if self.kelly_fraction > _KELLY_MAX or self.confidence_full > 1:
            raise ValueError(
                f"kelly_fraction {self.kelly_fraction}, at most {_KELLY_MAX}; confidence_full {self.confidence_full}, at most 1"
            )
        if self.hedge_error_max < 0 or self.short_equity_usd_min < 0:
            raise ValueError(
                f"hedge_error_max {self.hedge_error_max}, short_equity_usd_min {self.short_equity_usd_min}: must not be below 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What all other pairs hold or have on order, at the marks.

    sides: the sides on which other pairs hold or trade each symbol. symbol_usd: signed, orders on their way included. sector_usd: long and
    short added. betas: of symbols to the market, 1 where none is known.
    """

    equity_usd: Decimal
    pairs_open: int
    gross_usd: Decimal
    symbol_usd: Mapping[Symbol, Decimal] = field(default_factory=dict)
    sides: Mapping[Symbol, frozenset[Side]] = field(default_factory=dict)
    sector_usd: Mapping[SectorId, Decimal] = field(default_factory=dict)
    betas: Mapping[Symbol, float] = field(default_factory=dict)


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
    """Both legs, and the factor that variance, confidence and drawdown gave."""

    a: LegPlan
    b: LegPlan
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No trade, by sizing or by a pre-trade check."""

    refusal: Refusal | Code
    detail: str


def volatility_scale(variance: float, bars_per_day: float, limits: Limits) -> float:
    """target / forecast of the daily volatility, at most scale_max; never rises with the variance. variance: per bar, of log returns."""
    return min(limits.scale_max, limits.volatility_target_daily / math.sqrt(variance * bars_per_day))


def confidence(probability: float, floor: float, limits: Limits) -> float:
    """0 at the floor, 1 from confidence_full on, a straight line between. A floor of 0 says that the probability is not to be looked at."""
    if floor <= 0:
        return 1.0
    if floor >= limits.confidence_full:
        return float(probability > floor)
    return min(max((probability - floor) / (limits.confidence_full - floor), 0.0), 1.0)


def kelly_usd(forecast: Forecast, equity_usd: Decimal, limits: Limits) -> Decimal:
    """Most that leg a may be worth: a fraction of Kelly's bet on a move of one standard deviation of the spread over its half-life.

    Such a bet of even odds, won with probability p, takes (2 p - 1) / sigma of the equity (Kelly 1956); nothing at p = 1/2.
    """
    sigma = math.sqrt(forecast.variance * max(forecast.half_life_bars, 1.0))
    share = limits.kelly_fraction * max(2 * forecast.reversion_probability - 1, 0.0) / sigma
    return Decimal(str(share)) * max(equity_usd, _ZERO)


def size(
    forecast: Forecast,
    spec: PairSpec,
    action: Action,
    *,
    limits: Limits,
    exposure: Exposure,
    bars_per_day: float,
    factor: float = 1.0,
) -> Plan | Refused:
    """The legs to open a pair with. `action` is OPEN_LONG or OPEN_SHORT. factor: what the drawdown ladder leaves."""
    if not math.isfinite(forecast.beta) or forecast.beta == 0:
        return Refused(refusal=Refusal.BETA_UNUSABLE, detail=f"beta {forecast.beta}, must be finite and not 0")
    scale = factor * volatility_scale(forecast.variance, bars_per_day, limits)
    scale *= confidence(forecast.reversion_probability, spec.probability_min, limits)
    if scale <= 0:
        detail = (
            f"probability {forecast.reversion_probability:.3f}, above {spec.probability_min:g} for any size; drawdown leaves {factor:g}"
        )
        return Refused(refusal=Refusal.CONFIDENCE_FLOOR, detail=detail)
    ratio = abs(Decimal(str(forecast.beta)))
    dollars_a = spec.notional_usd * Decimal(str(scale)) / (_ONE + ratio)
    if spec.probability_min > 0:
        dollars_a = min(dollars_a, kelly_usd(forecast, exposure.equity_usd, limits))
    plan = _legs(forecast, action, dollars_a, scale)
    if refused := _unhedged(plan, ratio, limits):
        return refused
    added_usd = _added_usd(plan, forecast)
    return _refusal(plan, added_usd, limits, exposure) or _crowded(added_usd, spec.sector, limits, exposure) or plan


def _legs(forecast: Forecast, action: Action, dollars_a: Decimal, scale: float) -> Plan:
    assert action in (Action.OPEN_LONG, Action.OPEN_SHORT), f"{action} opens nothing"
    side_a = Side.BUY if action is Action.OPEN_LONG else Side.SELL
    side_b = side_a.opposite if forecast.beta > 0 else side_a
    ratio = abs(Decimal(str(forecast.beta)))
    price_a, price_b = price_usd(forecast.price_a), price_usd(forecast.price_b)
    if side_b is Side.SELL and side_a is Side.BUY:
        qty_b = (dollars_a * ratio / price_b).quantize(_ONE, rounding=ROUND_DOWN)
        qty_a = (qty_b * price_b / ratio / price_a).quantize(_ONE, rounding=ROUND_HALF_EVEN)
    else:
        qty_a = (dollars_a / price_a).quantize(_ONE, rounding=ROUND_DOWN)
        qty_b = (qty_a * price_a * ratio / price_b).quantize(_ONE, rounding=ROUND_HALF_EVEN)
    a = LegPlan(leg="a", symbol=forecast.leg_a, side=side_a, qty=int(qty_a), notional_usd=qty_a * price_a)
    b = LegPlan(leg="b", symbol=forecast.leg_b, side=side_b, qty=int(qty_b), notional_usd=qty_b * price_b)
    return Plan(a=a, b=b, scale=scale)


def _added_usd(plan: Plan, forecast: Forecast) -> dict[Symbol, Decimal]:
    """What the legs add to the exposure of their symbols, signed, as the books will value it."""
    legs = ((plan.a, forecast.price_a), (plan.b, forecast.price_b))
    return {leg.symbol: leg.side.sign * leg.qty * Decimal(str(price)) for leg, price in legs}


def _unhedged(plan: Plan, ratio: Decimal, limits: Limits) -> Refused | None:
    a, b = plan.a, plan.b
    if a.qty == 0 or b.qty == 0:
        return Refused(refusal=Refusal.LEG_ROUNDS_TO_ZERO, detail=f"{a.symbol} {a.qty}, {b.symbol} {b.qty} shares; at least 1 of each")
    error = abs(b.notional_usd - ratio * a.notional_usd) / (ratio * a.notional_usd)
    if error > limits.hedge_error_max:
        return Refused(refusal=Refusal.HEDGE_ERROR, detail=f"{error:.3f} of the hedge is missing, at most {limits.hedge_error_max}")
    return None


def _refusal(plan: Plan, added_usd: Mapping[Symbol, Decimal], limits: Limits, exposure: Exposure) -> Refused | None:
    for leg in (plan.a, plan.b):
        if leg.side.opposite in exposure.sides.get(leg.symbol, frozenset()):
            return Refused(refusal=Refusal.OPPOSES_OTHER_PAIR, detail=f"{leg.side} {leg.symbol}, another pair is on the other side")
    if exposure.pairs_open >= limits.pairs_open_max:
        return Refused(refusal=Refusal.PAIRS_OPEN_MAX, detail=f"{exposure.pairs_open} pairs are open, at most {limits.pairs_open_max}")
    if exposure.equity_usd < limits.short_equity_usd_min:
        return Refused(
            refusal=Refusal.SHORT_EQUITY_MIN, detail=f"equity {exposure.equity_usd:.2f}, shorts need {limits.short_equity_usd_min}"
        )
    gross_usd = exposure.gross_usd + sum(map(abs, added_usd.values()))
    if gross_usd > limits.gross_exposure_max * exposure.equity_usd:
        return Refused(
            refusal=Refusal.GROSS_EXPOSURE,
            detail=f"{gross_usd:.0f} USD with this pair, at most {limits.gross_exposure_max * exposure.equity_usd:.0f}",
        )
    for symbol, usd in added_usd.items():
        symbol_usd = abs(exposure.symbol_usd.get(symbol, _ZERO) + usd)
        if symbol_usd > limits.symbol_exposure_max * exposure.equity_usd:
            return Refused(
                refusal=Refusal.SYMBOL_EXPOSURE,
                detail=f"{symbol_usd:.0f} USD of {symbol}, at most {limits.symbol_exposure_max * exposure.equity_usd:.0f}",
            )
    return None


def _crowded(added_usd: Mapping[Symbol, Decimal], sector: SectorId, limits: Limits, exposure: Exposure) -> Refused | None:
    """The caps on one side of the market, on the market's moves and on a sector."""
    symbol_usd = dict(exposure.symbol_usd)
    for symbol, usd in added_usd.items():
        symbol_usd[symbol] = symbol_usd.get(symbol, _ZERO) + usd
    net_usd = abs(sum(symbol_usd.values(), _ZERO))
    beta_usd = abs(sum((usd * Decimal(str(exposure.betas.get(name, 1.0))) for name, usd in symbol_usd.items()), _ZERO))
    sector_usd = exposure.sector_usd.get(sector, _ZERO) + sum(map(abs, added_usd.values()))
    for refusal, usd, most in (
        (Refusal.NET_EXPOSURE, net_usd, limits.net_exposure_max),
        (Refusal.BETA_EXPOSURE, beta_usd, limits.beta_exposure_max),
        (Refusal.SECTOR_EXPOSURE, sector_usd, limits.sector_exposure_max),
    ):
        if usd > most * exposure.equity_usd:
            return Refused(refusal=refusal, detail=f"{usd:.0f} USD with this pair, at most {most * exposure.equity_usd:.0f}")
    return None
