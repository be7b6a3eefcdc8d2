"""An anytime-valid test of a mean: its p-value may be looked at after every value, and acted on at the first that is small enough.

The boundary is Robbins' mixture for a Brownian motion that is watched from `start` values on (Robbins and Siegmund 1970), which sums of
values with a finite variance approach (their invariance theorem; asymptotic, say Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024).
What is divided by is chosen for values that do not wait for the limit: loss differences are skewed, have heavy tails and come in few. How
often the test then errs is simulated by research/rollout_gates.py. Called by rollout/promotion.py.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Vector = NDArray[np.float64]

# The variance of gains is taken to be at least this many times the square of their mean size: it is pi / 2 for normal gains, 2 for gains of
# two exponential sides. More, because the rare large loss of a heavy tail is most often one that has not been seen yet.
TAIL_RATIO = 4.0
_PERSISTENCE_MAX = 0.9  # of the first-order autocorrelation that is made up for: above, a few hundred values do not show it
_NEWTON_STEPS = 60  # about ten are needed; the bound ends the loop where rounding keeps the steps from vanishing
_LEVEL_MAX = 37.0  # standard deviations: beyond, the normal density underflows
_ROUNDING = 1e-12  # of the sum of squares: a spread about the mean below it is what rounding left
_LEVEL_MIN = -37.0  # standard deviations: below, the normal distribution function underflows
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def anytime_p(gains: Vector, *, start: int, tail_variance: Vector | None = None) -> Vector:
    """p-value after each of the gains that their mean is not above 0: small when it is above. It never rises; 1 before `start` gains.

    gains, tail_variance: (..., T) in order of time; see `prefix_statistic`. Rejecting where it is first below a level errs with the
    probability of that level, over all T together.
    """
    best = best_evidence(prefix_statistic(gains, tail_variance=tail_variance), start=start)
    known = np.isfinite(best)
    p_values = np.ones(gains.shape)
    p_values[known] = crossing_probability(level_of(best[known]))
    return p_values


def best_evidence(statistic: Vector, *, start: int) -> Vector:
    """The most evidence so far, (..., T), on the scale of `evidence` at `start`; minus infinity before. statistic: of each prefix."""
    count = np.arange(1, statistic.shape[-1] + 1)
    scaled = evidence(statistic) - 0.5 * np.log(count / start)
    return np.maximum.accumulate(np.where(count >= start, scaled, -np.inf), axis=-1)


def crossing_probability(level: Vector) -> Vector:
    """How likely a Brownian motion without drift ever crosses the boundary that stands `level` standard deviations high at `start`.

    1 - F(a) + f(a) (a + f(a) / F(a)): Robbins and Siegmund (1970), theorem 1, for the mixture that weighs all drifts above 0 alike, whose
    boundary at t times `start` is where `evidence` has risen by log(t) / 2.
    """
    density = np.exp(-0.5 * level**2 - _LOG_SQRT_2PI)
    return np.clip(special.ndtr(-level) + density * (level + _mills(level)), 0.0, 1.0)


def evidence(statistic: Vector) -> Vector:
    """log of the mixture's likelihood ratio but for its constant, x^2 / 2 + log F(x), of a sum x standard deviations above 0."""
    return 0.5 * statistic**2 + special.log_ndtr(statistic)


def level_of(target: Vector) -> Vector:
    """The inverse of `evidence`, which rises and is convex: Newton's method, begun above the root, comes down to it."""
    level = np.sqrt(2 * np.maximum(target, 0.0)) + 2.0
    for _ in range(_NEWTON_STEPS):
        step = (evidence(level) - target) / (level + _mills(level))
        level = np.maximum(level - step, _LEVEL_MIN)
        if np.max(np.abs(step), initial=0.0) < 1e-12:
            break
    return level


def prefix_statistic(gains: Vector, *, tail_variance: Vector | None = None) -> Vector:
    """The sum of the gains so far, less one more loss as large as the largest, over its standard deviation: after each, (..., T).

    The variance is the largest of
    - the sum of squares about 0, the mean under the null, with that one more loss in it, times `long_run_share`;
    - TAIL_RATIO / n times the squared sum of absolute gains;
    - the sum of tail_variance (..., T), what the caller knows of the variance that has not shown itself yet.
    0 while the gains have no spread. Depends on each prefix alone: more gains change nothing before them.
    """
    count = np.arange(1, gains.shape[-1] + 1, dtype=np.float64)
    total, squares = np.cumsum(gains, axis=-1), np.cumsum(gains**2, axis=-1)
    worst = np.maximum.accumulate(np.maximum(-gains, 0.0), axis=-1)
    variance = (squares + worst**2) * long_run_share(gains)
    variance = np.maximum(variance, TAIL_RATIO / count * np.cumsum(np.abs(gains), axis=-1) ** 2)
    if tail_variance is not None:
        variance = np.maximum(variance, np.cumsum(tail_variance, axis=-1))
    return np.divide(total - worst, np.sqrt(variance), out=np.zeros(gains.shape), where=variance > 0)


def long_run_share(values: Vector) -> Vector:
    """Long-run variance over variance of each prefix, (..., T), at least 1: what autocorrelation adds to the variance of a sum.

    The larger of Newey and West's and that of a first-order autoregression, (1 + r) / (1 - r), to which the former's few lags are blind.
    """
    correlations = _correlations(values)
    first = np.clip(correlations[0], 0.0, _PERSISTENCE_MAX) if correlations else np.zeros(values.shape)
    return np.maximum(np.maximum(_bartlett(values, correlations), (1 + first) / (1 - first)), 1.0)


def newey_west_share(values: Vector) -> Vector:
    """The same by Newey and West (1987) alone, with their bandwidth of 1994 for the prefix's length. May be below 1."""
    return _bartlett(values, _correlations(values))


def start_level(probability: float) -> float:
    """The height of the boundary at `start`, in standard deviations, that is crossed with this probability; 2.50 for 5 %."""
    return float(optimize.brentq(lambda level: float(crossing_probability(np.array(level))) - probability, -10.0, _LEVEL_MAX, xtol=1e-12))


def _bandwidth(size: int) -> Vector:
    """Of each prefix: floor(4 (T / 100)^(2/9))."""
    return np.floor(4 * (np.arange(1, size + 1) / 100) ** (2 / 9))


def _bartlett(values: Vector, correlations: list[Vector]) -> Vector:
    bandwidth = _bandwidth(values.shape[-1])
    share = np.ones(values.shape)
    for lag, correlation in enumerate(correlations, start=1):
        share += 2 * np.maximum(0.0, 1 - lag / (bandwidth + 1)) * correlation
    return share


def _correlations(values: Vector) -> list[Vector]:
    """Autocorrelation of each prefix about its mean at the lags 1, 2, ... of the longest bandwidth; 0 where only rounding moves it."""
    size = values.shape[-1]
    count = np.arange(1, size + 1, dtype=np.float64)
    total, squares = np.cumsum(values, axis=-1), np.cumsum(values**2, axis=-1)
    mean = total / count
    centred = squares - count * mean**2
    scale = np.divide(1.0, centred, out=np.zeros(values.shape), where=centred > _ROUNDING * squares)
    found = []
    for lag in range(1, min(int(_bandwidth(size).max(initial=0)), size - 1) + 1):
        products = np.cumsum(values[..., lag:] * values[..., :-lag], axis=-1)
        ends = total[..., :-lag] + total[..., lag:] - total[..., lag - 1 : lag]  # all but the newest `lag`, and all but the oldest
        later = mean[..., lag:]
        correlation = np.zeros(values.shape)
        correlation[..., lag:] = (products - later * (ends - (count[lag:] - lag) * later)) * scale[..., lag:]
        found.append(correlation)
    return found


def _mills(level: Vector) -> Vector:
    """f(x) / F(x) of the normal distribution."""
    return np.exp(-0.5 * level**2 - _LOG_SQRT_2PI - special.log_ndtr(level))
