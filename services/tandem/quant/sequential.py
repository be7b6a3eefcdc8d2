"""An anytime-valid test of a mean: its p-value may be looked at after every value, and acted on at the first that is small enough.

The boundary is Robbins' mixture for a Brownian motion that is watched from `start` values on. Called by rollout/promotion.py.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]

_NEWTON_STEPS = 60  # convex and monotone: far fewer are needed from the right; the bound is for the loop's sake
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def crossing_probability(level: Vector) -> Vector:
    """How likely a Brownian motion without drift ever crosses the boundary that stands `level` standard deviations high at `start`.

    Robbins and Siegmund (1970), theorem 1, for the flat mixture over drifts above 0: 1 - F(a) + f(a) (a + f(a) / F(a)).
    """
    mills = np.exp(-0.5 * level**2 - _LOG_SQRT_2PI - special.log_ndtr(level))
    density = np.exp(-0.5 * level**2 - _LOG_SQRT_2PI)
    return np.clip(special.ndtr(-level) + density * (level + mills), 0.0, 1.0)


def evidence(statistic: Vector) -> Vector:
    """log of the flat mixture of likelihood ratios, but for its constant: x^2 / 2 + log F(x). Rises with x."""
    return 0.5 * statistic**2 + special.log_ndtr(statistic)


def level_of(target: Vector) -> Vector:
    """The inverse of `evidence`."""
    level = (
        np.sqrt(2 * np.maximum(target, 0.0)) + 2.0
    )  # right of the root for targets from about -3 on; Newton from the right never oversteps
    level = np.where(target < -1.0, 2.0, level)
    for _ in range(_NEWTON_STEPS):
        slope = level + np.exp(-0.5 * level**2 - _LOG_SQRT_2PI - special.log_ndtr(level))
        step = (evidence(level) - target) / slope
        level = np.maximum(level - step, -37.0)
        if np.max(np.abs(step), initial=0.0) < 1e-12:
            break
    return level


def anytime_p(values: Vector, null: float, *, start: int) -> Vector:
    """p-value after each of the values that their mean is not below `null`, small when it is below. It never rises.

    values: (T,) in order of time. 1 before `start` values.
    """
    count = np.arange(1, len(values) + 1, dtype=np.float64)
    statistic = prefix_statistic(null - values)
    found = np.where(count >= start, evidence(statistic) - 0.5 * np.log(count / start), -np.inf)
    best = np.maximum.accumulate(found)
    p_values = np.ones(len(values))
    known = np.isfinite(best)
    p_values[known] = crossing_probability(level_of(best[known]))
    return p_values


def prefix_statistic(gains: Vector) -> Vector:
    """Sum of the gains so far over its standard deviation, after each of them; 0 while they have no spread.

    The spread is taken around 0, the mean under the null, times the long-run share of autocorrelation (Newey and West 1987, with their
    bandwidth of 1994 for as many gains as there are by then) where that is above 1.
    """
    size = len(gains)
    count = np.arange(1, size + 1, dtype=np.float64)
    bandwidth = np.floor(4 * (count / 100) ** (2 / 9))
    total, squares = np.cumsum(gains), np.cumsum(gains**2)
    mean = total / count
    centred = squares - count * mean**2
    long_run = centred.copy()
    for lag in range(1, min(int(bandwidth[-1:].sum()), size - 1) + 1):
        weight = np.maximum(0.0, 1 - lag / (bandwidth + 1))
        products = np.concatenate([np.zeros(lag), np.cumsum(gains[lag:] * gains[:-lag])])
        heads = np.concatenate([np.zeros(lag), total[:-lag]])  # sum of all but the newest `lag`
        tails = total - total[lag - 1]  # sum of all but the oldest `lag`
        covariance = products - mean * (heads + tails) + (count - lag) * mean**2
        covariance[:lag] = 0.0
        long_run += 2 * weight * covariance
    share = np.divide(long_run, centred, out=np.ones_like(centred), where=centred > 1e-12 * squares)
    variance = squares * np.maximum(share, 1.0)
    return np.divide(total, np.sqrt(variance), out=np.zeros_like(total), where=variance > 0)
