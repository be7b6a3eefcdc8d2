"""GARCH(1,1) with Student-t innovations: variance recursion, likelihood with gradient, fit. For series at unit variance.

    variance[t] = omega + alpha * x[t-1]^2 + beta * variance[t-1]        (Bollerslev 1986, 1987)

Fitting only; serving runs the one-step form in quant/features.py, which a test holds to `variance_path`.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tandem.quant.rejections import ConstantSeries, FitRejected, NotConverged, NotStationary, TooFewBars
from tandem.quant.volatility import Kind, Shocks, Volatility

__all__ = [
    "PERSISTENCE_MAX",
    "ConstantSeries",
    "FitRejected",
    "NotConverged",
    "NotStationary",
    "TooFewBars",
    "backcast",
    "fit",
    "log_likelihood",
    "variance_path",
]

Vector = NDArray[np.float64]

PERSISTENCE_MAX = 0.9995  # alpha + beta: half-life of a shock of 1,400 bars; beyond it the fit has no level to return to
_NU_MIN, _NU_MAX = 2.05, 500.0  # the bounds of the reference implementation; above 500 it is the normal distribution
_OMEGA_MIN = 1e-8
_BARS_MIN = 100  # below this the four parameters are noise
_BACKCAST_BARS, _BACKCAST_DECAY = 75, 0.94
_STARTS = tuple((alpha, persistence) for persistence in (0.5, 0.9, 0.98) for alpha in (0.03, 0.1, 0.2))


@numba.njit(cache=True)
def _recursion(squares: Vector, omega: float, alpha: float, beta: float, start: float) -> tuple[Vector, Vector]:
    """Variance (T,) and its derivatives (T, 3) by omega, alpha, beta. Before the first value stand square and variance `start`."""
    count = len(squares)
    variance = np.empty(count)
    slope = np.empty((count, 3))
    last_square, last_variance = start, start
    d_omega, d_alpha, d_beta = 0.0, 0.0, 0.0
    for t in range(count):
        d_omega = 1.0 + beta * d_omega
        d_alpha = last_square + beta * d_alpha
        d_beta = last_variance + beta * d_beta
        last_variance = omega + alpha * last_square + beta * last_variance
        variance[t] = last_variance
        slope[t, 0], slope[t, 1], slope[t, 2] = d_omega, d_alpha, d_beta
        last_square = squares[t]
    return variance, slope


def backcast(series: Vector) -> float:
    """The variance before the first value: squares of the first 75, weighted by .94 to the power of their place (as in `arch`)."""
    count = min(_BACKCAST_BARS, len(series))
    weights = _BACKCAST_DECAY ** np.arange(count)
    return float(weights @ series[:count] ** 2 / weights.sum())


def variance_path(series: Vector, parameters: Volatility) -> Vector:
    """Conditional variance (T,) of a series (T,) at unit scale: result[t] is known before series[t]. Starts at the backcast."""
    variance, _ = _recursion(series**2, parameters.omega, parameters.alpha, parameters.beta, backcast(series))
    return variance


def log_likelihood(series: Vector, parameters: Volatility) -> float:
    """Log likelihood of a series (T,) at unit scale, standardised Student-t."""
    vector = np.array([parameters.omega, parameters.alpha, parameters.beta, parameters.nu])
    value, _ = _negative_log_likelihood(vector, series**2, backcast(series))
    return -value


def fit(series: Vector) -> Volatility:
    """Maximum likelihood fit of a series (T,) with mean zero, any scale: it is divided by its standard deviation first.

    Raises TooFewBars below 100 values, ConstantSeries when it does not move, NotConverged when no start of the optimiser ends in a maximum.
    alpha + beta is held at or below PERSISTENCE_MAX.
    """
    if len(series) < _BARS_MIN:
        raise TooFewBars(f"{len(series)} innovations, GARCH needs at least {_BARS_MIN}")
    scale = float(series.std())
    if not scale > 0 or np.count_nonzero(series) < len(series) // 2:
        raise ConstantSeries(f"standard deviation {scale}, {np.count_nonzero(series)} of {len(series)} innovations differ from 0")
    unit = series / scale
    best = _maximise(unit**2, backcast(unit))
    omega, alpha, beta, nu = best.tolist()
    return Volatility(
        kind=Kind.GARCH, shocks=Shocks.STUDENT_T, omega=omega, alpha=alpha, gamma=0.0, beta=beta, nu=nu, skew=None, scale=scale
    )


def _maximise(squares: Vector, start: float) -> Vector:
    bounds = [(_OMEGA_MIN, 10.0), (0.0, 1.0), (0.0, 1.0), (_NU_MIN, _NU_MAX)]
    stationary = {"type": "ineq", "fun": lambda p: PERSISTENCE_MAX - p[1] - p[2], "jac": lambda _: np.array([0.0, -1.0, -1.0, 0.0])}
    guesses = [np.array([1 - persistence, alpha, persistence - alpha, 6.0]) for alpha, persistence in _STARTS]
    guesses.sort(key=lambda guess: _negative_log_likelihood(guess, squares, start)[0])
    best, best_value = None, math.inf
    for guess in guesses[:3]:  # the likelihood may have two peaks, one of them at alpha = 0
        found = optimize.minimize(
            _scaled_objective,
            guess,
            args=(squares, start),
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=[stationary],
            options={"ftol": 1e-12, "maxiter": 500},
        )
        # Within rounding of the constraint: SLSQP may end a hair outside it.
        inside = found.x[1] + found.x[2] <= PERSISTENCE_MAX + 1e-9 and np.isfinite(found.x).all()
        if found.success and inside and found.fun < best_value:
            best, best_value = found.x, found.fun
    if best is None:
        raise NotConverged(f"no start of {len(guesses[:3])} ended in a maximum of the likelihood")
    low, high = np.array(bounds).T
    return np.clip(best, low, high)


def _scaled_objective(vector: Vector, squares: Vector, start: float) -> tuple[float, Vector]:
    """Per value, so that the optimiser's tolerances do not depend on the length."""
    value, gradient = _negative_log_likelihood(vector, squares, start)
    return value / len(squares), gradient / len(squares)


def _negative_log_likelihood(vector: Vector, squares: Vector, start: float) -> tuple[float, Vector]:
    """Value and gradient (4,) by omega, alpha, beta, nu."""
    omega, alpha, beta, nu = vector.tolist()
    variance, slope = _recursion(squares, omega, alpha, beta, start)
    ratio = squares / (variance * (nu - 2))
    logs = np.log1p(ratio)
    count = len(squares)
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * math.log(math.pi * (nu - 2))
    value = count * constant - 0.5 * float(np.log(variance).sum()) - 0.5 * (nu + 1) * float(logs.sum())
    by_variance = (-0.5 + 0.5 * (nu + 1) * ratio / (1 + ratio)) / variance
    by_nu = 0.5 * count * (special.digamma((nu + 1) / 2) - special.digamma(nu / 2) - 1 / (nu - 2))
    by_nu += -0.5 * float(logs.sum()) + 0.5 * (nu + 1) / (nu - 2) * float((ratio / (1 + ratio)).sum())
    return -value, -np.append(slope.T @ by_variance, by_nu)
