"""Losses and tests that say whether a forecast is better than its baseline. Arrays in, plain numbers out.

Variances are scored by QLIKE and MSE, the two common losses that rank forecasts rightly when the truth is a noisy proxy (Patton 2011);
MAE and R2 are for comparison with the literature.
Probabilities are scored by Brier, AUC and MCC, each beside what a forecaster without skill gets.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tandem.quant.losses import VARIANCE_FLOOR, Vector, qlike

__all__ = [
    "VARIANCE_FLOOR",
    "ClarkWest",
    "DieboldMariano",
    "auc",
    "brier",
    "clark_west",
    "diebold_mariano",
    "f1",
    "mae",
    "mcc",
    "mse",
    "newey_west_lags",
    "qlike",
    "r2",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DieboldMariano:
    """Test of equal expected loss. statistic below 0: the first forecast is better. p_value two-sided."""

    statistic: float
    p_value: float
    mean_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClarkWest:
    """Test of a model against a smaller one nested in it. statistic above 0: the larger forecasts better. p_value one-sided."""

    statistic: float
    p_value: float


def mse(realised: Vector, forecast: Vector) -> float:
    """Mean squared error."""
    return float(np.mean((realised - forecast) ** 2))


def mae(realised: Vector, forecast: Vector) -> float:
    """Mean absolute error. On variances it ranks forecasts by their medians, not their means: no ground for a choice."""
    return float(np.mean(np.abs(realised - forecast)))


def r2(realised: Vector, forecast: Vector) -> float:
    """1 - SSE / SST, SST about the mean of `realised` itself, which no forecaster knew: may be below 0. Raises ValueError if constant."""
    total = float(np.sum((realised - realised.mean()) ** 2))
    if total == 0:
        raise ValueError(f"all {len(realised)} realised values are equal: R2 is not defined")
    return 1.0 - float(np.sum((realised - forecast) ** 2)) / total


def newey_west_lags(count: int) -> int:
    """The usual bandwidth floor(4 (T / 100)^(2/9)) for T values. Newey and West (1994)."""
    return int(4 * (count / 100) ** (2 / 9))


def diebold_mariano(loss: Vector, loss_baseline: Vector, *, horizon: int, lags: int) -> DieboldMariano:
    """Diebold-Mariano with a Newey-West variance (Bartlett, `lags`) and the correction of Harvey, Leybourne and Newbold (1997).

    loss, loss_baseline: (T,) of `horizon`-step forecasts in order of time; lags is at least horizon - 1, because such errors overlap.
    The p-value is from Student's t with T - 1 degrees of freedom. Losses that never differ give statistic 0 and p 1.
    Raises ValueError for T < 10 or for lags out of range.
    """
    count = len(loss)
    if len(loss_baseline) != count or count < 10:
        raise ValueError(f"{count} and {len(loss_baseline)} losses, need two equally long series of at least 10")
    if not 1 <= horizon <= lags + 1 <= count:
        raise ValueError(f"horizon {horizon} and {lags} lags for {count} losses, need 1 <= horizon <= lags + 1 <= losses")
    difference = loss - loss_baseline
    mean, variance = float(difference.mean()), _long_run_variance(difference, lags)
    if variance <= 0:
        return DieboldMariano(statistic=0.0, p_value=1.0, mean_difference=mean)
    correction = math.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)
    statistic = mean / math.sqrt(variance / count) * correction
    return DieboldMariano(statistic=statistic, p_value=float(2 * stats.t.sf(abs(statistic), count - 1)), mean_difference=mean)


def clark_west(realised: Vector, smaller: Vector, larger: Vector, *, lags: int) -> ClarkWest:
    """Clark and West (2007): squared errors, corrected for the noise that the larger model's needless parameters add under the null.

    realised, smaller, larger: (T,) target and the two forecasts in order of time; lags at least horizon - 1. Normal, one-sided.
    Equal forecasts give statistic 0 and p 0.5. Raises ValueError for T < 10 or lags out of range.
    """
    count = len(realised)
    if not len(smaller) == len(larger) == count or count < 10 or not 0 <= lags < count:
        raise ValueError(f"{count}, {len(smaller)} and {len(larger)} values with {lags} lags, need three equally long of at least 10")
    adjusted = (realised - smaller) ** 2 - (realised - larger) ** 2 + (smaller - larger) ** 2
    variance = _long_run_variance(adjusted, lags)
    statistic = float(adjusted.mean()) / math.sqrt(variance / count) if variance > 0 else 0.0
    return ClarkWest(statistic=statistic, p_value=float(stats.norm.sf(statistic)))


def _long_run_variance(series: Vector, lags: int) -> float:
    """Newey and West (1987): Bartlett weights, autocovariances divided by T."""
    centred = series - series.mean()
    variance = float(centred @ centred)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return variance / len(series)


def brier(label: NDArray[np.bool_], probability: Vector) -> float:
    """Mean squared error of a probability; 0 is best. A constant at the base rate p gets p (1 - p)."""
    return float(np.mean((probability - label) ** 2))


def auc(label: NDArray[np.bool_], score: Vector) -> float:
    """Probability that a positive scores above a negative, ties count half (Mann-Whitney). 0.5 without skill.

    Raises ValueError when all labels are the same.
    """
    positives = int(np.count_nonzero(label))
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(f"{positives} positives and {negatives} negatives; need at least one of each")
    ranks = stats.rankdata(score)
    return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def mcc(label: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Matthews correlation of two binary series; 0 without skill, and by convention where one side is constant."""
    tp, tn = np.count_nonzero(label & predicted), np.count_nonzero(~label & ~predicted)
    fp, fn = np.count_nonzero(~label & predicted), np.count_nonzero(label & ~predicted)
    scale = math.sqrt(float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn))
    return (float(tp) * float(tn) - float(fp) * float(fn)) / scale if scale else 0.0


def f1(label: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall. High for a constant "yes" on frequent labels: report it beside that baseline only."""
    hits = int(np.count_nonzero(label & predicted))
    total = int(np.count_nonzero(label)) + int(np.count_nonzero(predicted))
    return 2 * hits / total if total else 0.0
