"""How fast a spread wanders: the generalised Hurst exponent. A random walk has 0.5, a series that reverts less, one that trends more.

    H = slope of log2 sqrt(mean (x[t + lag] - x[t])^2) on log2 lag, lags 1, 2, 4, 8, 16, 32

Di Matteo, Aste and Dacorogna (2003), q = 2. The residual of a fitted regression is closer to its mean than the truth, so that on a year of
days two unrelated random walks have about 0.45: a bound at 0.5 selects little (see docs/screening.md).
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from tandem.quant.correlation import common_bars

Vector = NDArray[np.float64]

_DOUBLINGS = 6
_BARS_MIN = 64  # twice the longest lag


def hurst(series: Vector) -> float:
    """Exponent of a series (T,), T from 64; NaN for fewer values or when a lagged difference never moves."""
    return float(_hurst(np.ascontiguousarray(series, np.float64)))


def hurst_of_spreads(log_close: Vector, pairs: NDArray[np.int64], beta: Vector) -> Vector:
    """Exponent (P,) of log a - beta log b for pairs (P, 2) of columns of log_close (T, S), on the bars in which both have a price."""
    columns = np.ascontiguousarray(np.asarray(log_close, np.float64).T)
    return _of_spreads(columns, np.ascontiguousarray(pairs, np.int64), np.ascontiguousarray(beta, np.float64))


@numba.njit(cache=True)
def _hurst(x: Vector) -> float:
    if len(x) < _BARS_MIN:
        return math.nan
    slope = 0.0
    for k in range(_DOUBLINGS):
        lag, power = 1 << k, 0.0
        for t in range(len(x) - lag):
            power += (x[t + lag] - x[t]) ** 2
        if not power > 0:
            return math.nan
        slope += (k - 0.5 * (_DOUBLINGS - 1)) * 0.5 * math.log2(power / (len(x) - lag))
    return slope * 12.0 / (_DOUBLINGS * (_DOUBLINGS**2 - 1))  # the sum of squares of 0..n-1 about its mean is n (n^2 - 1) / 12


@numba.njit(cache=True, nogil=True)
def _of_spreads(columns: Vector, pairs: NDArray[np.int64], beta: Vector) -> Vector:
    found = np.empty(len(pairs))
    legs = np.empty((2, columns.shape[1]))
    for p in range(len(pairs)):
        n = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        found[p] = _hurst(legs[0, :n] - beta[p] * legs[1, :n])
    return found
