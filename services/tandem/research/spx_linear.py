"""Protocol B's forecasts without a network or GARCH: random walk, EWMA, HAR and log-HAR, each from the window before its day.

The definitions are those that reproduce the reference table (docs/volatility-spx.md). Each gives the forecasts of the window's last days by
its own numbers too, for the tails. Called by research/spx.py.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import signal

from tandem.quant import realised_path, realised_terms
from tandem.quant.realised_terms import LOST, Vector
from tandem.research.spx_data import RealisedDays
from tandem.research.spx_tails import ModelForecasts, gathered, of_window

_DECAY = 0.94  # RiskMetrics (1996) for daily data


def random_walk(realised: Vector, returns: Vector) -> Vector:  # noqa: ARG001  (one form for all)
    """The last day's variance."""
    return realised[LOST:]


def ewma(realised: Vector, returns: Vector) -> Vector:  # noqa: ARG001  (one form for all)
    """Exponential mean of squared returns, decay 0.94. Knows no realised variance."""
    sums = signal.lfilter([1.0], [1.0, -_DECAY], np.column_stack((returns**2, np.ones_like(returns))), axis=0)
    levels: Vector = sums[LOST:, 0] / sums[LOST:, 1]
    return levels


def har(realised: Vector, returns: Vector) -> Vector:  # noqa: ARG001  (one form for all)
    """Least squares on means of the variance over day, week and month, not below the window's least variance."""
    rows = realised_path.design(realised_terms.har_levels(realised))
    return np.maximum(rows @ realised_path.least_squares(rows[:-1], realised[LOST + 1 :]), realised.min())


def log_har(realised: Vector, returns: Vector) -> Vector:  # noqa: ARG001  (one form for all)
    """Least squares of the logarithm on mean logarithms over day, week and month, with half the residual variance added."""
    rows = realised_path.design(realised_terms.har_logs(realised))
    return np.exp(rows @ realised_path.har_fit(rows[:-1], realised[LOST + 1 :]))


# Window (T,) of realised variances and of returns -> variances (T - LOST,): of the days after day LOST + 1, last that after the window.
LINEAR: Mapping[str, Callable[[Vector, Vector], Vector]] = {"random_walk": random_walk, "ewma": ewma, "har": har, "log_har": log_har}


def forecasts(data: RealisedDays, model: str) -> ModelForecasts:
    """Of the test days by a model of LINEAR, fitted anew for each."""
    return gathered([of_window(data.window(day)[1], LINEAR[model](*data.window(day))) for day in data.test_days])
