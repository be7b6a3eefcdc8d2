"""Augmented Dickey-Fuller tests, compiled; equal to statsmodels' `adfuller`.

statsmodels fits one regression by singular values for each candidate number of lags. Here all candidates share one Gram matrix: its rows
are shifted copies of each other, so that each entry follows from its neighbour by adding one product and taking one away, and one Cholesky
factor holds the residual sums of all nested regressions. Called by engle_granger.py for residuals, and for single series.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from statsmodels.tsa import adfvalues
from statsmodels.tsa.stattools import adfuller

Vector = NDArray[np.float64]
Gram = tuple[Vector, Vector, Vector]  # products (m + 2, m + 2), sums (m + 2,), room to factor (m + 2, m + 2)

UNSTABLE = -2  # instead of a lag: differences so collinear that the Gram matrix has lost its digits; regression by singular values decides
_SINGULAR = 1e-9  # of a Cholesky pivot relative to its diagonal: half of the digits are gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Adf:
    """One augmented Dickey-Fuller test."""

    statistic: float
    p_value: float
    lag: int


def schwert_lags(bars: int, lags_max: int | None = None) -> int:
    """The largest number of lags that is tried: 12 (T / 100)^(1/4) rounded up, Schwert (1989), at most lags_max and T / 2 - 1."""
    return int(lags_of(bars, -1 if lags_max is None else lags_max))


def mackinnon_p(statistic: Vector, *, series: int) -> Vector:
    """p-values of statistics (n,) with a constant: 1 series is Dickey-Fuller, 2 are Engle-Granger. MacKinnon (1994, 2010), -inf gives 0."""
    place = series - 1
    largest, smallest, star = adfvalues.tau_max_c[place], adfvalues.tau_min_c[place], adfvalues.tau_star_c[place]
    inside = np.clip(np.nan_to_num(statistic, nan=0.0, neginf=smallest), smallest, largest)
    low = np.polynomial.polynomial.polyval(inside, adfvalues.tau_c_smallp[place])
    high = np.polynomial.polynomial.polyval(inside, adfvalues.tau_c_largep[place])
    p_value: Vector = ndtr(np.where(inside <= star, low, high))
    p_value[statistic > largest] = 1.0
    p_value[statistic < smallest] = 0.0
    p_value[np.isnan(statistic)] = np.nan
    return p_value


def adf(series: Vector, *, lags_max: int | None = None) -> Adf:
    """Augmented Dickey-Fuller with a constant, lags by AIC, of a series (T,), T from 40: adfuller(series, regression="c", autolag="AIC").

    The same lags are allowed as for Engle-Granger of T bars. NaN for a constant series.
    """
    lags_max = schwert_lags(len(series), lags_max)
    residual = np.ascontiguousarray(series - series.mean())
    if not residual.any():
        return Adf(statistic=math.nan, p_value=math.nan, lag=0)
    _, statistic, _, lag = dickey_fuller(residual, lags_max, False, empty_gram(lags_max), np.empty(len(residual)))
    if lag == UNSTABLE:
        statistic, _, lag = adfuller(series, maxlag=lags_max, regression="c", autolag="AIC", result_object=False)[:3]
    return Adf(statistic=float(statistic), p_value=float(mackinnon_p(np.array([statistic]), series=1)[0]), lag=int(lag))


@numba.njit(cache=True)
def empty_gram(lags: int) -> Gram:
    """Room for the products of lags + 2 columns, their sums, and a copy to factor."""
    size = lags + 2
    return np.empty((size, size)), np.empty(size), np.empty((size, size))


@numba.njit(cache=True)
def dot(x: Vector, y: Vector) -> float:
    """Sum of products of x (n,) and y (n,)."""
    total = 0.0
    for t in range(len(x)):
        total += x[t] * y[t]
    return total


@numba.njit(cache=True)
def _gram(e: Vector, d: Vector, gram: Gram, lags: int) -> None:
    """Products over rows t = lags..N-1 of the columns: 0 level e[t], j = 1..lags difference d[t-j], lags + 1 the explained d[t]."""
    G, sums, _ = gram
    N, y = len(d), lags + 1
    level = e[lags:N]
    G[0, 0], sums[0] = dot(level, level), level.sum()
    sums[y] = d[lags:N].sum()
    G[y, 0] = G[0, y] = dot(level, d[lags:N])
    last = sums[y]
    for j in range(1, lags + 1):
        G[j, 0] = G[0, j] = dot(level, d[lags - j : N - j])
        last += d[lags - j] - d[N - j]
        sums[j] = last
    for k in range(lags + 1):  # offset between two columns; lag 0 is the explained one
        value = dot(d[lags:N], d[lags - k : N - k])
        for i in range(lags + 1 - k):
            if i > 0:
                value += d[lags - i] * d[lags - i - k] - d[N - i] * d[N - i - k]
            row, column = (y if i == 0 else i), (y if i + k == 0 else i + k)
            G[row, column] = G[column, row] = value


@numba.njit(cache=True)
def _factor(A: Vector, size: int) -> bool:
    """Cholesky factor of the first `size` rows in place (lower part), the last row without its pivot. False when a pivot vanishes."""
    for i in range(size):
        for j in range(i):
            value = A[i, j]
            for k in range(j):
                value -= A[i, k] * A[j, k]
            A[i, j] = value / A[j, j]
        diagonal = A[i, i]
        value = diagonal
        for k in range(i):
            value -= A[i, k] * A[i, k]
        if i == size - 1:
            A[i, i] = value  # the residual sum of squares
        elif value <= _SINGULAR * diagonal:
            return False
        else:
            A[i, i] = math.sqrt(value)
    return True


@numba.njit(cache=True)
def _best_lag(gram: Gram, lags: int, rows: int, centred: bool) -> int:
    """The number of lags with the smallest AIC, all on the same rows."""
    (G, sums, A), size = gram, lags + 2
    for i in range(size):
        for j in range(i + 1):
            A[i, j] = G[i, j] - sums[i] * sums[j] / rows if centred else G[i, j]
    total = A[size - 1, size - 1]
    if not _factor(A, size):
        return UNSTABLE
    best, best_aic, left = 0, math.inf, total
    for lag in range(lags + 1):
        left -= A[size - 1, lag] ** 2
        if left <= _SINGULAR * total:
            return UNSTABLE
        aic = rows * math.log(left) + 2.0 * lag
        if aic < best_aic:
            best, best_aic = lag, aic
    return best


@numba.njit(cache=True)
def _statistic(series: tuple[Vector, Vector], gram: Gram, lags: int, lag: int, centred: bool) -> float:
    """t of the level with `lag` lags on all rows that they allow: those of the Gram matrix and the ones before."""
    (e, d), (G, sums, A) = series, gram
    N, size = len(d), lag + 2
    rows = N - lag
    place = np.empty(size, np.int64)  # columns in the order lags, level, explained: the level's t then stands in the factor
    for j in range(lag):
        place[j] = j + 1
    place[lag], place[lag + 1] = 0, lags + 1
    row, total = np.empty(size), np.empty(size)
    for i in range(size):
        total[i] = sums[place[i]]
        for j in range(i + 1):
            A[i, j] = G[place[i], place[j]]
    for t in range(lag, lags):
        for j in range(lag):
            row[j] = d[t - j - 1]
        row[lag], row[lag + 1] = e[t], d[t]
        for i in range(size):
            total[i] += row[i]
            for j in range(i + 1):
                A[i, j] += row[i] * row[j]
    if centred:
        for i in range(size):
            for j in range(i + 1):
                A[i, j] -= total[i] * total[j] / rows
    if not _factor(A, size):
        return math.nan
    free = rows - lag - 1 - (1 if centred else 0)
    return A[size - 1, lag] / math.sqrt(A[size - 1, size - 1] / free)


@numba.njit(cache=True)
def dickey_fuller(e: Vector, lags: int, fixed: bool, gram: Gram, room: Vector) -> tuple[float, float, int, int]:
    """Statistics of e (n,) without and with a constant, and their lags (UNSTABLE where they cannot be had from the Gram matrix).

    lags is the most that AIC chooses from or, when fixed, the number itself. gram is the room for at least as many lags, `room` for at
    least as many values: reused from call to call.
    """
    d = room[: len(e) - 1]
    for t in range(len(d)):
        d[t] = e[t + 1] - e[t]
    _gram(e, d, gram, lags)
    rows = len(d) - lags
    plain = constant = math.nan
    lag = lags if fixed else _best_lag(gram, lags, rows, False)
    if lag >= 0:
        plain = _statistic((e, d), gram, lags, lag, False)
        if math.isnan(plain):
            lag = UNSTABLE
    lag_constant = lags if fixed else _best_lag(gram, lags, rows, True)
    if lag_constant >= 0:
        constant = _statistic((e, d), gram, lags, lag_constant, True)
        if math.isnan(constant):
            lag_constant = UNSTABLE
    return plain, constant, lag, lag_constant


@numba.njit(cache=True, nogil=True)
def lags_of(bars: int, lags_max: int) -> int:
    """schwert_lags for compiled code; lags_max below 0 sets no bound."""
    lags = max(0, min(math.ceil(12.0 * (bars / 100.0) ** 0.25), bars // 2 - 1))
    return lags if lags_max < 0 else min(lags, lags_max)
