"""Pairs from prices: hedge ratio, Engle-Granger in both directions, AR(1) and half-life, and screening under false-discovery control.

All on the span that the caller hands in; nothing here knows of a test part. Called by the trainer only.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.stattools import coint

from tandem.domain.ids import PairId, Symbol, pair_id, pair_legs
from tandem.quant.bundle import PairTest
from tandem.quant.garch import ConstantSeries, NotStationary, TooFewBars

Vector = NDArray[np.float64]

_HALF_LIFE_MIN_BARS = 0.25  # for phi at or below 1/16: reverts within the bar, the exact number says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningRule:
    """What a pair must show on the training span to be traded without being declared."""

    false_discovery_rate: float
    half_life_min_bars: float
    half_life_max_bars: float
    lags_max: int
    bars_min: int
    screened_max: int  # at most this many are added, the smallest q first


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadFit:
    """log a - beta log b - mu, its standard deviation, and its AR(1)."""

    beta: float
    mu: float
    spread: Vector  # (T,)
    spread_sd: float
    intercept: float
    phi: float
    half_life_bars: float

    @property
    def innovations(self) -> Vector:
        """spread[t] - intercept - phi spread[t-1], (T - 1,)."""
        return self.spread[1:] - self.intercept - self.phi * self.spread[:-1]


def fit_spread(log_a: Vector, log_b: Vector, *, bars_min: int) -> SpreadFit:
    """Ordinary least squares of log_a on log_b (T,) with a constant, then AR(1) of the residual.

    Raises TooFewBars, ConstantSeries, or NotStationary when the residual's phi is not in (-1, 1).
    """
    if len(log_a) < bars_min:
        raise TooFewBars(f"{len(log_a)} bars in which both legs traded, at least {bars_min} are needed")
    beta, mu = _line(log_b, log_a)
    spread = log_a - beta * log_b - mu
    spread_sd = float(spread.std())
    if not spread_sd > 1e-9:  # log price: below the tick of any listed share
        raise ConstantSeries(f"spread has standard deviation {spread_sd}")
    phi, intercept = _line(spread[:-1], spread[1:])
    if not -1 < phi < 1:
        raise NotStationary(f"AR(1) coefficient of the spread is {phi:.4f}, must lie between -1 and 1")
    return SpreadFit(beta=beta, mu=mu, spread=spread, spread_sd=spread_sd, intercept=intercept, phi=phi, half_life_bars=half_life_bars(phi))


def half_life_bars(phi: float) -> float:
    """Bars until half of a deviation is expected to be gone: log(1/2) / log(phi). Raises NotStationary for phi from 1."""
    if phi >= 1:
        raise NotStationary(f"phi {phi}, must be below 1")
    if phi <= 0:
        return _HALF_LIFE_MIN_BARS
    return max(_HALF_LIFE_MIN_BARS, math.log(0.5) / math.log(phi))


def engle_granger(log_a: Vector, log_b: Vector, *, lags_max: int) -> float:
    """p-value of no cointegration with log_a (T,) as the dependent variable: constant, lags by AIC, MacKinnon's surface. Not symmetric."""
    lags = min(lags_max, int(12 * (len(log_a) / 100) ** 0.25))  # Schwert's rule, bounded: its cost grows with the square
    return float(coint(log_a, log_b, trend="c", maxlag=lags, autolag="aic")[1])


def benjamini_hochberg(p_values: Vector) -> Vector:
    """q-value of each test (n,): the smallest false-discovery rate at which it passes. Benjamini and Hochberg (1995)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * count / np.arange(1, count + 1)
    q_values = np.empty(count)
    q_values[order] = np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1])
    return q_values


def screen(log_close: Mapping[Symbol, Vector], declared: Iterable[PairId], rule: ScreeningRule) -> tuple[PairTest, ...]:
    """Test every pair of the symbols, and the declared ones, in both directions; q-values over all tests made.

    log_close: (T,) each, NaN where a symbol did not trade. Declared pairs keep the order of their legs; the others take the better
    direction. A pair with fewer than rule.bars_min common bars, or a constant leg, is not tested and not returned.
    """
    declared = tuple(declared)
    legs = [pair_legs(pair) for pair in declared if set(pair_legs(pair)) <= set(log_close)]
    named = {frozenset(pair) for pair in legs}
    legs += [pair for pair in combinations(sorted(log_close), 2) if frozenset(pair) not in named]
    tested: list[tuple[Symbol, Symbol, float, float]] = []
    for a, b in legs:
        log_a, log_b = _common(log_close[a], log_close[b])
        try:
            fit_spread(log_a, log_b, bars_min=rule.bars_min)
        except (TooFewBars, ConstantSeries):
            continue
        except NotStationary:
            pass  # the test says so, too, and is one of those that are counted
        tested.append((a, b, engle_granger(log_a, log_b, lags_max=rule.lags_max), engle_granger(log_b, log_a, lags_max=rule.lags_max)))
    q_values = benjamini_hochberg(np.array([p for *_, forth, back in tested for p in (forth, back)]))
    tests: list[PairTest] = []
    for (a, b, forth, back), q_forth, q_back in zip(tested, q_values[::2].tolist(), q_values[1::2].tolist(), strict=True):
        is_declared = frozenset((a, b)) in named
        turned = back < forth and not is_declared
        if turned:
            a, b, forth, back = b, a, back, forth  # noqa: PLW2901  (the better direction from here on)
        half_life = _half_life(log_close[a], log_close[b], rule)
        in_bounds = half_life is not None and rule.half_life_min_bars <= half_life <= rule.half_life_max_bars
        q_value = min(q_forth, q_back)
        tests.append(
            PairTest(
                pair=pair_id(a, b),
                p_value=forth,
                p_value_reverse=back,
                q_value=q_value,
                half_life_bars=half_life,
                declared=is_declared,
                passed=in_bounds and q_value <= rule.false_discovery_rate,
            )
        )
    return tuple(tests)


def chosen(tests: Iterable[PairTest], declared: Iterable[PairId], rule: ScreeningRule) -> tuple[PairId, ...]:
    """The pairs to fit: all declared, then those that passed, the smallest q first, at most rule.screened_max."""
    declared = tuple(declared)
    passed = sorted((test for test in tests if test.passed and not test.declared), key=lambda test: (test.q_value, test.pair))
    return declared + tuple(test.pair for test in passed[: rule.screened_max])


def _common(log_a: Vector, log_b: Vector) -> tuple[Vector, Vector]:
    """Both series where both symbols traded."""
    both = np.isfinite(log_a) & np.isfinite(log_b)
    return log_a[both], log_b[both]


def _half_life(log_a: Vector, log_b: Vector, rule: ScreeningRule) -> float | None:
    """Of a on b; None when the spread shows no reversion, so that the pair cannot pass."""
    try:
        return fit_spread(*_common(log_a, log_b), bars_min=rule.bars_min).half_life_bars
    except NotStationary:
        return None


def _line(x: Vector, y: Vector) -> tuple[float, float]:
    """Slope and constant of y on x. Raises ConstantSeries when x does not move."""
    centred = x - x.mean()
    power = float(centred @ centred)
    if not power > 0:
        raise ConstantSeries("the explaining series does not move")
    slope = float(centred @ (y - y.mean())) / power
    return slope, float(y.mean()) - slope * float(x.mean())
