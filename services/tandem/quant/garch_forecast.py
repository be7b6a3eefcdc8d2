"""Forecasts of a fitted variance model: the O(1) step and the variances of the next bars. Nothing here is fitted, all at unit scale."""

import math

import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch_likelihood import LOG_VARIANCE_MAX, MEAN_ABS_NORMAL
from tandem.quant.garch_quantiles import draws, square_below_zero
from tandem.quant.volatility import Kind, Volatility

Vector = NDArray[np.float64]

SIMULATED_PATHS = 10_000  # standard error of a mean variance below 1 % of it on daily stock returns


def next_variance(volatility: Volatility, x: float, variance: float) -> float:
    """Variance of the next value when `x` came under `variance`: one step of garch.filter_from."""
    v = volatility
    if v.kind is not Kind.EGARCH:
        return v.omega + (v.alpha + v.gamma * (x < 0)) * x * x + v.beta * variance
    shock = x / math.sqrt(variance)
    level = v.omega + v.alpha * (abs(shock) - MEAN_ABS_NORMAL) + v.gamma * shock + v.beta * math.log(variance)
    return math.exp(min(max(level, -LOG_VARIANCE_MAX), LOG_VARIANCE_MAX))


def horizon_variance(
    volatility: Volatility, variance: float, horizon: int, *, seed: int | None = None, paths: int = SIMULATED_PATHS
) -> Vector:
    """Expected variances (horizon,) of the next values, `variance` being the known one of the first. Their sum is that of a sum of values.

    garch and gjr: exact. egarch has no closed form beyond the first: the mean over `paths` simulated ones, which needs `seed`.
    Raises ValueError for a horizon below 1 or an egarch without seed.
    """
    if horizon < 1:
        raise ValueError(f"horizon {horizon} values, must be at least 1")
    if volatility.kind is Kind.EGARCH:
        return _simulated(volatility, variance, horizon, seed=seed, paths=paths)
    kept = volatility.alpha + volatility.gamma * square_below_zero(volatility) + volatility.beta
    result = np.empty(horizon)
    for step in range(horizon):
        result[step] = variance
        variance = volatility.omega + kept * variance
    return result


def _simulated(volatility: Volatility, variance: float, horizon: int, *, seed: int | None, paths: int) -> Vector:
    if seed is None and horizon > 1:
        raise ValueError("egarch over a horizon is simulated: a seed must be given")
    v, rng = volatility, np.random.default_rng(seed)
    levels, result = np.full(paths, math.log(variance)), np.empty(horizon)
    for step in range(horizon):
        result[step] = np.exp(levels).mean() if step else variance
        shocks = draws(v, (paths,), rng)
        levels = v.omega + v.alpha * (np.abs(shocks) - MEAN_ABS_NORMAL) + v.gamma * shocks + v.beta * levels
        levels = np.clip(levels, -LOG_VARIANCE_MAX, LOG_VARIANCE_MAX)
    return result
