"""Correlation of one-bar log returns of many pairs. Of returns, because two random walks have correlated levels without any relation.

Also the step that all pair statistics share: the bars in which both legs have a price.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@numba.njit(cache=True)
def common_bars(first: Vector, second: Vector, legs: Vector) -> int:
    """Writes the values of both (T,) where both are finite to legs (2, >= T); returns how many there are."""
    n = 0
    for t in range(len(first)):
        if math.isfinite(first[t]) and math.isfinite(second[t]):
            legs[0, n], legs[1, n] = first[t], second[t]
            n += 1
    return n


def return_correlations(log_close: Vector, pairs: NDArray[np.int64]) -> Vector:
    """Pearson's correlation (P,) of the returns over the bars that both legs of a pair have; pairs are columns of log_close (T, S).

    A return spans the bars that one leg lacks. NaN for fewer than 3 bars or a leg that does not move.
    """
    return _correlations(np.ascontiguousarray(np.asarray(log_close, np.float64).T), np.ascontiguousarray(pairs, np.int64))


@numba.njit(cache=True, nogil=True)
def _correlations(columns: Vector, pairs: NDArray[np.int64]) -> Vector:
    found = np.full(len(pairs), np.nan)
    legs = np.empty((2, columns.shape[1]))
    for p in range(len(pairs)):
        n = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        if n < 3:
            continue
        mean_x, mean_y = (legs[0, n - 1] - legs[0, 0]) / (n - 1), (legs[1, n - 1] - legs[1, 0]) / (n - 1)
        xx = yy = xy = 0.0
        for t in range(1, n):
            x, y = legs[0, t] - legs[0, t - 1] - mean_x, legs[1, t] - legs[1, t - 1] - mean_y
            xx += x * x
            yy += y * y
            xy += x * y
        if xx > 0 and yy > 0:
            found[p] = xy / math.sqrt(xx * yy)
    return found
