"""Maximum likelihood of many series in one compiled loop: bounds, first guesses, and the batch over series of unequal length.

Called by quant/garch.py, which prepares the series (unit scale) and makes records of the result. Runs without the interpreter's lock, so
threads may fit batches side by side.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch_likelihood import KIND_CODE, SHOCKS_CODE, WORK_ROWS, Problem
from tandem.quant.garch_newton import SIZE, Box
from tandem.quant.garch_search import best_of, natural
from tandem.quant.volatility import Kind, Shocks

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Cube = NDArray[np.float64]

PERSISTENCE_MAX = 0.9995  # half-life of a shock of 1,400 bars; beyond it the fit has no level to return to
NU_MIN, NU_MAX = 2.05, 500.0  # the bounds of the reference implementation; above 500 it is the normal distribution
OMEGA_MIN, OMEGA_MAX = 1e-8, 10.0  # at unit variance
SKEW_MAX = 0.999
_LOG_OMEGA_MAX = 9.2  # egarch: a level of e^9.2 times the sample variance, the reference's bound
_NEWS_MAX = 5.0  # egarch's alpha and gamma; real series stay below 1
_NU_GUESS = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Optima:
    """Of N series. theta (N, 6) as in quant/garch_likelihood.py; a row counts only where `found`."""

    theta: Matrix
    log_likelihood: Vector  # (N,)
    found: NDArray[np.bool_]  # (N,)


class Batch(NamedTuple):
    """N series end to end: the i-th is flat[ends[i]:ends[i + 1]], with the variance starts[i] before it."""

    flat: Vector
    ends: NDArray[np.int64]  # (N + 1,)
    starts: Vector  # (N,)


def maximise(series: Sequence[Vector], starts: Vector, model: tuple[Kind, Shocks], box: Box) -> Optima:
    """Fit each of N series (T_i,), of unit scale and finite, each with its variance before the first value, starts (N,), above 0."""
    kind, shocks = model
    lengths = np.array([len(one) for one in series], dtype=np.int64)
    batch = Batch(np.concatenate(series) if series else np.empty(0), np.concatenate(([0], np.cumsum(lengths))), starts)
    guesses = np.clip(_guesses(kind), box.low, box.high)
    theta, value, found = _maximise_batch((KIND_CODE[kind], SHOCKS_CODE[shocks]), batch, box, guesses)
    return Optima(theta, value, found)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _maximise_batch(model: tuple[int, int], batch: Batch, box: Box, guesses: Cube) -> tuple[Matrix, Vector, NDArray[np.bool_]]:
    flat, ends, starts = batch
    count, longest = len(starts), 0
    for i in range(count):
        longest = max(longest, ends[i + 1] - ends[i])
    theta, value, found = np.zeros((count, SIZE)), np.empty(count), np.zeros(count, np.bool_)
    work, best = np.empty((WORK_ROWS, longest)), np.empty(SIZE)
    for i in range(count):
        problem = Problem(model[0], model[1], flat[ends[i] : ends[i + 1]], starts[i], work)
        lowest, found[i] = best_of(problem, box, guesses, best)
        value[i] = -lowest
        if found[i]:
            natural(model[0], best, theta[i])
    return theta, value, found


def bounds(kind: Kind, shocks: Shocks, *, persistence_max: float = PERSISTENCE_MAX) -> Box:
    """Of the working vector of quant/garch_search.py. Raises ValueError for a persistence_max that is not between 0 and 1."""
    if not 0 < persistence_max < 1:
        raise ValueError(f"persistence_max {persistence_max}, must lie between 0 and 1")
    inverse_nu = (1 / _NU_GUESS, 1 / _NU_GUESS) if shocks is Shocks.NORMAL else (1 / NU_MAX, 1 / NU_MIN)
    skew = (-SKEW_MAX, SKEW_MAX) if shocks is Shocks.SKEWED_T else (0.0, 0.0)
    if kind is Kind.EGARCH:
        recursion = [(-_LOG_OMEGA_MAX, _LOG_OMEGA_MAX), (0.0, _NEWS_MAX), (-_NEWS_MAX, _NEWS_MAX), (0.0, persistence_max)]
    else:
        tilt = (0.0, 1.0) if kind is Kind.GJR else (0.5, 0.5)
        recursion = [(OMEGA_MIN, OMEGA_MAX), (0.0, persistence_max), (0.0, 1.0), tilt]
    low, high = np.array([*recursion, inverse_nu, skew]).T
    return Box(np.ascontiguousarray(low), np.ascontiguousarray(high))


def _guesses(kind: Kind) -> Cube:
    """(groups, G, 6): a coarse grid around what daily and intraday series have; the best of each persistence is followed to its peak."""
    persistences = (0.2, 0.7, 0.95, 0.995)
    if kind is Kind.EGARCH:
        news = tuple(itertools.product((0.03, 0.1, 0.2), (-0.1, 0.0)))
        recursions = [[(0.0, alpha, gamma, beta) for alpha, gamma in news] for beta in persistences]
    else:
        news = tuple(itertools.product((0.01, 0.05, 0.15), (0.2, 0.5) if kind is Kind.GJR else (0.5,)))
        recursions = [[(1 - p, p, alpha / p, tilt) for alpha, tilt in news] for p in persistences]
    return np.array([[(*recursion, 1 / _NU_GUESS, 0.0) for recursion in group] for group in recursions])
