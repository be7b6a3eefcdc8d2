"""From the network's raw numbers to a variance and a probability that mean what they say. Fitted on the validation part."""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tandem.quant.bundle import Calibration
from tandem.quant.network import Outputs

Vector = NDArray[np.float64]


def calibrate(outputs: Outputs, variance_ratio: Vector, reverted: NDArray[np.bool_]) -> Calibration:
    """outputs (n, 2) of the network, realised / GARCH variance (n,) and labels (n,) of the same rows.

    shrink: the part of the correction, between none and all, with the least QLIKE. slope and intercept: Platt's, with his smoothed targets,
    so that a part with one class only stays finite. A logit that points the wrong way is given slope 0: the base rate.
    """
    slope, intercept = _platt(outputs[:, 1].astype(np.float64), reverted)
    return Calibration(shrink=_shrink(outputs[:, 0].astype(np.float64), variance_ratio), slope=slope, intercept=intercept)


def _shrink(correction: Vector, ratio: Vector) -> float:
    """The minimiser on [0, 1] of the mean of ratio exp(-shrink correction) + shrink correction, which is convex."""

    def derivative(shrink: float) -> float:
        return float(np.mean(correction - correction * ratio * np.exp(-shrink * correction)))

    if derivative(0.0) >= 0:
        return 0.0
    if derivative(1.0) <= 0:
        return 1.0
    return float(optimize.brentq(derivative, 0.0, 1.0))


def _platt(logit: Vector, label: NDArray[np.bool_]) -> tuple[float, float]:
    positives, count = int(label.sum()), len(label)
    target = np.where(label, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    rate = float(target.mean())
    constant = float(np.log(rate / (1 - rate)))

    def loss(vector: Vector) -> tuple[float, Vector]:
        score = vector[0] * logit + vector[1]
        gap = special.expit(score) - target
        return float(np.mean(np.logaddexp(0, score) - target * score)), np.array([np.mean(gap * logit), np.mean(gap)])

    found = optimize.minimize(loss, np.array([1.0, constant - float(logit.mean())]), jac=True, method="BFGS")
    slope, intercept = found.x.tolist()
    return (slope, intercept) if slope > 0 else (0.0, constant)
