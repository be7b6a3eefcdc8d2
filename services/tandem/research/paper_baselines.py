"""Protocol A's models without a network: what is easy to beat (one-day sigma) and what is not (the same GARCH given the known returns).

Each takes a series and a target and gives volatilities (labels,) for all labels of the series, of which the training part serves to find
quantiles and only the test part is scored. Everything is fitted on what lies before the first test label.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.quant import garch
from tandem.quant.volatility import Kind, Shocks, Volatility
from tandem.research.paper_data import SPAN, WINDOW, PaperSeries, Target

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilteredVariance:
    """A GARCH or GJR fitted on the returns before the test and filtered forward over all of them without a refit, percent squared."""

    omega: float
    alpha: float
    gamma: float
    beta: float
    variance: Vector  # (n + 1,): variance[i] is the forecast for day i, known before it

    @property
    def persistence(self) -> float:
        """Of the variance, for shocks symmetric about 0."""
        return self.alpha + self.gamma / 2 + self.beta

    def ahead(self, origins: NDArray[np.int64], days: int) -> Matrix:
        """(len(origins), days) variance of each of the next `days` days as known at each origin."""
        result = np.empty((len(origins), days))
        result[:, 0] = self.variance[origins + 1]
        for day in range(1, days):
            result[:, day] = self.omega + self.persistence * result[:, day - 1]
        return result


def filtered_variance(series: PaperSeries, kind: Kind) -> FilteredVariance:
    """Fit GARCH(1,1) or GJR(1,1) with normal shocks (quasi maximum likelihood, as the paper). Raises FitRejected."""
    past = series.returns[: series.split.test]
    fitted: Volatility = garch.fit(past, kind, Shocks.NORMAL)
    start = garch.variance_path(past / fitted.scale, fitted)[0]
    variance = garch.filter_from(fitted, series.returns / fitted.scale, float(start)) * fitted.scale**2
    return FilteredVariance(
        omega=fitted.omega * fitted.scale**2, alpha=fitted.alpha, gamma=fitted.gamma, beta=fitted.beta, variance=variance
    )


def persistence(series: PaperSeries, target: Target) -> Vector:
    """The volatility of the five days up to the origin."""
    return series.volatility[series.labels() - target.last]


def one_day_sigma(series: PaperSeries, target: Target, model: FilteredVariance) -> Vector:
    """The paper's way: the sigma of the label's own day, as forecast at the origin, against the volatility of five days."""
    origins = series.labels() - target.last
    return np.sqrt(model.ahead(origins, target.last)[:, -1])


def with_known(series: PaperSeries, target: Target, model: FilteredVariance) -> Vector:
    """Root of the mean over the label's days of the squared return where it is known and of the variance forecast where it is not."""
    origins = series.labels() - target.last
    ahead = model.ahead(origins, target.last)[:, [day - 1 for day in target.unknown]]
    return np.sqrt((series.known_square_sum(target)[origins] + ahead.sum(axis=1)) / SPAN)


def least_squares(series: PaperSeries, target: Target) -> Vector:
    """Linear regression on the last volatility, the known part of the label and the root mean square of 22 days; floored above 0."""
    labels = series.labels()
    origins = labels - target.last
    squares = np.concatenate(([0.0], np.cumsum(series.returns**2)))
    long = np.sqrt((squares[origins + 1] - squares[origins + 1 - WINDOW]) / WINDOW)
    columns = [np.ones(len(labels)), series.volatility[origins], long]
    if len(target.unknown) < SPAN:  # else the known part is a column of zeros
        columns.append(np.sqrt(series.known_square_sum(target)[origins] / SPAN))
    regressors, training = np.column_stack(columns), labels < series.split.test
    coefficients, *_ = np.linalg.lstsq(regressors[training], series.volatility[labels][training], rcond=None)
    floor = float(series.volatility[labels][training].min())
    return np.maximum(regressors @ coefficients, floor)


Baseline = Callable[[PaperSeries, Target], Vector]


def baselines(garch_model: FilteredVariance, gjr_model: FilteredVariance) -> dict[str, Baseline]:
    """All of them by the name that the report uses."""
    return {
        "persistence": persistence,
        "garch": lambda series, target: one_day_sigma(series, target, garch_model),
        "gjr": lambda series, target: one_day_sigma(series, target, gjr_model),
        "garch_known": lambda series, target: with_known(series, target, garch_model),
        "gjr_known": lambda series, target: with_known(series, target, gjr_model),
        "ols": least_squares,
    }
