"""The distributions of the standardised shocks (mean 0, variance 1): quantiles, probabilities, tail moments, draws.

For value at risk, expected shortfall and horizons. Formulas: Hansen (1994) for the skewed t; partial moments of Student's t in closed form.
Densities for fitting are in quant/garch_shocks.py.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tandem.quant.garch_shocks import skewed_constants
from tandem.quant.volatility import Volatility

Vector = NDArray[np.float64]


def quantile(volatility: Volatility, level: float | Vector) -> float | Vector:
    """The shock that is not exceeded with probability `level` in (0, 1), any shape. Times the root of the variance: value at risk."""
    level = np.asarray(level, dtype=np.float64)
    if not ((level > 0) & (level < 1)).all():
        raise ValueError(f"level {level}, must lie between 0 and 1")
    if volatility.nu is None:
        found = special.ndtri(level)
    elif volatility.skew is None:
        found = _unit(volatility.nu) * special.stdtrit(volatility.nu, level)
    else:
        a, b = skewed_constants(volatility.nu, volatility.skew)
        side, below = _side(volatility.skew, level < (1 - volatility.skew) / 2)
        inner = np.where(below, level / side, 0.5 + (level - (1 - volatility.skew) / 2) / side)
        found = (side * _unit(volatility.nu) * special.stdtrit(volatility.nu, inner) - a) / b
    return float(found) if found.ndim == 0 else found


def probability(volatility: Volatility, shock: float | Vector) -> float | Vector:
    """The probability that a shock is not above this one, scalar or any shape: the inverse of `quantile`."""
    shock = np.asarray(shock, dtype=np.float64)
    if volatility.nu is None:
        found = special.ndtr(shock)
    elif volatility.skew is None:
        found = special.stdtr(volatility.nu, shock / _unit(volatility.nu))
    else:
        a, b = skewed_constants(volatility.nu, volatility.skew)
        side, below = _side(volatility.skew, shock < -a / b)
        inner = special.stdtr(volatility.nu, (b * shock + a) / side / _unit(volatility.nu))
        found = np.where(below, side * inner, (1 - volatility.skew) / 2 + side * (inner - 0.5))
    return float(found) if found.ndim == 0 else found


def tail_mean(volatility: Volatility, level: float) -> float:
    """Mean of the shocks below the quantile at `level`: times the root of the variance, the expected shortfall."""
    return _partial_moments(volatility, float(quantile(volatility, level)))[0] / level


def square_below_zero(volatility: Volatility) -> float:
    """Mean of shock^2 [shock < 0]: the part of gamma that gjr keeps for the next bar; 1/2 for symmetric shocks."""
    if not volatility.skew:
        return 0.5
    return _partial_moments(volatility, 0.0)[1]


def draws(volatility: Volatility, shape: tuple[int, ...], rng: np.random.Generator) -> Vector:
    """Random shocks of this shape."""
    if volatility.nu is None:
        return rng.standard_normal(shape)
    if volatility.skew is None:
        return rng.standard_t(volatility.nu, shape) * _unit(volatility.nu)
    return np.asarray(quantile(volatility, np.clip(rng.random(shape), 1e-15, 1 - 1e-15)))


def _unit(nu: float) -> float:
    """Standard deviation of the unit-variance t over that of the plain one."""
    return math.sqrt((nu - 2) / nu)


def _side(skew: float, below: NDArray[np.bool_]) -> tuple[Vector, NDArray[np.bool_]]:
    return np.where(below, 1 - skew, 1 + skew), below


def _partial_moments(volatility: Volatility, bound: float) -> tuple[float, float]:
    """Means of shock [shock < bound] and shock^2 [shock < bound]."""
    nu = volatility.nu
    if nu is None:
        density = math.exp(-0.5 * bound * bound) / math.sqrt(2 * math.pi)
        return -density, float(special.ndtr(bound)) - bound * density
    if volatility.skew is None:
        _, first, second = _student_moments(nu, bound)
        return first, second
    a, b = skewed_constants(nu, volatility.skew)
    first = second = 0.0
    # Left of -a/b the shock is (side y - a) / b of a symmetric y below 0 with weight `side`; right of it the same with the other side.
    for side, low, high in ((1 - volatility.skew, -math.inf, 0.0), (1 + volatility.skew, 0.0, math.inf)):
        edge = min(max((b * bound + a) / side, low), high)
        upper, lower = _student_moments(nu, edge), _student_moments(nu, low)
        zero, one, two = (x - y for x, y in zip(upper, lower, strict=True))
        first += side * (side * one - a * zero) / b
        second += side * (side * side * two - 2 * a * side * one + a * a * zero) / (b * b)
    return first, second


def _student_moments(nu: float, bound: float) -> tuple[float, float, float]:
    """Means of [y < bound], y [y < bound] and y^2 [y < bound] of the unit-variance Student-t."""
    if bound == -math.inf:
        return 0.0, 0.0, 0.0
    unit = _unit(nu)
    plain = bound / unit
    below = float(special.stdtr(nu, plain))
    constant = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(nu * math.pi)
    first = -constant * nu / (nu - 1) * (1 + plain * plain / nu) ** ((1 - nu) / 2)
    second = nu * ((nu - 1) / (nu - 2) * float(special.stdtr(nu - 2, plain * math.sqrt((nu - 2) / nu))) - below)
    return below, unit * first, unit * unit * second
