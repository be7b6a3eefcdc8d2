"""Johansen's trace test of many pairs at once, compiled; equal to statsmodels' coint_johansen(legs, det_order=0, k_ar_diff=1).

A vector error correction with a constant and one lagged difference. Unlike Engle-Granger it does not depend on which leg comes first.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.coint_tables import c_sjt

from tandem.quant.correlation import common_bars
from tandem.quant.dickey_fuller import dot

Vector = NDArray[np.float64]

# Critical values at 10, 5 and 1 % of "no cointegration" and of "at most one relation", from statsmodels' tables.
CRITICAL_NONE: Vector = np.asarray(c_sjt(2, 0))
CRITICAL_ONE: Vector = np.asarray(c_sjt(1, 0))
_BARS_MIN = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JohansenTests:
    """Of P pairs, each (P,). NaN where the legs are constant, collinear or have fewer than 20 bars in common."""

    trace_none: Vector  # of no relation, against CRITICAL_NONE
    trace_one: Vector  # of at most one relation, against CRITICAL_ONE: above it both prices would be stationary
    beta: Vector  # of the strongest relation: leg a - beta leg b


def johansen_many(log_close: Vector, pairs: NDArray[np.int64]) -> JohansenTests:
    """Test the pairs (P, 2), column numbers of log_close (T, S), on the bars in which both legs have a price."""
    found = _johansen(np.ascontiguousarray(np.asarray(log_close, np.float64).T), np.ascontiguousarray(pairs, np.int64))
    return JohansenTests(trace_none=found[:, 0], trace_one=found[:, 1], beta=found[:, 2])


@numba.njit(cache=True)
def _moments(legs: Vector, n: int, columns: Vector, products: Vector) -> None:
    """products (6, 6) of centred difference, lagged difference and level of both legs, over the n - 2 rows that have all."""
    rows = n - 2
    for leg in range(2):
        for t in range(rows):
            columns[leg, t] = legs[leg, t + 2] - legs[leg, t + 1]
            columns[2 + leg, t] = legs[leg, t + 1] - legs[leg, t]
            columns[4 + leg, t] = legs[leg, t + 1]
    for i in range(6):
        columns[i, :rows] -= columns[i, :rows].mean()
        for j in range(i + 1):
            products[i, j] = products[j, i] = dot(columns[i, :rows], columns[j, :rows])


@numba.njit(cache=True)
def _eigenvalues(products: Vector) -> tuple[float, float, float]:
    """Both eigenvalues, the larger first, and the hedge ratio of the first; NaN when a block is singular."""
    z = products[2:4, 2:4]
    kept = np.array([0, 1, 4, 5])
    left = np.empty((4, 4))  # what lagged differences do not explain
    det_z = z[0, 0] * z[1, 1] - z[0, 1] * z[1, 0]
    if not det_z > 1e-12 * z[0, 0] * z[1, 1]:
        return math.nan, math.nan, math.nan
    for i in range(4):
        for j in range(4):
            u, v = products[kept[i], 2:4], products[kept[j], 2:4]
            explained = u[0] * (z[1, 1] * v[0] - z[0, 1] * v[1]) + u[1] * (z[0, 0] * v[1] - z[1, 0] * v[0])
            left[i, j] = products[kept[i], kept[j]] - explained / det_z
    s00, skk, sk0 = left[:2, :2], left[2:, 2:], left[2:, :2]
    det_0, det_k = s00[0, 0] * s00[1, 1] - s00[0, 1] ** 2, skk[0, 0] * skk[1, 1] - skk[0, 1] ** 2
    if not (det_0 > 1e-12 * s00[0, 0] * s00[1, 1] and det_k > 1e-12 * skk[0, 0] * skk[1, 1]):
        return math.nan, math.nan, math.nan
    inverse_0 = np.array([[s00[1, 1], -s00[0, 1]], [-s00[0, 1], s00[0, 0]]]) / det_0
    inverse_k = np.array([[skk[1, 1], -skk[0, 1]], [-skk[0, 1], skk[0, 0]]]) / det_k
    M = np.zeros((2, 2))
    sigma = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            for k in range(2):
                for m in range(2):
                    sigma[i, j] += sk0[i, k] * inverse_0[k, m] * sk0[j, m]
    for i in range(2):
        for j in range(2):
            M[i, j] = inverse_k[i, 0] * sigma[0, j] + inverse_k[i, 1] * sigma[1, j]
    half, det = 0.5 * (M[0, 0] + M[1, 1]), M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0]
    large = half + math.sqrt(max(0.0, half * half - det))
    first, second = M[0, 1], large - M[0, 0]  # (M - large) (first, second) = 0
    beta = -second / first if first != 0 else math.nan
    return large, det / large if large > 0 else 0.0, beta


@numba.njit(cache=True, nogil=True)
def _johansen(columns: Vector, pairs: NDArray[np.int64]) -> Vector:
    found = np.full((len(pairs), 3), np.nan)
    legs, work, products = np.empty((2, columns.shape[1])), np.empty((6, columns.shape[1])), np.empty((6, 6))
    for p in range(len(pairs)):
        n = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        if n < _BARS_MIN:
            continue
        for leg in range(2):
            legs[leg, :n] -= legs[leg, :n].mean()
        _moments(legs, n, work, products)
        large, small, beta = _eigenvalues(products)
        if large < 1:
            found[p, 1] = -(n - 2) * math.log1p(-small)
            found[p, 0] = found[p, 1] - (n - 2) * math.log1p(-large)
            found[p, 2] = beta
    return found
