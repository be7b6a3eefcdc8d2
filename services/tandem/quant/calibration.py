"""From the network's raw numbers to a variance and a probability that mean what they say. Fitted on the validation part.

Both are held back as long as the validation part is small: the variance to the pair's own filter, the probability to the base rate.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tandem.quant.bundle import Calibration
from tandem.quant.network import Outputs

Vector = NDArray[np.float64]
Times = NDArray[np.int64]

_SHRINK_STEP = 0.01
# The correction must be better by this many standard errors of its own gain, a one-sided test at 5 %: a part of it that a few lucky bars
# pay for is not kept, and half of a correction has three quarters of its gain at half of its risk.
_ERRORS_KEPT_BACK = 1.64
# Prior on the slope: normal about 0 with this standard deviation, for a logit of unit spread. A network that has learnt on noise is as
# likely to point the wrong way as the right one, so no slope is expected until the rows show it; 1,000 rows outweigh it.
_SLOPE_SD = 0.25


def calibrate(outputs: Outputs, variance_ratio: Vector, reverted: NDArray[np.bool_], *, times: Times | None = None) -> Calibration:
    """outputs (n, 2) of the network, realised / GARCH variance (n,) and labels (n,) of the same rows.

    shrink: the part of the correction, between none and all, whose gain in QLIKE less 1.64 of its standard errors is largest; none when
    there is no such part. times (n,): rows of one time count as one observation of that gain; None: each row counts.
    slope and intercept: Platt's, with his smoothed targets, so that a part with one class only stays finite, and with a prior that holds
    the probability near the base rate on few rows. A logit that points the wrong way is given slope 0: the base rate.
    """
    slope, intercept = _platt(outputs[:, 1].astype(np.float64), reverted)
    return Calibration(shrink=_shrink(outputs[:, 0].astype(np.float64), variance_ratio, times), slope=slope, intercept=intercept)


def _shrink(correction: Vector, ratio: Vector, times: Times | None) -> float:
    """The best of a grid on [0, 1]: least mean of ratio exp(-s correction) + s correction - ratio, plus 1.64 standard errors."""
    place = np.arange(len(ratio)) if times is None else np.unique(times, return_inverse=True)[1]
    count = np.bincount(place)
    best, best_loss = 0.0, 0.0
    for shrink in np.arange(_SHRINK_STEP, 1 + _SHRINK_STEP / 2, _SHRINK_STEP).tolist():
        loss = ratio * np.expm1(-shrink * correction) + shrink * correction
        by_time = np.bincount(place, weights=loss) / count
        bound = float(by_time.mean() + _ERRORS_KEPT_BACK * by_time.std() / np.sqrt(len(by_time)))
        if bound < best_loss:
            best, best_loss = min(shrink, 1.0), bound
    return best


def _platt(logit: Vector, label: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept by penalised logistic regression; the intercept, which carries the base rate, is not penalised."""
    positives, count = int(label.sum()), len(label)
    target = np.where(label, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    rate = float(target.mean())
    constant = float(np.log(rate / (1 - rate)))
    centre, spread = float(logit.mean()), float(logit.std())
    if not spread > 0:
        return 0.0, constant
    unit = (logit - centre) / spread
    weight = 1 / (2 * _SLOPE_SD**2 * count)

    def loss(vector: Vector) -> tuple[float, Vector]:
        score = vector[0] * unit + vector[1]
        gap = special.expit(score) - target
        value = float(np.mean(np.logaddexp(0, score) - target * score)) + weight * float(vector[0]) ** 2
        return value, np.array([np.mean(gap * unit) + 2 * weight * vector[0], np.mean(gap)])

    found = optimize.minimize(loss, np.array([0.0, constant]), jac=True, method="BFGS")
    slope, intercept = found.x.tolist()
    return (slope / spread, intercept - slope * centre / spread) if slope > 0 else (0.0, constant)
