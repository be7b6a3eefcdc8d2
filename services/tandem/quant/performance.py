"""Statistics of a strategy's returns and trades: what it earned, how sure that is, and how much of it trying often explains.

Sharpe ratios are per period unless a name says otherwise; kurtosis is not excess (3 for a normal law). Sources: Bailey and Lopez de Prado,
"The Sharpe ratio efficient frontier", Journal of Risk 15(2), 2012 (probabilistic Sharpe ratio); the same, "The deflated Sharpe ratio",
Journal of Portfolio Management 40(5), 2014; Politis and Romano, JASA 89, 1994 (stationary bootstrap, by `arch`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tandem.domain.errors import Permanent

Vector = NDArray[np.float64]
_RETURNS_MIN = 3  # a skewness needs as many
_NO_SPREAD = 1e-15  # standard deviation below which returns are constant


class ReturnsUnusable(Permanent):
    """Too few returns, or one that is not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of n returns per period. sd: with n - 1; skew, kurtosis: with n, as the papers have them; 0 and 3 for constant returns."""

    n: int
    mean: float
    sd: float
    skew: float
    kurtosis: float

    @property
    def sharpe(self) -> float | None:
        """Mean over standard deviation per period; None for constant returns."""
        return self.mean / self.sd if self.sd > _NO_SPREAD else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of an equity curve, as a share of the peak before it; places in the curve. recovered: None while it has not.

    longest_bars: most periods between a peak and the next higher or equal value, the end of the curve included.
    """

    depth: float
    peak: int
    trough: int
    recovered: int | None
    longest_bars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A bootstrap interval of a statistic."""

    low: float
    high: float
    level: float


def moments(returns: Vector) -> Moments:
    """The moments of returns (n,). Raises ReturnsUnusable for fewer than three, or one that is not finite."""
    if len(returns) < _RETURNS_MIN or not np.isfinite(returns).all():
        raise ReturnsUnusable(
            f"{len(returns)} returns, {int(np.isfinite(returns).sum())} of them finite; at least {_RETURNS_MIN}, all finite"
        )
    mean, spread = float(returns.mean()), float(returns.std())
    skew, kurtosis = 0.0, 3.0
    if spread > _NO_SPREAD:
        scaled = (returns - mean) / spread
        skew, kurtosis = float((scaled**3).mean()), float((scaled**4).mean())
    return Moments(n=len(returns), mean=mean, sd=float(returns.std(ddof=1)), skew=skew, kurtosis=kurtosis)


def returns_of(equity: Vector) -> Vector:
    """Simple returns (n - 1,) of an equity curve (n,), which must be above 0. Raises ReturnsUnusable."""
    if len(equity) < 2 or not np.isfinite(equity).all() or (equity <= 0).any():
        raise ReturnsUnusable(f"an equity curve of {len(equity)} values: at least 2, all finite and above 0")
    return np.asarray(equity[1:] / equity[:-1] - 1)


def annual_return(returns: Vector, periods_per_year: float) -> float:
    """Compound growth a year; -1 when everything was lost."""
    growth = float(np.prod(1 + returns))
    return growth ** (periods_per_year / len(returns)) - 1 if growth > 0 else -1.0


def annual_volatility(returns: Vector, periods_per_year: float) -> float:
    """Standard deviation a year."""
    return float(returns.std(ddof=1) * math.sqrt(periods_per_year))


def annual_sharpe(returns: Vector, periods_per_year: float) -> float | None:
    """Arithmetic mean over standard deviation, a year, over a risk-free rate of 0; None for constant returns."""
    sharpe = moments(returns).sharpe
    return None if sharpe is None else sharpe * math.sqrt(periods_per_year)


def drawdowns(equity: Vector) -> Vector:
    """How far below its highest value so far the curve is, as a share of it: (n,) in [0, 1]. equity: (n,), above 0."""
    return np.asarray(1 - equity / np.maximum.accumulate(equity))


def drawdown(equity: Vector) -> Drawdown:
    """The deepest fall of the curve; of equal ones the first. A curve that never falls has depth 0 at its start."""
    below = drawdowns(equity)
    trough = int(below.argmax())
    peak = int(equity[: trough + 1].argmax())
    later = np.flatnonzero(equity[trough:] >= equity[peak])
    runs = (len(list(run)) for fallen, run in groupby(below > 0) if fallen)
    return Drawdown(
        depth=float(below[trough]),
        peak=peak,
        trough=trough,
        recovered=trough + int(later[0]) if len(later) else None,
        longest_bars=max(runs, default=0),
    )


def probabilistic_sharpe(found: Moments, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio per period is above `benchmark`, given skewness and kurtosis; None for constant returns.

    Bailey and Lopez de Prado 2012: Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)).
    """
    sharpe = found.sharpe
    if sharpe is None:
        return None
    variance = 1 - found.skew * sharpe + (found.kurtosis - 1) / 4 * sharpe**2
    # Negative only where three or four returns are no sample at all; then nothing is known.
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(found.n - 1) / math.sqrt(variance))) if variance > 0 else None


def expected_max_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio per period that the best of `trials` strategies without any skill is expected to show; 0 for one.

    variance: of the Sharpe ratios of the trials, per period. Bailey and Lopez de Prado 2014, equation 1, by extreme value theory.
    """
    if trials < 1 or variance < 0:
        raise ValueError(f"{trials} trials with variance {variance}: at least 1, and not below 0")
    if trials == 1:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - np.euler_gamma) * first + np.euler_gamma * second))


def sampling_variance(found: Moments) -> float:
    """Variance of an estimated Sharpe ratio per period whose true value is 0: what trials without skill differ by, 1 / (n - 1).

    Stands in for the variance over the trials where their Sharpe ratios are not known.
    """
    return 1 / (found.n - 1)


def deflated_sharpe(found: Moments, trials: int, variance: float) -> float | None:
    """Probability that the true Sharpe ratio is above what the best of `trials` without skill would have shown."""
    return probabilistic_sharpe(found, expected_max_sharpe(trials, variance))


def bootstrap_interval(
    returns: Vector,
    statistic: Callable[[Vector], float],
    *,
    seed: int,
    level: float = 0.95,
    reps: int = 1000,
    block_bars: float | None = None,
) -> Interval:
    """Percentile interval by the stationary block bootstrap. The same seed gives the same interval.

    block_bars: mean length of a block; None: Politis and White's choice for these returns, at least 1. Raises ReturnsUnusable.
    """
    from arch.bootstrap import StationaryBootstrap  # noqa: PLC0415  (a second to import, for reports only)

    moments(returns)
    block = block_bars if block_bars is not None else block_length(returns)
    found = StationaryBootstrap(block, returns, seed=np.random.default_rng(seed)).apply(statistic, reps)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level)


def block_length(returns: Vector) -> float:
    """Politis and White's mean length of a block for the stationary bootstrap, at least 1 and at most a third of the returns."""
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415

    if returns.std() <= _NO_SPREAD:
        return 1.0
    found = float(optimal_block_length(returns)["stationary"].iloc[0])
    return min(max(found, 1.0), len(returns) / 3) if math.isfinite(found) else 1.0


def hit_rate(profits: Vector) -> float | None:
    """Share of round trips that earned something; None without any."""
    return float((profits > 0).mean()) if len(profits) else None


def annual_turnover(traded: float, equity_mean: float, years: float) -> float:
    """Value bought and sold, in multiples of the mean equity, a year."""
    return traded / equity_mean / years


def monthly_returns(equity: Vector, months: NDArray[np.str_]) -> Mapping[str, float]:
    """Return of each calendar month, "YYYY-MM": the last value in it over the last one before it, of the first month over the first value.

    equity, months: (n,) in order of time.
    """
    ends = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    values = np.concatenate((equity[:1], equity[ends]))
    return {str(month): float(after / before - 1) for month, before, after in zip(months[ends], values[:-1], values[1:], strict=True)}
