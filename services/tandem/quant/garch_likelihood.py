"""Compiled variance recursions and the log likelihood of a series with its exact gradient, for every kind and every shock distribution.

A parameter vector is always (6,): omega, alpha, gamma, beta, nu, skew; what a model lacks is not read. The gradient is taken backwards
(adjoint of the recursion): one pass through the variances and one back, whatever the number of parameters.
Before the first value stands the variance `start`, as in `arch`: its square for garch and gjr (half of it below 0), no news for egarch.
Called by quant/garch.py and quant/garch_optimise.py.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch_shocks import normal, skewed, student
from tandem.quant.volatility import Kind, Shocks, Volatility

Vector = NDArray[np.float64]

OMEGA, ALPHA, GAMMA, BETA, NU, SKEW = range(6)
LINEAR, EXPONENTIAL = 0, 1  # which recursion: garch is gjr with gamma 0
KIND_CODE = {Kind.GARCH: LINEAR, Kind.GJR: LINEAR, Kind.EGARCH: EXPONENTIAL}
NORMAL, STUDENT, SKEWED = 0, 1, 2
SHOCKS_CODE = {Shocks.NORMAL: NORMAL, Shocks.STUDENT_T: STUDENT, Shocks.SKEWED_T: SKEWED}
MEAN_ABS_NORMAL = math.sqrt(2 / math.pi)
_VARIANCE, _LOGS, _SCORE, _SCRATCH = range(4)
WORK_ROWS = 4
LOG_VARIANCE_MAX = 80.0  # a unit-scale egarch outside of e^-80..e^80 is no model; held there, so that it is positive and finite


class Problem(NamedTuple):
    """A series and the form of its model: what a likelihood is of. A tuple, so that compiled code takes it."""

    kind: int
    shocks: int
    series: Vector  # (T,), unit scale, finite
    start: float  # variance before the first value, above 0
    work: Vector  # (WORK_ROWS, >= T), overwritten at each evaluation


def vector_of(volatility: Volatility) -> Vector:
    """The parameters (6,) of a model; 0 where it has none."""
    v = volatility
    return np.array([v.omega, v.alpha, v.gamma, v.beta, v.nu or 0.0, v.skew or 0.0])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def linear_step(theta: Vector, value: float, variance: float) -> float:
    """Next variance of garch and gjr."""
    reaction = theta[ALPHA] + theta[GAMMA] if value < 0 else theta[ALPHA]
    return theta[OMEGA] + reaction * (value * value) + theta[BETA] * variance


@numba.njit(cache=True, error_model="numpy", nogil=True)
def linear_path(theta: Vector, series: Vector, first: float, variance: Vector) -> None:
    """Fill `variance` (T,) from its first value on."""
    variance[0] = first
    for t in range(1, len(variance)):
        first = linear_step(theta, series[t - 1], first)
        variance[t] = first


@numba.njit(cache=True, error_model="numpy", nogil=True)
def exponential_path(theta: Vector, series: Vector, first_log: float, variance: Vector, logs: Vector) -> bool:
    """Fill `variance` and its logarithm (T,) from the first logarithm on; False if the limit was touched."""
    level = min(max(first_log, -LOG_VARIANCE_MAX), LOG_VARIANCE_MAX)
    inside, root = level == first_log, 1.0
    for t in range(len(variance)):
        if t > 0:
            shock = series[t - 1] * root
            raw = theta[OMEGA] + theta[ALPHA] * (abs(shock) - MEAN_ABS_NORMAL) + theta[GAMMA] * shock + theta[BETA] * level
            level = min(max(raw, -LOG_VARIANCE_MAX), LOG_VARIANCE_MAX)
            inside = inside and level == raw
        root = math.exp(-0.5 * level)
        logs[t] = level
        variance[t] = 1.0 / (root * root)
    return inside


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _first_linear(theta: Vector, start: float) -> float:
    """Variance of the first value of garch and gjr; half of the square before it is taken to lie below 0."""
    return theta[OMEGA] + (theta[ALPHA] + 0.5 * theta[GAMMA] + theta[BETA]) * start


@numba.njit(cache=True, error_model="numpy", nogil=True)
def first_variance(kind: int, theta: Vector, start: float) -> float:
    """Variance of the first value, `start` being the one before it."""
    if kind == LINEAR:
        return _first_linear(theta, start)
    return math.exp(theta[OMEGA] + theta[BETA] * math.log(start))


@numba.njit(cache=True, error_model="numpy", nogil=True)
def path_from(kind: int, theta: Vector, series: Vector, first: float) -> Vector:
    """Variances (T + 1,) of a series (T,) from the first on: result[t + 1] takes in series[t]."""
    variance = np.empty(len(series) + 1)
    if kind == LINEAR:
        linear_path(theta, series, first, variance)
    else:
        exponential_path(theta, series, math.log(first), variance, np.empty_like(variance))
    return variance


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _linear_gradient(problem: Problem, theta: Vector, gradient: Vector) -> None:
    series, start, beta = problem.series, problem.start, theta[BETA]
    variance, score = problem.work[_VARIANCE], problem.work[_SCORE]
    pull, by_omega, by_alpha, by_gamma, by_beta = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(len(series)):  # divisions by themselves: in vector registers, and not within the chain below
        score[t] /= variance[t]
    for t in range(len(series) - 1, 0, -1):
        pull = score[t] + beta * pull  # derivative of all log densities from t on by variance[t]
        last = series[t - 1]
        news = pull * (last * last)
        by_omega += pull
        by_alpha += news
        by_gamma += news if last < 0 else 0.0
        by_beta += pull * variance[t - 1]
    pull = score[0] + beta * pull
    gradient[OMEGA] = by_omega + pull
    gradient[ALPHA] = by_alpha + pull * start
    gradient[GAMMA] = by_gamma + 0.5 * pull * start
    gradient[BETA] = by_beta + pull * start


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _exponential_gradient(problem: Problem, theta: Vector, gradient: Vector) -> None:
    series, alpha, gamma, beta = problem.series, theta[ALPHA], theta[GAMMA], theta[BETA]
    variance, logs, score = problem.work[_VARIANCE], problem.work[_LOGS], problem.work[_SCORE]
    pull, by_omega, by_alpha, by_gamma, by_beta = 0.0, 0.0, 0.0, 0.0, 0.0
    keep = 0.0  # derivative of the next log variance by this one
    for t in range(len(series) - 1, 0, -1):
        pull = score[t] + keep * pull
        shock = series[t - 1] / math.sqrt(variance[t - 1])
        keep = beta - 0.5 * (alpha * abs(shock) + gamma * shock)
        by_omega += pull
        by_alpha += pull * (abs(shock) - MEAN_ABS_NORMAL)
        by_gamma += pull * shock
        by_beta += pull * logs[t - 1]
    pull = score[0] + keep * pull
    gradient[OMEGA] = by_omega + pull
    gradient[ALPHA] = by_alpha
    gradient[GAMMA] = by_gamma
    gradient[BETA] = by_beta + pull * math.log(problem.start)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def evaluate(problem: Problem, theta: Vector, gradient: Vector) -> float:
    """Log likelihood at theta (6,); minus infinity where it is not finite. Overwrites the problem's `work`.

    gradient: (6,), filled by the order above; of length 0: not wanted.
    """
    series, count = problem.series, len(problem.series)
    variance, logs = problem.work[_VARIANCE, :count], problem.work[_LOGS, :count]
    score, scratch = problem.work[_SCORE, :count], problem.work[_SCRATCH, :count]
    by_nu, by_skew = 0.0, 0.0
    if problem.kind == LINEAR:
        linear_path(theta, series, _first_linear(theta, problem.start), variance)
    elif not exponential_path(theta, series, theta[OMEGA] + theta[BETA] * math.log(problem.start), variance, logs):
        return -np.inf
    if problem.shocks == NORMAL:
        value = normal(series, variance, score)
    elif problem.shocks == STUDENT:
        value, by_nu = student(series, variance, theta[NU], score, scratch)
    else:
        value, by_nu, by_skew = skewed(series, variance, (theta[NU], theta[SKEW]), score, scratch)
    if not math.isfinite(value):
        return -np.inf
    if len(gradient) > 0:
        gradient[NU], gradient[SKEW] = by_nu, by_skew
        if problem.kind == LINEAR:
            _linear_gradient(problem, theta, gradient)
        else:
            _exponential_gradient(problem, theta, gradient)
    return value
