"""The pair gates of the system that Tandem grew from, with their definitions put right: correlation, cointegration, composite score.

    correlation of returns > 0.8, Engle-Granger p < 0.05, composite > 0.7 of
    40 % information criteria, 30 % one-step variance forecast, 20 % backtest, 10 % residual diagnostics

Each part lies in [0, 1], and apart from the diagnostics 0.5 means "no better than doing nothing", so that 0.55 is the score of a pair about
which nothing is known. The old parts, and why they could not tell a good pair from a bad one:

  correlation   was of log price levels: two random walks often pass .8. It is of returns now; levels are recorded beside it.
  criteria      was logistic(-AIC / 1000): depends on the number of bars and on the unit of the spread, .99 for any of them; BIC was unused.
  forecast      compared the forecast with the standard deviation of the spread's level: about .95 for every pair.
  backtest      was written down and did not exist.
  diagnostics   were turned round: a model without faults has large p-values and earned nothing for them.

A policy for comparison, not a recommendation: nothing here controls for the number of pairs that were looked at.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tandem.domain.ids import PairId, Symbol, pair_id
from tandem.quant import garch
from tandem.quant.cointegration import SpreadFit, fit_spread
from tandem.quant.correlation import return_correlations
from tandem.quant.engle_granger import engle_granger_many
from tandem.quant.rejections import FitRejected, TooFewBars
from tandem.quant.scores import qlike
from tandem.quant.stability import ljung_box
from tandem.quant.volatility import Volatility

Vector = NDArray[np.float64]

_WEIGHTS = (0.4, 0.3, 0.2, 0.1)  # the old documents' weights
# What turns a gain per bar into .73: .01 nats a bar are 12 in 1,258 days, clear evidence but no more; a QLIKE lower by .05 is what a pair
# gains whose variance moves a little.
_CRITERIA_SCALE, _QLIKE_SCALE = 0.01, 0.05
_LJUNG_BOX_LAGS = 10
_DIAGNOSTICS_LEVEL = 0.05
_NU_MIN, _NU_MAX = 2.05, 500.0
_HELD_BARS_MIN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRule:
    """The gates. held_share: the last part of the span, on which forecast and backtest are scored and nothing is fitted."""

    correlation_min: float = 0.8
    p_value_max: float = 0.05
    composite_min: float = 0.7
    held_share: float = 0.2
    entry_z: float = 2.0
    cost_bps: float = 5.0  # per side and leg
    bars_min: int = 250

    def __post_init__(self) -> None:
        if not 0 < self.held_share < 0.5 or self.entry_z <= 0 or self.cost_bps < 0:
            raise ValueError(f"held_share in (0, 0.5), entry_z above 0, cost_bps from 0; found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """The four parts of a pair's score, each in [0, 1]."""

    criteria: float
    forecast: float
    backtest: float
    diagnostics: float

    @property
    def score(self) -> float:
        """The weighted mean."""
        return float(np.dot(_WEIGHTS, (self.criteria, self.forecast, self.backtest, self.diagnostics)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPick:
    """A pair that the gates let pass, its legs in the direction with the smaller p-value."""

    pair: PairId
    correlation: float
    p_value: float
    composite: Composite


def composite(log_a: Vector, log_b: Vector, rule: SeedRule) -> Composite:
    """Score a pair on its span (T,). Raises FitRejected when its spread or its variance cannot be fitted.

    Spread, AR(1) and GARCH(1,1) with Student-t shocks are fitted on the first part; the last `held_share` is for forecast and backtest.
    """
    fitted_bars = len(log_a) - int(len(log_a) * rule.held_share)
    if len(log_a) - fitted_bars < _HELD_BARS_MIN:
        raise TooFewBars(f"{len(log_a) - fitted_bars} bars held back, at least {_HELD_BARS_MIN} are needed")
    spread = fit_spread(log_a[:fitted_bars], log_b[:fitted_bars], bars_min=_HELD_BARS_MIN)
    path = log_a - spread.beta * log_b - spread.mu
    innovations = path[1:] - spread.intercept - spread.phi * path[:-1]
    seen = innovations[: fitted_bars - 1]
    volatility = garch.fit(seen)
    unit = innovations / volatility.scale
    variance = garch.variance_path(unit, volatility)
    return Composite(
        criteria=_criteria(unit[: len(seen)], volatility),
        forecast=_forecast(unit, variance, fitted=len(seen)),
        backtest=_backtest(path[fitted_bars:], spread, rule),
        diagnostics=_diagnostics((unit / np.sqrt(variance))[: len(seen)]),
    )


def seed_picks(log_close: Mapping[Symbol, Vector], rule: SeedRule) -> tuple[tuple[SeedPick, ...], int]:
    """The pairs that pass all gates, best first, and how many were tested. log_close: (T,) each, NaN where a symbol did not trade."""
    names = sorted(log_close)
    pairs = np.array(list(combinations(range(len(names)), 2)), np.int64).reshape(-1, 2)
    if not len(pairs):
        return (), 0
    table = np.column_stack([log_close[name] for name in names])
    tests = engle_granger_many(table, pairs)
    correlation = return_correlations(table, pairs)
    tested = np.isfinite(tests.statistic).all(axis=1) & (tests.bars >= rule.bars_min)
    picks: list[SeedPick] = []
    for row in np.flatnonzero(tested & gates(correlation, tests.p_value.min(axis=1), rule)).tolist():
        a, b = pairs[row, :: -1 if tests.p_value[row, 1] < tests.p_value[row, 0] else 1].tolist()
        both = np.isfinite(table[:, (a, b)]).all(axis=1)
        try:
            found = composite(table[both, a], table[both, b], rule)
        except FitRejected:
            continue
        if found.score > rule.composite_min:
            p_value = float(tests.p_value[row].min())
            pick = SeedPick(pair=pair_id(names[a], names[b]), correlation=float(correlation[row]), p_value=p_value, composite=found)
            picks.append(pick)
    return tuple(sorted(picks, key=lambda pick: (-pick.composite.score, pick.pair))), int(tested.sum())


def gates(correlation: Vector, p_value: Vector, rule: SeedRule) -> NDArray[np.bool_]:
    """Which pairs (P,) pass the first two gates. NaN never does."""
    return (correlation > rule.correlation_min) & (p_value < rule.p_value_max)


def _logistic(value: float) -> float:
    return float(special.expit(value))


def _criteria(unit: Vector, volatility: Volatility) -> float:
    """Gain in AIC and BIC of GARCH over a constant variance, both with Student-t shocks, per bar in nats, through a logistic.

    Same data and same density: the unit cancels in the difference, the number of bars in the mean.
    """
    count = len(unit)
    gain = (garch.log_likelihood(unit, volatility) - _constant_log_likelihood(unit)) / count
    extra = 2  # alpha and beta, beside a level and the degrees of freedom that both have
    penalty = 0.5 * (extra / count + 0.5 * extra * math.log(count) / count)  # the mean of AIC's and BIC's, halved as likelihoods are
    return _logistic((gain - penalty) / _CRITERIA_SCALE)


def _constant_log_likelihood(unit: Vector) -> float:
    """The largest log likelihood of Student-t shocks at one variance."""
    squares = unit**2

    def negative(vector: Vector) -> float:
        variance, nu = math.exp(vector[0]), float(np.clip(math.exp(vector[1]), _NU_MIN, _NU_MAX))
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * math.log(math.pi * (nu - 2) * variance)
        return -float(constant * len(squares) - 0.5 * (nu + 1) * np.log1p(squares / (variance * (nu - 2))).sum())

    start = np.array([math.log(squares.mean()), math.log(6.0)])
    return -float(optimize.minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).fun)


def _forecast(unit: Vector, variance: Vector, *, fitted: int) -> float:
    """QLIKE of the one-step variance against that of a constant, both from the fitted part, on the rest; the gain through a logistic."""
    realised = unit[fitted:] ** 2
    constant = np.full(len(realised), float((unit[:fitted] ** 2).mean()))
    # A square near 0 has an unbounded QLIKE which is the same in both terms and cancels.
    gain = qlike(realised, constant) - qlike(realised, variance[fitted:])
    return _logistic(float(gain.mean()) / _QLIKE_SCALE)


def _backtest(path: Vector, spread: SpreadFit, rule: SeedRule) -> float:
    """Probability that the rule's mean net return is above 0, from its t-statistic; 0.5 when it never trades.

    Enter beyond entry_z, leave at the other sign; an order is filled one bar after the bar that made it, each side and leg pays cost_bps.
    """
    z = path / spread.spread_sd
    wanted = np.zeros(len(z))
    for t in range(1, len(z)):
        held = wanted[t - 1]
        if abs(z[t]) > rule.entry_z:
            wanted[t] = -np.sign(z[t])
        elif held * z[t] < 0:
            wanted[t] = held
    position = np.concatenate(([0.0], wanted[:-1]))  # after the close of bar t, made by the bar before
    gross = 1 + abs(spread.beta)
    earned = position[:-1] * np.diff(path) / gross
    paid = np.abs(np.diff(position, prepend=0.0))[:-1] * rule.cost_bps / 1e4
    net = earned - paid
    sd = float(net.std())
    if not sd > 0:
        return 0.5
    return float(special.ndtr(net.mean() / sd * math.sqrt(len(net))))


def _diagnostics(standardised: Vector) -> float:
    """1 while neither the standardised shocks nor their squares show autocorrelation (Ljung-Box, 10 lags), falling to 0 below 5 %.

    The smaller of both p-values, doubled because two were looked at, in units of the level.
    """
    p_value = min(1.0, 2 * min(ljung_box(series, _LJUNG_BOX_LAGS)[-1] for series in (standardised, standardised**2)))
    return min(1.0, p_value / _DIAGNOSTICS_LEVEL)
