"""The variance state of GARCH, GJR and EGARCH over a window of daily returns, as a network's cell and a baseline read it.

Only filtering: parameters come from a fit on the past (quant/garch.py). Returns in percent, over the same part of the day as the realised
variance that is forecast. Called by quant/realised_reading.py and research/spx_garch.py.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch import backcast, filter_from
from tandem.quant.volatility import Kind, Volatility

Vector = NDArray[np.float64]


def log_variances(volatility: Volatility, returns: Vector) -> Vector:
    """Logarithm of the variance before each return and, last, of the next one: (T,) -> (T + 1,), in squared units of the returns.

    The state starts at the backcast of the window's first days, so the first months serve to find its level.
    """
    unit = returns / volatility.scale
    return np.log(filter_from(volatility, unit, backcast(unit))) + 2 * math.log(volatility.scale)


def carries(volatility: Volatility, logs: Vector) -> Vector:
    """Which part of each next variance comes from the variance before it, beta h / h' (egarch: beta): (T + 1,) -> (T,)."""
    if volatility.kind is Kind.EGARCH:
        return np.full(len(logs) - 1, volatility.beta)
    return volatility.beta * np.exp(logs[:-1] - logs[1:])
