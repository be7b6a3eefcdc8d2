"""Engle-Granger tests of many pairs at once, both ways, compiled; equal to statsmodels' `coint`. See dickey_fuller.py for how.

Called by cointegration.py and by screening; knows nothing of symbols or policies.
"""

import math
import warnings
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.stattools import adfuller, coint

from tandem.quant.correlation import common_bars
from tandem.quant.dickey_fuller import UNSTABLE, dickey_fuller, dot, empty_gram, lags_of, mackinnon_p, schwert_lags

Vector = NDArray[np.float64]

CONSTANT_POWER = 1e-24  # variance of a log price below which it is rounding: the mean of equal numbers need not equal them
COLLINEAR_SHARE = 100 * math.sqrt(np.finfo(np.float64).eps)  # 1 - R^2 below which statsmodels calls two legs collinear


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTests:
    """What the P pairs show, each (P, 2): column 0 regresses the first leg on the second, column 1 the second on the first.

    statistic, p_value and lag are of Engle-Granger, adf_* of an augmented Dickey-Fuller test with a constant on the same residual. The
    latter's p-value does not know that the hedge ratio was fitted: it is too small, and no test to choose by. NaN where nothing can be
    estimated.
    """

    bars: NDArray[np.int64]  # (P,) in which both legs have a price
    beta: Vector
    mu: Vector
    spread_sd: Vector
    phi: Vector  # AR(1) of the residual, with a constant
    statistic: Vector
    p_value: Vector
    lag: NDArray[np.int64]
    adf_statistic: Vector
    adf_p_value: Vector
    adf_lag: NDArray[np.int64]


def engle_granger_many(log_close: Vector, pairs: NDArray[np.int64], *, lags_max: int | None = None, fixed: bool = False) -> PairTests:
    """Test the pairs (P, 2), column numbers of log_close (T, S), in both directions; on the bars in which both legs have a price (no NaN).

    Lags by AIC up to schwert_lags of the pair's bars and lags_max; fixed: exactly lags_max, which then must be given. Equal to
    coint(a, b, trend="c", autolag="aic", or None when fixed) to 1e-6 in the p-value. Collinear legs (1 - R^2 below COLLINEAR_SHARE) have
    statistic -inf and p-value 0, as there; a constant leg or fewer than 40 bars give NaN.
    """
    columns = np.ascontiguousarray(np.asarray(log_close, np.float64).T)
    pairs = np.ascontiguousarray(pairs, np.int64)
    bars, numbers, lags = _test_pairs(columns, pairs, -1 if lags_max is None else lags_max, fixed)
    for pair, way in np.argwhere(lags == UNSTABLE)[:, :2].tolist():
        legs = columns[pairs[pair]]
        a, b = legs[:, np.isfinite(legs).all(axis=0)][:: 1 if way == 0 else -1]
        numbers[pair, way, 4:6], lags[pair, way] = _slowly(a, b, schwert_lags(len(a), lags_max), autolag=None if fixed else "AIC")
    statistic, adf_statistic = numbers[:, :, 4], numbers[:, :, 5]
    return PairTests(
        bars=bars,
        beta=numbers[:, :, 0],
        mu=numbers[:, :, 1],
        spread_sd=numbers[:, :, 2],
        phi=numbers[:, :, 3],
        statistic=statistic,
        p_value=mackinnon_p(statistic, series=2),
        lag=lags[:, :, 0],
        adf_statistic=adf_statistic,
        adf_p_value=mackinnon_p(adf_statistic, series=1),
        adf_lag=lags[:, :, 1],
    )


def adf_of_spreads(log_close: Vector, pairs: NDArray[np.int64], beta: Vector, *, lags_max: int | None = None) -> Vector:
    """p-value (P,) of a Dickey-Fuller test with a constant on log a - beta log b, with hedge ratios that were fitted on other bars.

    That is the test of a spread as it is traded; the p-value is right because nothing of the spread is fitted here. NaN as above, and where
    the legs' differences are too collinear to tell.
    """
    columns = np.ascontiguousarray(np.asarray(log_close, np.float64).T)
    statistic = _test_spreads(
        columns, np.ascontiguousarray(pairs, np.int64), np.ascontiguousarray(beta, np.float64), -1 if lags_max is None else lags_max
    )
    return mackinnon_p(statistic, series=1)


_BARS_MIN = 40  # with fewer, the lags that Schwert allows leave too few rows to fit them on


def _slowly(a: Vector, b: Vector, lags_max: int, *, autolag: str | None) -> tuple[tuple[float, float], tuple[int, int]]:
    """The statistics by statsmodels, for legs whose lagged differences are nearly collinear."""
    design = np.column_stack([b, np.ones(len(b))])
    residual = a - design @ np.linalg.lstsq(design, a, rcond=None)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = adfuller(residual, maxlag=lags_max, regression="n", autolag=autolag, result_object=False)
        constant = adfuller(residual, maxlag=lags_max, regression="c", autolag=autolag, result_object=False)
        statistic = coint(a, b, trend="c", maxlag=lags_max, autolag=autolag)[0]
    return (float(statistic), float(constant[0])), (int(plain[2]), int(constant[2]))


@numba.njit(cache=True)
def _ar1(e: Vector) -> float:
    """Slope of e[t] on e[t-1] with a constant."""
    before, after = e[:-1], e[1:]
    mean_before, mean_after = before.mean(), after.mean()
    covariance, power = 0.0, 0.0
    for t in range(len(before)):
        covariance += (before[t] - mean_before) * (after[t] - mean_after)
        power += (before[t] - mean_before) ** 2
    return covariance / power if power > 0 else math.nan


@numba.njit(cache=True, nogil=True)
def _test_pairs(
    columns: Vector, pairs: NDArray[np.int64], lags_max: int, fixed: bool
) -> tuple[NDArray[np.int64], Vector, NDArray[np.int64]]:
    """columns (S, T), pairs (P, 2): bars (P,); beta, mu, sd, phi and both statistics (P, 2, 6); both lags (P, 2, 2)."""
    T, most = columns.shape[1], max(1, lags_of(columns.shape[1], lags_max))
    bars = np.zeros(len(pairs), np.int64)
    numbers = np.full((len(pairs), 2, 6), np.nan)
    chosen = np.zeros((len(pairs), 2, 2), np.int64)
    legs = np.empty((2, T))
    e, room = np.empty(T), np.empty(T)
    gram = empty_gram(most)
    for p in range(len(pairs)):
        n = bars[p] = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        if n < _BARS_MIN:
            continue
        lags = lags_of(n, lags_max)
        mean = (legs[0, :n].mean(), legs[1, :n].mean())
        for side in range(2):
            legs[side, :n] -= mean[side]
        power = (dot(legs[0, :n], legs[0, :n]), dot(legs[1, :n], legs[1, :n]))
        shared = dot(legs[0, :n], legs[1, :n])
        for way in range(2):
            if not min(power) > n * CONSTANT_POWER:
                continue
            y, x = legs[way, :n], legs[1 - way, :n]
            beta = shared / power[1 - way]
            for t in range(n):
                e[t] = y[t] - beta * x[t]
            left = dot(e[:n], e[:n])
            numbers[p, way, 0], numbers[p, way, 1] = beta, mean[way] - beta * mean[1 - way]
            numbers[p, way, 2] = math.sqrt(left / n)
            if left <= COLLINEAR_SHARE * power[way]:
                numbers[p, way, 4] = numbers[p, way, 5] = -math.inf
                continue
            numbers[p, way, 3] = _ar1(e[:n])
            plain, constant, lag, lag_constant = dickey_fuller(e[:n], lags, fixed, gram, room)
            numbers[p, way, 4], numbers[p, way, 5] = plain, constant
            chosen[p, way, 0], chosen[p, way, 1] = lag, lag_constant
    return bars, numbers, chosen


@numba.njit(cache=True, nogil=True)
def _test_spreads(columns: Vector, pairs: NDArray[np.int64], beta: Vector, lags_max: int) -> Vector:
    """columns (S, T), pairs (P, 2), beta (P,): Dickey-Fuller statistics with a constant (P,)."""
    T = columns.shape[1]
    found = np.full(len(pairs), np.nan)
    legs, room, gram = np.empty((2, T)), np.empty(T), empty_gram(max(1, lags_of(T, lags_max)))
    for p in range(len(pairs)):
        n = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        if n < _BARS_MIN or not math.isfinite(beta[p]):
            continue
        e = legs[0, :n] - beta[p] * legs[1, :n]
        e -= e.mean()
        if np.abs(e).max() > 0:
            found[p] = dickey_fuller(e, lags_of(n, lags_max), False, gram, room)[1]
    return found
