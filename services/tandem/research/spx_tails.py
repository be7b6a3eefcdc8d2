"""Lower tails of the daily return from variance forecasts: filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper 1999).

A model's quantile is the root of its variance times the empirical quantile of returns divided by the roots of its own forecasts for the
days of the window: training data only. Called by the forecast modules of protocol B.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tandem.quant.realised_terms import Matrix, Vector
from tandem.research.records import TailForecast

LEVELS = (0.01, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayForecast:
    """One model's forecast of one day."""

    variances: Vector  # (members,) percent squared; one unless the model is an ensemble
    shape: Matrix  # (levels, 2) quantile and expected shortfall of the return in standard deviations


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelForecasts:
    """One model's forecasts of n test days."""

    members: Matrix  # (members, n)
    tails: tuple[TailForecast, ...]  # one per level, of the mean over members

    @property
    def variances(self) -> Vector:
        """(n,) mean over the members."""
        mean: Vector = self.members.mean(axis=0)
        return mean


def shape_of(returns: Vector, variances: Vector) -> Matrix:
    """Quantile and mean below it (levels, 2) of returns over the roots of their forecasts, both (n,)."""
    scaled = returns / np.sqrt(variances)
    quantiles = np.quantile(scaled, LEVELS)
    return np.array([(quantile, scaled[scaled <= quantile].mean()) for quantile in quantiles])


def of_window(returns: Vector, variances: Vector) -> DayForecast:
    """From a model's forecasts (m + 1,) of the last m days of a window and of the next day; returns: of the window."""
    return DayForecast(variances=variances[-1:], shape=shape_of(returns[len(returns) - len(variances) + 1 :], variances[:-1]))


def gathered(days: Sequence[DayForecast]) -> ModelForecasts:
    """Forecasts of days in order of time."""
    members = np.column_stack([day.variances for day in days])
    shapes = np.stack([day.shape for day in days])  # (n, levels, 2)
    sigma = np.sqrt(members.mean(axis=0))
    tails = tuple(
        TailForecast(level=level, quantile=sigma * shapes[:, i, 0], shortfall=sigma * shapes[:, i, 1]) for i, level in enumerate(LEVELS)
    )
    return ModelForecasts(members=members, tails=tails)
