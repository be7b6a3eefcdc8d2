"""Compiled log densities of the standardised shocks (mean 0, variance 1) with their exact derivatives: normal, Student-t, skewed t.

Each takes a series (T,) and its variances (T,), writes the derivative of each value's log density by the log of its variance into `score`
(T,), and returns the sum of the log densities and the derivatives of that sum by the shape parameters. `scratch` (T,) is overwritten.
Formulas: Bollerslev (1987); Hansen (1994), "Autoregressive conditional density estimation", in the parametrisation of `arch`.
Called by quant/garch_likelihood.py; quantiles and moments of the same distributions are in quant/garch_forecast.py.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_DIGAMMA_SERIES_FROM = 8.0  # from here the series below is exact to 1e-14


@numba.njit(cache=True, error_model="numpy")
def digamma(x: float) -> float:
    """Derivative of log gamma, x above 0: recurrence up to 8, then the asymptotic series (Abramowitz and Stegun 6.3.18)."""
    shift = 0.0
    while x < _DIGAMMA_SERIES_FROM:
        shift -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * (691 / 32760 - y / 12))))))
    return shift + math.log(x) - 0.5 / x - series


@numba.njit(cache=True, error_model="numpy")
def log_norm(nu: float) -> float:
    """Log of the density at 0 of the unit-variance Student-t."""
    return math.lgamma(0.5 * (nu + 1)) - math.lgamma(0.5 * nu) - 0.5 * math.log(math.pi * (nu - 2))


@numba.njit(cache=True, error_model="numpy")
def log_norm_by_nu(nu: float) -> float:
    """Derivative of log_norm."""
    return 0.5 * (digamma(0.5 * (nu + 1)) - digamma(0.5 * nu) - 1 / (nu - 2))


@numba.njit(cache=True, error_model="numpy")
def sum_of_logs(values: Vector) -> float:
    """Sum of the logarithms of values (T,) above 0: one logarithm for eight, as theirs is the largest cost of a likelihood."""
    total, count = 0.0, len(values)
    whole = count - count % 8
    for t in range(0, whole, 8):
        left = (values[t] * values[t + 1]) * (values[t + 2] * values[t + 3])
        right = (values[t + 4] * values[t + 5]) * (values[t + 6] * values[t + 7])
        total += math.log(left * right)
    for t in range(whole, count):
        total += math.log(values[t])
    return total


@numba.njit(cache=True, error_model="numpy")
def ordered_sum(values: Vector, count: int) -> float:
    """Sum of the first `count` values in four interleaved parts: fast, and the same in every copy that a compiler makes of it."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = count - count % 4
    for t in range(0, whole, 4):
        a += values[t]
        b += values[t + 1]
        c += values[t + 2]
        d += values[t + 3]
    for t in range(whole, count):
        a += values[t]
    return (a + b) + (c + d)


@numba.njit(cache=True, error_model="numpy")
def normal(series: Vector, variance: Vector, score: Vector) -> float:
    """Log likelihood of standard normal shocks."""
    total = 0.0
    for t in range(len(series)):
        square = series[t] * series[t] / variance[t]
        total += square
        score[t] = 0.5 * (square - 1.0)
    return -0.5 * (len(series) * math.log(2 * math.pi) + sum_of_logs(variance) + total)


@numba.njit(cache=True, error_model="numpy")
def student(series: Vector, variance: Vector, nu: float, score: Vector, scratch: Vector) -> tuple[float, float]:
    """Log likelihood of unit-variance Student-t shocks, and its derivative by nu."""
    count = len(series)
    per_square, half = 1.0 / (nu - 2), 0.5 * (nu + 1)
    for t in range(count):  # no sum inside: each value by itself, so that the loop runs in vector registers
        ratio = series[t] * series[t] * per_square / variance[t]
        scratch[t] = 1.0 + ratio
        score[t] = ratio / scratch[t]
    shares = ordered_sum(score, count)
    for t in range(count):
        score[t] = half * score[t] - 0.5
    logs = sum_of_logs(scratch)
    value = count * log_norm(nu) - 0.5 * sum_of_logs(variance) - half * logs
    return value, count * log_norm_by_nu(nu) - 0.5 * logs + half * per_square * shares


@numba.njit(cache=True, error_model="numpy")
def skewed_constants(nu: float, skew: float) -> tuple[float, float]:
    """Hansen's a and b: they give the shocks mean 0 and variance 1."""
    a = 4 * skew * math.exp(log_norm(nu)) * (nu - 2) / (nu - 1)
    return a, math.sqrt(1 + 3 * skew * skew - a * a)


@numba.njit(cache=True, error_model="numpy")
def skewed(series: Vector, variance: Vector, shape: tuple[float, float], score: Vector, scratch: Vector) -> tuple[float, float, float]:
    """Log likelihood of Hansen's skewed t of shape (nu, skew), and its derivatives by both."""
    count, (nu, skew) = len(series), shape
    a, b = skewed_constants(nu, skew)
    density, slope = math.exp(log_norm(nu)), log_norm_by_nu(nu)
    a_nu = 4 * skew * density * (slope * (nu - 2) / (nu - 1) + 1 / ((nu - 1) * (nu - 1)))
    a_skew = 4 * density * (nu - 2) / (nu - 1)
    b_nu, b_skew = -a * a_nu / b, (3 * skew - a * a_skew) / b
    per_square, edge = 1.0 / (nu - 2), -a / b
    left, right = 1 / (1 - skew), 1 / (1 + skew)
    shares, by_nu, by_skew = 0.0, 0.0, 0.0
    for t in range(count):
        shock = series[t] / math.sqrt(variance[t])
        below = shock < edge
        inverse = left if below else right  # 1 / (1 + sign * skew)
        folded = (b * shock + a) * inverse
        ratio = folded * folded * per_square
        share = ratio / (1.0 + ratio)
        pull = (nu + 1) * folded * per_square / (1.0 + ratio)  # minus the derivative of the log density by `folded`
        scratch[t] = 1.0 + ratio
        score[t] = 0.5 * pull * b * inverse * shock - 0.5
        shares += share
        by_nu += pull * (b_nu * shock + a_nu) * inverse
        by_skew += pull * ((b_skew * shock + a_skew) * inverse + (folded * inverse if below else -folded * inverse))
    logs = sum_of_logs(scratch)
    value = count * (math.log(b) + log_norm(nu)) - 0.5 * sum_of_logs(variance) - 0.5 * (nu + 1) * logs
    d_nu = count * (b_nu / b + slope) - 0.5 * logs + 0.5 * (nu + 1) * per_square * shares - by_nu
    return value, d_nu, count * b_skew / b - by_skew
