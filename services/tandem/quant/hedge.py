"""Hedge ratios of a pair: least squares, total least squares, and one that wanders (Kalman filter). All from the span that is handed in.

Least squares puts all noise on leg a, so that a on b and b on a differ; total least squares shares it out and does not care which leg is
first. Screening computes both for every pair; the filter, a thousand times dearer, for those that pass a first cut.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tandem.quant.correlation import common_bars
from tandem.quant.dickey_fuller import dot
from tandem.quant.rejections import ConstantSeries, TooFewBars

Vector = NDArray[np.float64]

_BARS_MIN = 60  # three variances are fitted, and the first bars only find the start
_BURN_BARS = 20  # not in the likelihood: the start is unknown
_START_VARIANCE = 1e7  # of alpha and beta before the first bar, in units of R: says nothing, and leaves nine digits
_LOG_Q_LOW, _LOG_Q_HIGH = -10.0, 2.0  # log10 of a coefficient's variance per bar by R; the low end is a constant coefficient
_GRID, _HALVINGS = 5, 7  # starts on each axis; then steps from 1.5 decades down to a hundredth


@dataclass(frozen=True, slots=True, kw_only=True)
class KalmanFit:
    """a[t] = alpha[t] + beta[t] (b[t] - centre) + noise; alpha and beta are random walks. Variances per bar, of log prices."""

    centre: float  # mean of leg b over the span that was fitted
    noise: float  # variance R
    alpha_step: float  # variance
    beta_step: float  # variance
    alpha: float  # after the last bar
    beta: float
    log_likelihood: float  # without the first bars
    log_likelihood_constant: float  # of the same with coefficients that do not move


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KalmanPath:
    """What the filter knew, each (T,): innovation[t] and variance[t] are of bar t against the coefficients of t - 1.

    innovation / sqrt(variance) is the z-score.
    """

    alpha: Vector  # after bar t
    beta: Vector
    innovation: Vector
    variance: Vector


def total_least_squares(variance_a: Vector, variance_b: Vector, covariance: Vector) -> Vector:
    """Slope of a on b (any shape) of the line with the least squared distance across it: the first principal axis. NaN without covariance.

    Turning the legs round gives one over it. Golub and Van Loan (1980).
    """
    difference = variance_a - variance_b
    with np.errstate(divide="ignore", invalid="ignore"):
        slope: Vector = (difference + np.sqrt(difference**2 + 4 * covariance**2)) / (2 * covariance)
    return np.where(covariance == 0, np.nan, slope)


def total_least_squares_of(log_close: Vector, pairs: NDArray[np.int64]) -> Vector:
    """Total least squares slope (P,) of leg a on leg b for pairs (P, 2) of columns of log_close (T, S), on common bars."""
    moments = _moments(np.ascontiguousarray(np.asarray(log_close, np.float64).T), np.ascontiguousarray(pairs, np.int64))
    return total_least_squares(moments[:, 0], moments[:, 1], moments[:, 2])


def kalman_fit(log_a: Vector, log_b: Vector) -> KalmanFit:
    """Fit the three variances by likelihood on the whole of log_a and log_b (T,). Raises TooFewBars below 60, ConstantSeries.

    Where alpha's step takes up the spread itself (a spread with a long half-life looks like a wandering alpha), the innovations are nearly
    white and their z-score is no trading signal: compare the half-life of the fixed spread.
    """
    if len(log_a) < _BARS_MIN:
        raise TooFewBars(f"{len(log_a)} bars in which both legs traded, the filter needs at least {_BARS_MIN}")
    if not (np.ptp(log_a) > 0 and np.ptp(log_b) > 0):
        raise ConstantSeries("a leg does not move")
    centre, mean = float(log_b.mean()), float(log_a.mean())
    a, b = np.ascontiguousarray(log_a - mean), np.ascontiguousarray(log_b - centre)
    log_alpha, log_beta, value, noise = _search(a, b)
    path = _path(a, b, 10.0**log_alpha, 10.0**log_beta)
    return KalmanFit(
        centre=centre,
        noise=noise,
        alpha_step=noise * 10.0**log_alpha,
        beta_step=noise * 10.0**log_beta,
        alpha=float(path[-1, 0]) + mean,
        beta=float(path[-1, 1]),
        log_likelihood=value,
        log_likelihood_constant=_likelihood(a, b, 0.0, 0.0)[0],
    )


def kalman_path(log_a: Vector, log_b: Vector, fit: KalmanFit) -> KalmanPath:
    """Filter log_a and log_b (T,) forward with fixed variances, from an unknown start. Later bars change nothing before them."""
    mean = float(log_a[0])  # any constant: alpha's start is unknown
    path = _path(
        np.ascontiguousarray(log_a - mean), np.ascontiguousarray(log_b - fit.centre), fit.alpha_step / fit.noise, fit.beta_step / fit.noise
    )
    return KalmanPath(alpha=path[:, 0] + mean, beta=path[:, 1], innovation=path[:, 2], variance=path[:, 3] * fit.noise)


@numba.njit(cache=True, nogil=True)
def _likelihood(a: Vector, b: Vector, q_alpha: float, q_beta: float) -> tuple[float, float]:
    """Log likelihood after the first bars with R at its best value, and that R; step variances in units of R."""
    alpha = beta = cross = 0.0
    p_alpha = p_beta = _START_VARIANCE
    squares, logs = 0.0, 0.0
    for t in range(len(a)):
        p_alpha += q_alpha
        p_beta += q_beta
        gain_alpha, gain_beta = p_alpha + b[t] * cross, cross + b[t] * p_beta
        variance = gain_alpha + b[t] * gain_beta + 1.0
        error = a[t] - alpha - beta * b[t]
        alpha += gain_alpha / variance * error
        beta += gain_beta / variance * error
        p_alpha -= gain_alpha * gain_alpha / variance
        cross -= gain_alpha * gain_beta / variance
        p_beta -= gain_beta * gain_beta / variance
        if t >= _BURN_BARS:
            squares += error * error / variance
            logs += math.log(variance)
    count = len(a) - _BURN_BARS
    noise = squares / count
    if not noise > 0:
        return -math.inf, 0.0
    return -0.5 * (logs + count * (math.log(2 * math.pi * noise) + 1.0)), noise


@numba.njit(cache=True, nogil=True)
def _search(a: Vector, b: Vector) -> tuple[float, float, float, float]:
    """log10 of both step variances by R, the log likelihood and R: the best of a grid, then the best neighbour with halving steps."""
    best_alpha = best_beta = _LOG_Q_LOW
    best, best_noise = -math.inf, 0.0
    step = (_LOG_Q_HIGH - _LOG_Q_LOW) / (_GRID - 1)
    for i in range(_GRID):
        for j in range(_GRID):
            x, y = _LOG_Q_LOW + i * step, _LOG_Q_LOW + j * step
            value, noise = _likelihood(a, b, 10.0**x, 10.0**y)
            if value > best:
                best_alpha, best_beta, best, best_noise = x, y, value, noise
    for _ in range(_HALVINGS + 1):
        step *= 0.5
        moved = True
        while moved:
            moved = False
            for dx, dy in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step), (step, -step), (-step, step)):
                x, y = best_alpha + dx, best_beta + dy
                if not (_LOG_Q_LOW <= x <= _LOG_Q_HIGH and _LOG_Q_LOW <= y <= _LOG_Q_HIGH):
                    continue
                value, noise = _likelihood(a, b, 10.0**x, 10.0**y)
                if value > best + 1e-9:
                    best_alpha, best_beta, best, best_noise, moved = x, y, value, noise, True
    return best_alpha, best_beta, best, best_noise


@numba.njit(cache=True, nogil=True)
def _path(a: Vector, b: Vector, q_alpha: float, q_beta: float) -> Vector:
    """Columns alpha, beta, innovation, its variance by R, (T, 4)."""
    found = np.empty((len(a), 4))
    alpha = beta = cross = 0.0
    p_alpha = p_beta = _START_VARIANCE
    for t in range(len(a)):
        p_alpha += q_alpha
        p_beta += q_beta
        gain_alpha, gain_beta = p_alpha + b[t] * cross, cross + b[t] * p_beta
        variance = gain_alpha + b[t] * gain_beta + 1.0
        error = a[t] - alpha - beta * b[t]
        alpha += gain_alpha / variance * error
        beta += gain_beta / variance * error
        p_alpha -= gain_alpha * gain_alpha / variance
        cross -= gain_alpha * gain_beta / variance
        p_beta -= gain_beta * gain_beta / variance
        found[t] = alpha, beta, error, variance
    return found


@numba.njit(cache=True, nogil=True)
def _moments(columns: Vector, pairs: NDArray[np.int64]) -> Vector:
    """(P, 3) variances of both legs and their covariance, times the number of bars."""
    found = np.full((len(pairs), 3), np.nan)
    legs = np.empty((2, columns.shape[1]))
    for p in range(len(pairs)):
        n = common_bars(columns[pairs[p, 0]], columns[pairs[p, 1]], legs)
        if n < 3:
            continue
        a, b = legs[0, :n] - legs[0, :n].mean(), legs[1, :n] - legs[1, :n].mean()
        found[p, 0], found[p, 1], found[p, 2] = dot(a, a), dot(b, b), dot(a, b)
    return found
