"""Pairs from prices: hedge ratio, Engle-Granger in both directions, AR(1) and half-life, and screening under false-discovery control.

All on the span that the caller hands in; nothing here knows of a test part. Called by the trainer only.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId, Symbol, pair_id, pair_legs
from tandem.quant.bundle import PairTest
from tandem.quant.correlation import return_correlations
from tandem.quant.engle_granger import CONSTANT_POWER, PairTests, engle_granger_many
from tandem.quant.garch import ConstantSeries, NotStationary, TooFewBars
from tandem.quant.hurst import hurst_of_spreads
from tandem.quant.johansen import CRITICAL_NONE, johansen_many

Vector = NDArray[np.float64]

_EDGE_SHARE = 0.05
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
    return float(engle_granger_many(np.column_stack([log_a, log_b]), np.array([[0, 1]]), lags_max=lags_max).p_value[0, 0])


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

    To pass, a pair needs a small q-value on the whole span and on its inner part (inner_q_values), a half-life within bounds, and a hedge
    ratio above 0: below it both legs would be bought at once, which is no pair but a bet on the market.

    log_close: (T,) each, NaN where a symbol did not trade. Declared pairs keep the order of their legs; the others take the better
    direction. A pair with fewer than rule.bars_min common bars, a constant leg, or legs that are all but the same series is not tested and
    not returned.
    """
    declared = tuple(declared)
    legs = [pair_legs(pair) for pair in declared if set(pair_legs(pair)) <= set(log_close)]
    named = {frozenset(pair) for pair in legs}
    legs += [pair for pair in combinations(sorted(log_close), 2) if frozenset(pair) not in named]
    if not legs:
        return ()
    place = {name: number for number, name in enumerate(log_close)}
    pairs = np.array([[place[a], place[b]] for a, b in legs], np.int64)
    found = _statistics(np.column_stack(list(log_close.values())), pairs, rule)
    kept = found.tested.tolist()
    q_values = benjamini_hochberg(found.tests.p_value[kept].ravel()).reshape(-1, 2)
    inner = inner_q_values(np.column_stack(list(log_close.values())), pairs[kept], lags_max=rule.lags_max).min(axis=1)
    return tuple(
        _record(
            legs[row], row, found, q=q, lasts=bool(inside <= rule.false_discovery_rate), rule=rule, declared=frozenset(legs[row]) in named
        )
        for row, q, inside in zip(kept, q_values, inner, strict=True)
    )


def chosen(tests: Iterable[PairTest], declared: Iterable[PairId], rule: ScreeningRule) -> tuple[PairId, ...]:
    """The pairs to fit: all declared, then those that passed, the smallest q first, at most rule.screened_max."""
    declared = tuple(declared)
    passed = sorted((test for test in tests if test.passed and not test.declared), key=lambda test: (test.q_value, test.pair))
    return declared + tuple(test.pair for test in passed[: rule.screened_max])


def inner_q_values(log_close: Vector, pairs: NDArray[np.int64], *, lags_max: int | None) -> Vector:
    """q-values (P, 2) of the same tests without the first and the last twentieth of the bars; 1 where nothing can be tested.

    One jump of a leg in the first days looks like a spread that comes back and stays: it makes p-values of 1e-9 for that leg with half of
    the market, and no control of the number of tests helps against it. A relation that is there is there without the edges, too.
    """
    edge = int(len(log_close) * _EDGE_SHARE)
    p_value = engle_granger_many(log_close[edge : len(log_close) - edge], pairs, lags_max=lags_max).p_value
    return benjamini_hochberg(np.nan_to_num(p_value, nan=1.0).ravel()).reshape(-1, 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Statistics:
    """Of P pairs, and which of them were tested."""

    tests: PairTests
    tested: NDArray[np.int64]
    correlation: Vector
    trace: Vector
    hurst: Vector  # (P, 2), of the spread in either direction


def _statistics(log_close: Vector, pairs: NDArray[np.int64], rule: ScreeningRule) -> _Statistics:
    tests = engle_granger_many(log_close, pairs, lags_max=rule.lags_max)
    # Legs as close as two classes of one share have a statistic of minus infinity, which is no evidence of anything.
    sound = np.isfinite(tests.p_value).all(axis=1) & np.isfinite(tests.statistic).all(axis=1)
    return _Statistics(
        tests=tests,
        tested=np.flatnonzero(sound & (tests.bars >= rule.bars_min)),
        correlation=return_correlations(log_close, pairs),
        trace=johansen_many(log_close, pairs).trace_none,
        hurst=np.column_stack(
            [hurst_of_spreads(log_close, pairs, tests.beta[:, 0]), hurst_of_spreads(log_close, pairs[:, ::-1], tests.beta[:, 1])]
        ),
    )


def _record(
    legs: tuple[Symbol, Symbol], row: int, found: _Statistics, *, q: Vector, lasts: bool, rule: ScreeningRule, declared: bool
) -> PairTest:
    tests = found.tests
    way = int(tests.p_value[row, 1] < tests.p_value[row, 0] and not declared)
    phi = float(tests.phi[row, way])
    half_life = half_life_bars(phi) if -1 < phi < 1 else None
    opposed = bool(tests.beta[row, way] > 0)
    in_bounds = half_life is not None and rule.half_life_min_bars <= half_life <= rule.half_life_max_bars
    q_value = float(q.min())
    return PairTest(
        pair=pair_id(*legs[:: -1 if way else 1]),
        p_value=float(tests.p_value[row, way]),
        p_value_reverse=float(tests.p_value[row, 1 - way]),
        q_value=q_value,
        half_life_bars=half_life,
        declared=declared,
        passed=opposed and in_bounds and lasts and q_value <= rule.false_discovery_rate,
        correlation=_known(found.correlation[row]),
        johansen_trace=_known(found.trace[row]),
        johansen_critical=float(CRITICAL_NONE[1]),
        hurst=_known(found.hurst[row, way]),
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _line(x: Vector, y: Vector) -> tuple[float, float]:
    """Slope and constant of y on x. Raises ConstantSeries when x does not move."""
    centred = x - x.mean()
    power = float(centred @ centred)
    if not power > len(x) * CONSTANT_POWER:
        raise ConstantSeries("the explaining series does not move")
    slope = float(centred @ (y - y.mean())) / power
    return slope, float(y.mean()) - slope * float(x.mean())
