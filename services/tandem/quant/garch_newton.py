"""Compiled linear algebra of one quasi-Newton step inside a box of six places: step, Hessian update. No likelihood here.

Called by quant/garch_search.py.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE = 6
_RAISES_MAX = 60  # the diagonal has grown beyond any real Hessian long before
_CURVATURE_MIN = 1e-8  # of a place that the objective does not depend on


class Box(NamedTuple):
    """Bounds (6,) each; equal ones fix a place."""

    low: Vector
    high: Vector


@numba.njit(cache=True, error_model="numpy", nogil=True)
def direction(box: Box, w: Vector, gradient: Vector, hessian: Matrix, step: Vector) -> tuple[float, bool]:
    """Fill the Newton step (6,) from w, 0 in places that stand at an edge and would leave. Raises the Hessian's diagonal until it is
    positive definite on the rest. Returns the fall that the step promises, and whether the Hessian was definite as it came.
    """
    low, high = box
    free = np.empty(SIZE, np.bool_)
    for i in range(SIZE):
        outward = (w[i] <= low[i] and gradient[i] >= 0) or (w[i] >= high[i] and gradient[i] <= 0)
        free[i] = low[i] < high[i] and not outward
    definite, factor = True, np.empty((SIZE, SIZE))
    for _ in range(SIZE + 1):
        definite = _factorise(hessian, free, factor) and definite
        _substitute(factor, gradient, free, step)
        inside = True
        for i in range(SIZE):  # a step out of the box at its edge would not be one downhill
            if free[i] and ((w[i] <= low[i] and step[i] < 0) or (w[i] >= high[i] and step[i] > 0)):
                free[i], inside = False, False
        if inside:
            break
    fall = 0.0
    for i in range(SIZE):
        fall -= 0.5 * gradient[i] * step[i]
    return fall, definite


@numba.njit(cache=True, error_model="numpy", nogil=True)
def update(hessian: Matrix, moved: Vector, change: Vector) -> None:
    """Damped BFGS (Powell 1978) in place, after a move (6,) that changed the gradient by `change`: definite stays definite."""
    product = hessian @ moved
    curvature, slope = 0.0, 0.0
    for i in range(SIZE):
        curvature += moved[i] * product[i]
        slope += moved[i] * change[i]
    if not curvature > 0:
        return
    mix = 1.0 if slope >= 0.2 * curvature else 0.8 * curvature / (curvature - slope)
    damped = mix * change + (1 - mix) * product
    scale = mix * slope + (1 - mix) * curvature
    for i in range(SIZE):
        for j in range(SIZE):
            hessian[i, j] += damped[i] * damped[j] / scale - product[i] * product[j] / curvature


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _factorise(matrix: Matrix, free: Mask, factor: Matrix) -> bool:
    """Cholesky factor on the free places; until there is one, raise the diagonal of the matrix. Whether it had one as it came."""
    extra = 0.0
    for _ in range(_RAISES_MAX):
        if _cholesky(matrix, free, factor):
            return extra == 0.0
        extra = max(4 * extra, 1e-3)
        for i in range(SIZE):
            if free[i]:
                matrix[i, i] += extra * max(abs(matrix[i, i]), _CURVATURE_MIN)
    matrix[:] = np.eye(SIZE)
    factor[:] = np.eye(SIZE)
    return False


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _cholesky(matrix: Matrix, free: Mask, factor: Matrix) -> bool:
    for i in range(SIZE):
        for j in range(i + 1):
            total = matrix[i, j] if free[i] and free[j] else 0.0
            if i == j and not free[i]:
                total = 1.0
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            elif total > 1e-10 * abs(matrix[i, i]) and total > 0:
                factor[i, i] = math.sqrt(total)
            else:
                return False
    return True


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _substitute(factor: Matrix, gradient: Vector, free: Mask, step: Vector) -> None:
    """Fill `step`: factor factor' step = -gradient, 0 where not free."""
    for i in range(SIZE):
        total = -gradient[i] if free[i] else 0.0
        for k in range(i):
            total -= factor[i, k] * step[k]
        step[i] = total / factor[i, i]
    for i in range(SIZE - 1, -1, -1):
        total = step[i]
        for k in range(i + 1, SIZE):
            total -= factor[k, i] * step[k]
        step[i] = total / factor[i, i]
