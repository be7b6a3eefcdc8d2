"""HAR and log-HAR: linear forecasts of a realised variance from its means over a day, a week and a month (Corsi 2009); the EWMA filter.

Any positive measure of a day's variance will do: realised variance, range, squared return. A forecast for day t + 1 is made of days up to
t, the fit of pairs of days up to t. Called by research protocols and trainers where realised measures exist.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.quant.rejections import ConstantSeries, NotFinite, TooFewBars

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

HAR_DAYS = (1, 5, 22)  # day, week, month
DAYS_MIN = HAR_DAYS[-1] + 30  # thirty rows for the four coefficients
EWMA_DECAY = 0.94  # RiskMetrics (1996) for daily data


@dataclass(frozen=True, slots=True, kw_only=True)
class Har:
    """A fitted HAR. Predicts the measure in its own units, never below `floor`."""

    log: bool  # of logarithms: floor does nothing
    coefficients: tuple[float, float, float, float]  # constant, day, week, month
    residual_variance: float  # of the regression, divided by its degrees of freedom
    floor: float  # least measure of the fit: a linear forecast may fall below 0


def har_features(measures: Vector, *, log: bool = False) -> Matrix:
    """Means over day, week and month known at each day's close: (T,) -> (T, 3), NaN in the first 21 rows. log: of the logarithms."""
    values = np.log(measures) if log else np.asarray(measures, dtype=np.float64)
    features = np.full((len(values), len(HAR_DAYS)), np.nan)
    for column, days in enumerate(HAR_DAYS):
        if len(values) >= HAR_DAYS[-1]:
            means = np.lib.stride_tricks.sliding_window_view(values, days).mean(axis=1)
            features[HAR_DAYS[-1] - 1 :, column] = means[HAR_DAYS[-1] - days :]
    return features


def fit_har(measures: Vector, *, log: bool = True) -> Har:
    """Least squares fit to measures (T,) above 0, oldest first.

    Raises NotFinite for NaN, infinite or not positive measures, TooFewBars below 52 days, ConstantSeries when they do not move.
    """
    measures = _checked(measures)
    if measures.max() - measures.min() <= 1e-12 * measures.max():
        raise ConstantSeries(f"all {len(measures)} measures are {measures[0]}")
    return _fitted(har_features(measures, log=log), measures, log=log)


def forecast_har(model: Har, measures: Vector) -> float:
    """Forecast of the day after measures (T,), T from 22. Of log-HAR the mean of the lognormal, exp(mu + s^2 / 2), not its median."""
    return _forecast(model, har_features(measures[-HAR_DAYS[-1] :], log=model.log)[-1])


def rolling_har(measures: Vector, *, window_days: int, log: bool = True) -> Vector:
    """Forecasts (T,): result[t] is of measures[t], by a model fitted anew to the window_days days before t; NaN where there are fewer.

    Raises as fit_har does.
    """
    measures = _checked(measures)
    if window_days < DAYS_MIN:
        raise TooFewBars(f"window of {window_days} days, HAR needs at least {DAYS_MIN}")
    features, result = har_features(measures, log=log), np.full(len(measures), np.nan)
    for day in range(window_days, len(measures)):
        # Rows of the window's own days only: the first 21 of them would reach back behind it.
        rows = slice(day - window_days + HAR_DAYS[-1] - 1, day)
        result[day] = _forecast(_fitted(features[rows], measures[rows], log=log), features[day - 1])
    return result


def ewma_variance(series: Vector, *, start: float, decay: float = EWMA_DECAY) -> Vector:
    """Filter h' = decay h + (1 - decay) x^2 of a series (T,) -> (T + 1,): result[t] is known before series[t], result[0] = start."""
    variance = np.empty(len(series) + 1)
    variance[0] = start
    for t, square in enumerate((np.asarray(series, dtype=np.float64) ** 2).tolist()):
        variance[t + 1] = decay * variance[t] + (1 - decay) * square
    return variance


def _checked(measures: Vector) -> Vector:
    measures = np.asarray(measures, dtype=np.float64)
    if len(measures) < DAYS_MIN:
        raise TooFewBars(f"{len(measures)} days, HAR needs at least {DAYS_MIN}")
    usable = np.isfinite(measures) & (measures > 0)
    if not usable.all():
        raise NotFinite(f"{np.count_nonzero(~usable)} of {len(measures)} measures are not finite and above 0")
    return measures


def _fitted(features: Matrix, measures: Vector, *, log: bool) -> Har:
    """features, measures: of the same days; each day's features go with the next day's measure."""
    known = np.isfinite(features[:-1, -1])
    rows = np.column_stack((np.ones(np.count_nonzero(known)), features[:-1][known]))
    target = np.log(measures[1:][known]) if log else measures[1:][known]
    coefficients = np.linalg.lstsq(rows, target, rcond=None)[0]
    residuals = target - rows @ coefficients
    constant, day, week, month = coefficients.tolist()
    return Har(
        log=log,
        coefficients=(constant, day, week, month),
        residual_variance=float(residuals @ residuals) / (len(rows) - rows.shape[1]),
        floor=float(measures.min()),
    )


def _forecast(model: Har, features: Vector) -> float:
    mean = model.coefficients[0] + float(np.dot(model.coefficients[1:], features))
    return math.exp(mean + model.residual_variance / 2) if model.log else max(mean, model.floor)
