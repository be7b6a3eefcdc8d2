"""Variance models of series: fit (one or many at once), log likelihood, conditional variances. The recursions are in quant/volatility.py.

Fits are by maximum likelihood, compiled, with exact gradients, and equal to those of the `arch` package (tests/reference) with three limits
of our own: persistence at most PERSISTENCE_MAX; egarch's alpha and beta from 0, since below 0 its filter does not forget where it started.
A fit may end on such a limit (`at_limit`); quant/garch_selection.py chooses among kinds. Serving steps in quant/features.py, which a test
holds to `variance_path`; forecasts over a horizon are in quant/garch_forecast.py, quantiles of the shocks in quant/garch_quantiles.py.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tandem.quant.garch_likelihood import KIND_CODE, SHOCKS_CODE, WORK_ROWS, Problem, evaluate, first_variance, path_from, vector_of
from tandem.quant.garch_optimise import PERSISTENCE_MAX, bounds, maximise
from tandem.quant.rejections import ConstantSeries, FitRejected, NotConverged, NotFinite, NotStationary, TooFewBars
from tandem.quant.volatility import Kind, Shocks, Volatility

__all__ = [
    "BARS_MIN",
    "PERSISTENCE_MAX",
    "ConstantSeries",
    "FitRejected",
    "NotConverged",
    "NotFinite",
    "NotStationary",
    "TooFewBars",
    "at_limit",
    "backcast",
    "filter_from",
    "fit",
    "fit_many",
    "log_likelihood",
    "unit_scale",
    "variance_path",
]

Vector = NDArray[np.float64]

BARS_MIN = 100  # below this the three to six parameters are noise
_BACKCAST_BARS, _BACKCAST_DECAY = 75, 0.94
_BACKCAST_MIN = 1e-8  # a series that begins with 75 zeros still has a logarithm


def fit(
    series: Vector, kind: Kind = Kind.GARCH, shocks: Shocks = Shocks.STUDENT_T, *, persistence_max: float = PERSISTENCE_MAX
) -> Volatility:
    """Maximum likelihood fit of a series (T,) with mean zero, any scale: it is divided by its standard deviation first.

    persistence_max: below 1, the limit on gjr's alpha + gamma / 2 + beta or egarch's beta. Raises NotFinite, TooFewBars below 100 values,
    ConstantSeries when it does not move, NotConverged when the likelihood has no maximum.
    """
    outcome = fit_many([series], kind, shocks, persistence_max=persistence_max)[0]
    if isinstance(outcome, FitRejected):
        raise outcome
    return outcome


def fit_many(
    series: Sequence[Vector], kind: Kind, shocks: Shocks, *, persistence_max: float = PERSISTENCE_MAX
) -> tuple[Volatility | FitRejected, ...]:
    """`fit` for each of these series, in their order, in one compiled loop.

    A series that cannot be fitted gives its rejection: none is raised.
    """
    outcomes: list[Volatility | FitRejected] = [NotConverged("the optimiser found no maximum of the likelihood")] * len(series)
    units, scales, places = [], [], []
    for place, one in enumerate(series):
        try:
            unit, scale = unit_scale(one)
        except FitRejected as rejection:
            outcomes[place] = rejection
            continue
        units.append(unit)
        scales.append(scale)
        places.append(place)
    box = bounds(kind, shocks, persistence_max=persistence_max)
    optima = maximise(units, np.array([backcast(unit) for unit in units]), (kind, shocks), box)
    for place, scale, theta, found in zip(places, scales, optima.theta, optima.found, strict=True):
        if found:
            outcomes[place] = _record(theta, kind, shocks, scale)
    return tuple(outcomes)


def at_limit(volatility: Volatility) -> bool:
    """Whether the persistence stands at PERSISTENCE_MAX or above: the series shows no level that its variance returns to."""
    return volatility.persistence >= PERSISTENCE_MAX - 1e-9


def unit_scale(series: Vector) -> tuple[Vector, float]:
    """A series (T,) divided by its standard deviation, and that. Raises NotFinite, TooFewBars, ConstantSeries."""
    series = np.ascontiguousarray(series, dtype=np.float64)
    if series.ndim != 1 or len(series) < BARS_MIN:
        raise TooFewBars(f"{series.size} innovations, GARCH needs at least {BARS_MIN}")
    _require_finite(series)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(series.std())
    moving = np.count_nonzero(series)
    if not 0 < scale < np.inf or moving < len(series) // 2:
        raise ConstantSeries(f"standard deviation {scale}, {moving} of {len(series)} innovations differ from 0")
    return series / scale, scale


def backcast(series: Vector) -> float:
    """The variance before the first value: squares of the first 75, weighted by .94 to the power of their place (as in `arch`)."""
    count = min(_BACKCAST_BARS, len(series))
    weights = _BACKCAST_DECAY ** np.arange(count)
    return max(float(weights @ series[:count] ** 2 / weights.sum()), _BACKCAST_MIN)


def variance_path(series: Vector, volatility: Volatility) -> Vector:
    """Conditional variance (T,) of a series (T,) at unit scale: result[t] is known before series[t]. Starts at the backcast.

    The backcast looks at the first 75 values, so these variances are for fitting and for spans of which the start does not count.
    Raises NotFinite.
    """
    start = first_variance(KIND_CODE[volatility.kind], vector_of(volatility), backcast(series))
    return filter_from(volatility, series, start)[:-1]


def filter_from(volatility: Volatility, series: Vector, start_variance: float) -> Vector:
    """Conditional variances (T + 1,) of a series (T,) at unit scale from a known state: result[0] is `start_variance`, the forecast for
    series[0]; result[T] the forecast for the value after the last. With it a state goes on over refits instead of standing still.

    Raises NotFinite.
    """
    series = np.ascontiguousarray(series, dtype=np.float64)
    _require_finite(series)
    return path_from(KIND_CODE[volatility.kind], vector_of(volatility), series, float(start_variance))


def log_likelihood(series: Vector, volatility: Volatility) -> float:
    """Log likelihood of a series (T,) at unit scale. Raises NotFinite."""
    series = np.ascontiguousarray(series, dtype=np.float64)
    _require_finite(series)
    kind, shocks = KIND_CODE[volatility.kind], SHOCKS_CODE[volatility.shocks]
    problem = Problem(kind, shocks, series, backcast(series), np.empty((WORK_ROWS, len(series))))
    return float(evaluate(problem, vector_of(volatility), np.empty(0)))


def _require_finite(series: Vector) -> None:
    finite = np.isfinite(series)
    if not finite.all():
        raise NotFinite(f"{len(series) - np.count_nonzero(finite)} of {len(series)} values are NaN or infinite, all must be finite")


def _record(theta: Vector, kind: Kind, shocks: Shocks, scale: float) -> Volatility:
    omega, alpha, gamma, beta, nu, skew = theta.tolist()
    return Volatility(
        kind=kind,
        shocks=shocks,
        omega=omega,
        alpha=alpha,
        gamma=gamma if kind is not Kind.GARCH else 0.0,
        beta=beta,
        nu=None if shocks is Shocks.NORMAL else nu,
        skew=skew if shocks is Shocks.SKEWED_T else None,
        scale=scale,
    )
