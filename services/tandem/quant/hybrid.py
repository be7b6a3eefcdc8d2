"""GARCH and network together: the forecast that is published. Serving and scoring call the same function."""

import numpy as np
from numpy.typing import NDArray

from tandem.quant.bundle import Calibration
from tandem.quant.network import Outputs

Vector = NDArray[np.float64]


def hybrid(calibration: Calibration, garch_variance: Vector, outputs: Outputs) -> tuple[Vector, Vector]:
    """(variance, reversion probability), each (n,), from GARCH variances (n,) and the network's outputs (n, 2).

    A number that is not finite comes out as one that is not finite or not above 0, without a warning: the caller withholds it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        variance = garch_variance * np.exp(calibration.shrink * outputs[:, 0].astype(np.float64))
        score = calibration.slope * outputs[:, 1].astype(np.float64) + calibration.intercept
        probability = 1.0 / (1.0 + np.exp(-score))
    return variance, probability
