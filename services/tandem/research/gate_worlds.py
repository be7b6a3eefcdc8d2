"""Worlds in which the truth is known: QLIKE differences of two versions whose mean is exactly what is asked for.

A squared innovation is the true variance times the square of a shock; each version states the true variance times exp(error). Its expected
QLIKE is then exp(v / 2 - m) + m - 1 above the best for errors of mean m and normal variance v, which can be solved for the candidate's m.
Of the two roots the lower one is dangerous: the candidate's variance is too low, so that it looks slightly better on most bars and is much
worse on a rare one. Shocks of the pairs of a sector share a common scale, so that a large one hits all. Used by rollout_gates.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.signal import lfilter

from tandem.quant.paired_qlike import small_moves

Cube = NDArray[np.float64]  # (R, N, p): replicates, bars, pairs
NORMAL = np.inf  # degrees of freedom
_SHARED = 0.3  # correlation of the shocks of two pairs
_LONG = 2_000_000  # bars on which the mean of a world without a closed form is measured
_LONG_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """What the gate would see: the candidate's QLIKE less the stable version's, and log variance ratios, both (R, N, p)."""

    differences: Cube
    ratios: Cube


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """draw(rng, replicates, bars, excess): differences whose mean is `excess`."""

    name: str
    pairs: int
    draw: Callable[[np.random.Generator, int, int, float], Draw]


def independent(*, persistence: float, dof: float, sd: float = 0.3) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """Differences that know nothing of QLIKE: excess + an autoregression of first order."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        shocks = _shocks(rng, (replicates, bars, 1), dof)
        filtered = lfilter([1.0], [1.0, -persistence], shocks, axis=1) * np.sqrt(1 - persistence**2)
        return Draw(differences=excess + sd * filtered, ratios=np.zeros(shocks.shape))

    return draw


def fixed(*, pairs: int, dof: float, stable: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """The stable version's log variance is wrong by `stable` at every bar; the candidate's is too low."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        squares = _shocks(rng, (replicates, bars, pairs), dof) ** 2
        low = too_low(above(stable, 0.0) + excess, 0.0)
        return _draw(squares, np.full(squares.shape, stable), np.full(squares.shape, low))

    return draw


def wrong(*, pairs: int, dof: float, error: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """The stable version is exact, the candidate's log variance wrong by `error` at every bar: its excess is above(error, 0)."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, _: float) -> Draw:
        squares = _shocks(rng, (replicates, bars, pairs), dof) ** 2
        return _draw(squares, np.zeros(squares.shape), np.full(squares.shape, error))

    return draw


def wandering(
    *, pairs: int, dof: float, variance: float, stable: float = 0.0, persistence: float = 0.97
) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """Both err by autoregressions of this variance, the stable version about `stable`, the candidate about a level that is too low."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        shape = (replicates, bars, pairs)
        squares = _shocks(rng, shape, dof) ** 2
        low = too_low(above(stable, variance) + excess, variance)
        errors = [middle + _autoregression(rng, shape, persistence, variance) for middle in (stable, low)]
        return _draw(squares, *errors)

    return draw


def noisier(*, pairs: int, dof: float, variance: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """Both are unbiased but for errors that wander; the candidate's wander more, or less, by what makes up the excess."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        shape = (replicates, bars, pairs)
        squares = _shocks(rng, shape, dof) ** 2
        if above(0.0, variance) + excess < 0:
            raise ValueError(f"an excess of {excess}: the stable version is only {above(0.0, variance):.4f} above the best")
        other = 2 * np.log1p(above(0.0, variance) + excess)
        return _draw(squares, *(_autoregression(rng, shape, 0.97, each) for each in (variance, other)))

    return draw


def regimes(*, pairs: int, dof: float, size: float, persistence: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """One version is too low and the other too high, in turn, in spells: each is better for weeks and neither in the long run."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        shape = (replicates, bars, pairs)
        squares = _shocks(rng, shape, dof) ** 2
        turn = _autoregression(rng, (replicates, bars, 1), persistence, 1.0) > 0
        stable = np.where(turn, too_high(size, 0.0), too_low(size, 0.0)) + np.zeros(shape)
        candidate = np.where(turn, too_low(size + excess, 0.0), too_high(size + excess, 0.0)) + np.zeros(shape)
        return _draw(squares, stable, candidate)

    return draw


def garch(*, pairs: int, dof: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """The true variance is a GARCH(1,1) (.08, .90) that the stable version knows; the candidate smooths squares (.94), set too low."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        squares, variance, smoothed = _garch_paths(rng, (replicates, bars, pairs), dof)
        candidate = np.log(smoothed / variance) + _garch_level(dof, excess)
        return _draw(squares / variance, np.zeros(squares.shape), candidate)

    return draw


def other_spread(*, pairs: int, dof: float, leak: float, leak_dof: float) -> Callable[[np.random.Generator, int, int, float], Draw]:
    """The candidate's spread lets a shock of the market through that the stable version's does not: other innovations, heavier tails."""

    def draw(rng: np.random.Generator, replicates: int, bars: int, excess: float) -> Draw:
        own = _shocks(rng, (replicates, bars, pairs), dof)
        leaked = own + leak * _shocks(rng, (replicates, bars, 1), leak_dof)
        level = too_low(excess - _leak_gain(dof, leak, leak_dof), 0.0)
        stable, candidate = own**2, leaked**2 / ((1 + leak**2) * np.exp(level))
        lifts = [_by_pair(small_moves, squares) for squares in (own**2, leaked**2)]
        differences = candidate - np.log(candidate) - lifts[1] - (stable - np.log(stable) - lifts[0])
        return Draw(differences=differences, ratios=np.full(own.shape, level))

    return draw


def above(level: float, variance: float) -> float:
    """Expected QLIKE above the best of log errors with this mean and normal variance."""
    return float(np.exp(variance / 2 - level) + level - 1)


def too_low(excess: float, variance: float) -> float:
    """The mean of log errors, below their best, at which the expected QLIKE is `excess` above the best."""
    return _root(excess, variance, -1)


def too_high(excess: float, variance: float) -> float:
    """The one above their best."""
    return _root(excess, variance, 1)


def _root(excess: float, variance: float, side: int) -> float:
    best = variance / 2
    least = above(best, variance)
    if excess < least - 1e-12:
        raise ValueError(f"an excess of {excess}: with errors of variance {variance} it is at least {least}")
    if excess <= least + 1e-12:
        return best
    return float(optimize.brentq(lambda level: above(level, variance) - excess, best, best + side * 6, xtol=1e-13))


def _draw(squares: Cube, stable: Cube, candidate: Cube) -> Draw:
    """squares: innovations over the true variance, squared. stable, candidate: errors of the log variances."""
    ratio = candidate - stable
    return Draw(differences=squares * (np.exp(-candidate) - np.exp(-stable)) + ratio, ratios=ratio)


def _shocks(rng: np.random.Generator, shape: tuple[int, ...], dof: float) -> Cube:
    """Student's t of variance 1 with a scale that all pairs of a bar share."""
    own, common = rng.standard_normal(shape), rng.standard_normal((*shape[:-1], 1))
    normal = np.sqrt(1 - _SHARED) * own + np.sqrt(_SHARED) * common
    return normal if np.isinf(dof) else normal * np.sqrt((dof - 2) / rng.chisquare(dof, (*shape[:-1], 1)))


def _autoregression(rng: np.random.Generator, shape: tuple[int, ...], persistence: float, variance: float) -> Cube:
    """Begun in its stationary law."""
    noise = rng.standard_normal(shape) * np.sqrt(variance * (1 - persistence**2))
    noise[:, 0] /= np.sqrt(1 - persistence**2)
    filtered: Cube = lfilter([1.0], [1.0, -persistence], noise, axis=1)
    return filtered


def _garch_paths(rng: np.random.Generator, shape: tuple[int, int, int], dof: float) -> tuple[Cube, Cube, Cube]:
    """Squared innovations, their variance, and what smoothing says of it; of mean variance 1, after 200 bars that are dropped."""
    before = 200
    shocks = _shocks(rng, (shape[0], shape[1] + before, shape[2]), dof)
    squares, variances, smoothed = np.empty_like(shocks), np.empty_like(shocks), np.empty_like(shocks)
    now = smooth = np.ones((shape[0], shape[2]))
    for bar in range(shocks.shape[1]):
        variances[:, bar], smoothed[:, bar] = now, smooth
        squares[:, bar] = now * shocks[:, bar] ** 2
        now = 0.02 + 0.08 * squares[:, bar] + 0.90 * now
        smooth = 0.94 * smooth + 0.06 * squares[:, bar]
    return squares[:, before:], variances[:, before:], smoothed[:, before:]


@lru_cache(maxsize=32)
def _garch_level(dof: float, excess: float) -> float:
    """How much lower than smoothed the candidate's log variance is for this excess, measured on a long path."""
    _, variance, smoothed = _garch_paths(np.random.default_rng(_LONG_SEED), (_LONG // 2_000, 2_000, 1), dof)
    error = np.log(smoothed / variance)
    scale, shift = float(np.mean(np.exp(-error))), float(np.mean(error))  # the shocks' mean square is 1 and independent of both
    best = np.log(scale)
    return float(optimize.brentq(lambda level: scale * np.exp(-level) + level + shift - 1 - excess, best - 6, best))


@lru_cache(maxsize=32)
def _leak_gain(dof: float, leak: float, leak_dof: float) -> float:
    """Expected difference of an unbiased candidate on its own spread, measured on a long path: both are right, yet not alike in law."""
    rng = np.random.default_rng(_LONG_SEED)
    own = _shocks(rng, (_LONG, 1), dof)
    leaked = (own + leak * _shocks(rng, (_LONG, 1), leak_dof)) / np.sqrt(1 + leak**2)
    lifted = [np.log(squares) + small_moves(squares) for squares in (own**2, leaked**2)]
    return float(np.mean(lifted[0] - lifted[1]))


def _by_pair(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], cube: Cube) -> Cube:
    """A function of (n, p) for each replicate."""
    replicates, bars, pairs = cube.shape
    flat = function(np.ascontiguousarray(np.moveaxis(cube, 1, 0)).reshape(bars, replicates * pairs))
    return np.moveaxis(flat.reshape(bars, replicates, pairs), 0, 1)
