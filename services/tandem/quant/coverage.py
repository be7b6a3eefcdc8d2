"""Are forecasts of a distribution's tail right? Tests of value at risk and expected shortfall, and the loss that ranks quantiles.

Signs: returns, quantiles and shortfalls are signed; a loss is a negative return; a hit is a return below the quantile.
For two-sided bands (z-scores of a spread) a hit is a value outside; the same tests then hold with the probability of both sides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import xlogy

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Hits = NDArray[np.bool_]

_DQ_LAGS = 4  # of the hits, as Engle and Manganelli (2004)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageTest:
    """A test whose null says that the forecast is right. Small p: it is not."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Christoffersen:
    """Independence: a hit makes the next no likelier. Conditional: that and the right number of hits."""

    independence: CoverageTest
    conditional: CoverageTest


def hits_below(returns: Vector, quantile: Vector) -> Hits:
    """(n,) whether the return fell below its forecast quantile."""
    return returns < quantile


def kupiec(hits: Hits, level: float) -> CoverageTest:
    """Unconditional coverage: likelihood ratio of the share of hits against `level`, chi-squared with 1 degree. Kupiec (1995).

    hits: (n,). Defined for no hits and for hits only. Raises ValueError for n = 0 or a level outside (0, 1).
    """
    _check(hits, level)
    count, misses = len(hits), int(np.count_nonzero(hits))
    share = misses / count
    ratio = 2 * (_bernoulli(misses, count - misses, share) - _bernoulli(misses, count - misses, level))
    return _chi_squared(ratio, 1)


def christoffersen(hits: Hits, level: float) -> Christoffersen:
    """Independence against a first-order Markov chain (1 degree), and with Kupiec's ratio conditional coverage (2). Christoffersen (1998).

    hits: (n,) in order of time. Without two different states in a row independence cannot be refuted: statistic 0, p 1.
    """
    _check(hits, level)
    before, after = hits[:-1], hits[1:]
    n00, n01 = int(np.count_nonzero(~before & ~after)), int(np.count_nonzero(~before & after))
    n10, n11 = int(np.count_nonzero(before & ~after)), int(np.count_nonzero(before & after))
    after_miss, after_hit = n01 / max(n00 + n01, 1), n11 / max(n10 + n11, 1)
    together = (n01 + n11) / max(len(after), 1)
    ratio = _bernoulli(n01, n00, after_miss) + _bernoulli(n11, n10, after_hit) - _bernoulli(n01 + n11, n00 + n10, together)
    independence = _chi_squared(2 * ratio, 1)
    return Christoffersen(independence=independence, conditional=_chi_squared(independence.statistic + kupiec(hits, level).statistic, 2))


def dynamic_quantile(hits: Hits, level: float, quantile: Vector, *, lags: int = _DQ_LAGS) -> CoverageTest:
    """Demeaned hits are unpredictable by a constant, their own `lags` and the quantile of the day. Engle and Manganelli (2004).

    hits, quantile: (n,) in order of time. Chi-squared with as many degrees as the regressors have rank (a constant quantile adds none).
    Raises ValueError when n is below 10 + 2 lags.
    """
    _check(hits, level)
    if len(hits) < 10 + 2 * lags or len(quantile) != len(hits):
        raise ValueError(f"{len(hits)} hits and {len(quantile)} quantiles, need equally many, at least {10 + 2 * lags}")
    centred: Vector = hits - np.float64(level)
    columns: list[Vector] = [np.ones(len(hits) - lags), quantile[lags:]]
    columns += [centred[lags - lag : len(hits) - lag] for lag in range(1, lags + 1)]
    regressors = np.column_stack(columns)
    # Least squares by SVD: collinear regressors drop out instead of failing.
    coefficients, _, rank, _ = np.linalg.lstsq(regressors, centred[lags:], rcond=1e-10)
    fitted = regressors @ coefficients
    return _chi_squared(float(fitted @ fitted) / (level * (1 - level)), int(rank))


def pinball(returns: Vector, quantile: Vector, level: float) -> Vector:
    """(n,) quantile loss, at least 0; its mean is least for the true quantile. Koenker and Bassett (1978)."""
    error = returns - quantile
    return np.maximum(level * error, (level - 1) * error)


def acerbi_szekely(returns: Vector, quantile: Vector, shortfall: Vector, level: float) -> float:
    """Z2 of Acerbi and Szekely (2014), equation 6: expected 0 when quantile and shortfall are right, below 0 when losses are larger.

    returns, quantile, shortfall: (n,), shortfall below 0. Z2 = 1 - sum(hit * return / shortfall) / (n level). Raises ValueError else.
    Its 5 % critical value is -0.70 for 250 days at level 2.5 % and nearly the same for any tail; `shortfall_p_value` simulates others.
    """
    if not np.all(shortfall < 0):
        raise ValueError(f"largest shortfall {float(np.max(shortfall))}, all must be below 0")
    hit = hits_below(returns, quantile)
    return 1.0 - float(np.sum(np.where(hit, returns / shortfall, 0.0))) / (len(returns) * level)


def shortfall_p_value(statistic: float, simulated: Matrix, quantile: float, shortfall: float, level: float) -> float:
    """One-sided p of a Z2: share of simulated samples, (draws, n) standardised shocks under the forecast, with a Z2 not above it.

    quantile and shortfall: of the standardised shock. Scale drops out of Z2, so that one simulation serves all days of a location-scale
    model. Counts the sample itself once: p is never 0.
    """
    ratio = np.where(simulated < quantile, simulated / shortfall, 0.0)
    null = 1.0 - ratio.sum(axis=1) / (simulated.shape[1] * level)
    return float((1 + np.count_nonzero(null <= statistic)) / (1 + len(null)))


def _check(hits: Hits, level: float) -> None:
    if not len(hits) or not 0 < level < 1:
        raise ValueError(f"{len(hits)} hits at level {level}, need at least one and a level in (0, 1)")


def _bernoulli(successes: int, failures: int, probability: float) -> float:
    """Log likelihood; 0 log 0 is 0."""
    return float(xlogy(successes, probability) + xlogy(failures, 1 - probability))


def _chi_squared(statistic: float, degrees: int) -> CoverageTest:
    statistic = max(statistic, 0.0)  # a likelihood ratio is not below 0 but for rounding
    return CoverageTest(statistic=statistic, p_value=float(stats.chi2.sf(statistic, degrees)))
