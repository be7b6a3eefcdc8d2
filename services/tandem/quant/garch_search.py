"""Compiled box-constrained maximiser of the GARCH likelihoods: BFGS that begins with differences of exact gradients as its Hessian.

Works on a vector w (6,) in which every constraint is a box, so that a solution on the edge (alpha 0, persistence at its limit) is as
ordinary as any other:

    garch, gjr:  omega, persistence, share, tilt, 1 / nu, skew
                 alpha = 2 persistence share tilt, alpha + gamma = 2 persistence share (1 - tilt), beta = persistence (1 - share)
    egarch:      omega, alpha, gamma, beta, 1 / nu, skew

What a model lacks has equal bounds. Called by quant/garch_optimise.py, which chooses bounds and first guesses.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch_likelihood import ALPHA, BETA, GAMMA, LINEAR, NU, OMEGA, SKEW, Problem, evaluate
from tandem.quant.garch_newton import SIZE, Box, direction, update

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Cube = NDArray[np.float64]

PERSISTENCE, SHARE, TILT, INVERSE_NU = 1, 2, 3, 4  # places in w of garch and gjr; 1 / nu of all
_FALL_TOLERANCE = 1e-9  # log likelihood that one more Newton step would gain: moves a forecast by about 1e-6 of itself
_FALL_ACCEPTED = 1e-5  # where rounding stops the search before the tolerance
_FALL_CLEAR = 0.01  # below it a step promises its fall to a factor of four (at 1, 2 % of 449 real series lost their highest peak)
_FALL_NEAR = 1.0  # below it the Hessian tells whether a step leads to a place that is known
_APART_MIN = 0.3  # log likelihood between two places of the same peak
_GAIN_IGNORED = 1e-4  # of a second peak over the first
_STEPS_MAX = 200
_REFRESH_STEPS = 15  # between Hessians by differences
_SHORTER_MAX = 30
_DIFFERENCE = 1e-6


class Point(NamedTuple):
    """A place of the search, and the objective there; overwritten as the search moves."""

    w: Vector  # (6,)
    gradient: Vector  # (6,)
    value: Vector  # (1,)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def natural(kind: int, w: Vector, theta: Vector) -> None:
    """Fill the parameters (6,) of quant/garch_likelihood.py from w."""
    theta[OMEGA], theta[SKEW] = w[0], w[5]
    theta[NU] = 1.0 / w[INVERSE_NU]
    if kind == LINEAR:
        news = 2 * w[PERSISTENCE] * w[SHARE]
        theta[ALPHA] = news * w[TILT]
        theta[GAMMA] = news * (1 - w[TILT]) - theta[ALPHA]  # in this form alpha + gamma never rounds to below 0
        theta[BETA] = w[PERSISTENCE] * (1 - w[SHARE])
    else:
        theta[ALPHA], theta[GAMMA], theta[BETA] = w[1], w[2], w[3]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _pull_back(kind: int, w: Vector, by_theta: Vector, by_w: Vector) -> None:
    """The gradient by w from the gradient by theta, with the sign of a minimum."""
    by_w[0], by_w[5] = -by_theta[OMEGA], -by_theta[SKEW]
    by_w[INVERSE_NU] = by_theta[NU] / (w[INVERSE_NU] * w[INVERSE_NU])
    if kind == LINEAR:
        persistence, share, tilt = w[PERSISTENCE], w[SHARE], w[TILT]
        by_news = by_theta[ALPHA] * tilt + by_theta[GAMMA] * (1 - 2 * tilt)
        by_w[PERSISTENCE] = -(2 * share * by_news + (1 - share) * by_theta[BETA])
        by_w[SHARE] = -persistence * (2 * by_news - by_theta[BETA])
        by_w[TILT] = -2 * persistence * share * (by_theta[ALPHA] - 2 * by_theta[GAMMA])
    else:
        by_w[1], by_w[2], by_w[3] = -by_theta[ALPHA], -by_theta[GAMMA], -by_theta[BETA]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def objective(problem: Problem, w: Vector, gradient: Vector) -> float:
    """Minus the log likelihood at w, and its gradient (6,) unless `gradient` is empty. Infinite unless all of them are finite."""
    theta, by_theta = np.empty(SIZE), np.zeros(len(gradient))
    natural(problem.kind, w, theta)
    value = -evaluate(problem, theta, by_theta)
    if len(gradient) > 0:
        _pull_back(problem.kind, w, by_theta, gradient)
    for i in range(len(gradient)):
        if not math.isfinite(gradient[i]):
            return np.inf
    return value


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _fill_hessian(problem: Problem, box: Box, point: Point, hessian: Matrix) -> None:
    """One-sided differences of the gradient (6, 6); identity for what is not free."""
    moved, gradient = point.w.copy(), np.empty(SIZE)
    hessian[:] = np.eye(SIZE)
    for i in range(SIZE):
        if box.low[i] == box.high[i]:
            continue
        step = _DIFFERENCE * max(abs(point.w[i]), 0.01)
        if point.w[i] + step > box.high[i]:
            step = -step
        moved[i] = point.w[i] + step
        usable = math.isfinite(objective(problem, moved, gradient))
        moved[i] = point.w[i]
        for j in range(SIZE):
            if usable and box.low[j] < box.high[j]:
                hessian[j, i] = (gradient[j] - point.gradient[j]) / step
    for i in range(SIZE):
        for j in range(i):
            hessian[i, j] = hessian[j, i] = 0.5 * (hessian[i, j] + hessian[j, i])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _line_search(problem: Problem, box: Box, point: Point, step: Vector, trial: Point) -> bool:
    """Shorten the step, bent to the box, until it descends enough (Armijo); fill `trial`. Whether it did."""
    value, length = point.value[0], 1.0
    for _ in range(_SHORTER_MAX):
        slope = 0.0
        for i in range(SIZE):
            trial.w[i] = min(max(point.w[i] + length * step[i], box.low[i]), box.high[i])
            slope += point.gradient[i] * (trial.w[i] - point.w[i])
        if not slope < 0:
            length *= 0.5
            continue
        found = objective(problem, trial.w, trial.gradient)
        if found <= value + 1e-4 * slope:
            trial.value[0] = found
            return True
        # The lowest point of the parabola through both values and the slope, if it is of use.
        bend = found - value - slope
        length *= min(max(-0.5 * slope / bend, 0.1), 0.5) if math.isfinite(bend) and bend > 0 else 0.2
    return False


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _leads_to(hessian: Matrix, w: Vector, step: Vector, known: Vector) -> bool:
    """Whether w + step is `known`, as near as the Hessian tells."""
    apart = w + step - known
    total = 0.0
    for i in range(SIZE):
        for j in range(SIZE):
            total += 0.5 * apart[i] * hessian[i, j] * apart[j]
    return total < _APART_MIN


@numba.njit(cache=True, error_model="numpy", nogil=True)
def descend(problem: Problem, box: Box, w: Vector, rival: Point) -> tuple[float, bool]:
    """Move w (6,) to a minimum of the objective inside its box. Returns the value there and whether it is a minimum.

    Stops before it, without one, as soon as the minimum is seen to be the `rival` or not to lie below it.
    """
    point, trial = Point(w, np.empty(SIZE), np.empty(1)), Point(np.empty(SIZE), np.empty(SIZE), np.empty(1))
    hessian, step = np.empty((SIZE, SIZE)), np.empty(SIZE)
    point.value[0], exact = objective(problem, w, point.gradient), False
    for count in range(_STEPS_MAX):
        if not exact and count % _REFRESH_STEPS == 0:
            _fill_hessian(problem, box, point, hessian)
            exact = True
        fall, definite = direction(box, w, point.gradient, hessian, step)
        if fall < _FALL_TOLERANCE:
            return point.value[0], True
        if definite and fall < _FALL_CLEAR and point.value[0] - 4 * fall > rival.value[0] - _GAIN_IGNORED:
            return point.value[0], False
        if definite and fall < _FALL_NEAR and point.value[0] > rival.value[0] and _leads_to(hessian, w, step, rival.w):
            return point.value[0], False
        if _line_search(problem, box, point, step, trial):
            update(hessian, trial.w - w, trial.gradient - point.gradient)
            exact = False
            w[:] = trial.w
            point.gradient[:] = trial.gradient
            point.value[:] = trial.value
        elif exact:
            return point.value[0], fall < _FALL_ACCEPTED
        else:
            _fill_hessian(problem, box, point, hessian)
            exact = True
    return point.value[0], False


@numba.njit(cache=True, error_model="numpy", nogil=True)
def best_of(problem: Problem, box: Box, guesses: Cube, best: Vector) -> tuple[float, bool]:
    """Descend from the lowest of each group of guesses (groups, G, 6), the lowest group first, and fill `best` (6,).

    Returns the value there and whether any descent ended in a minimum. A likelihood may have several peaks, one of them at alpha = 0.
    """
    nothing, groups = np.empty(0), len(guesses)
    values, chosen = np.full(groups, np.inf), np.empty((groups, SIZE))
    for i in range(groups):
        for j in range(guesses.shape[1]):
            value = objective(problem, guesses[i, j], nothing)
            if value < values[i]:
                values[i], chosen[i] = value, guesses[i, j]
    lowest, found = Point(best, np.empty(SIZE), np.array([np.inf])), False
    for i in np.argsort(values):
        if not math.isfinite(values[i]):
            break
        value, minimum = descend(problem, box, chosen[i], lowest)
        if minimum and value < lowest.value[0]:
            lowest.value[0], found = value, True
            best[:] = chosen[i]
    return lowest.value[0], found
