"""One window of daily measures as a network reads it: the linear path's forecasts of its days and of the next, and the inputs of the cell.

Everything is computed from the window alone, and anew for each forecast: no scaler, no state and no coefficient comes from elsewhere, so
that a forecast cannot know what its window does not hold. Called by research/spx_networks.py.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tandem.quant import realised_garch, realised_path, realised_terms
from tandem.quant.realised_terms import LOST, Matrix, Vector
from tandem.quant.volatility import Volatility

Inputs = NDArray[np.float32]

_INPUT_MAX = 4.0  # of a scaled input: a crash day is large, not a hundred times larger
# What a usual day's inputs are about: (middle, width) each, round numbers from the meaning of the column, the same for every series and
# year. Not fitted: a window's own mean would change the meaning of a trained weight from refit to refit.
_REALISED_SCALES = {
    "surprise": (0.0, 0.6),  # log realised over its own forecast by the path
    "shock": (0.0, 1.0),  # return in realised standard deviations
    "size": (0.8, 0.6),  # its absolute value; sqrt(2/pi) for a normal one
    "day": (-0.2, 0.7),  # log realised over the month's mean log
    "week": (-0.1, 0.4),
    "level": (0.0, 0.7),  # month's mean log over the window's
    "forecast": (0.1, 0.45),  # of the path over the month's mean log
}
_TREND_SCALES = {"trend_week": (0.0, 1.0), "trend_month": (0.0, 1.0)}
_GARCH_SCALES = {"garch": (0.35, 0.5), "carry": (0.9, 0.1)}  # log GARCH variance over the month's mean log; what its state keeps


class Path(StrEnum):
    """Which columns the linear path has beside log-HAR's."""

    HAR = "har"  # none, least squares: log-HAR itself
    LEVERAGE = "leverage"  # standardised returns of a day and trends
    GARCH = "garch"  # these and the state of a GARCH recursion


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A window of n + LOST days with its forecasts; row i of (n,) is known before day LOST + i + 1 and forecasts that day."""

    coefficients: Vector  # (k,) of the path
    start: Vector  # (k,) log-HAR's, zeros in the other columns
    logs: Vector  # (n,) log forecasts by the path; the last is of the day after the window
    inputs: Inputs  # (n, features)
    realised: Vector  # (n - 1,) what the forecasts but the last are of
    bounds: tuple[float, float]  # least and largest realised variance of the window

    @property
    def next_log(self) -> float:
        """The path's log forecast of the day after the window."""
        return float(self.logs[-1])

    @property
    def ratios(self) -> Vector:
        """Realised over forecast (n - 1,), at most RATIO_MAX."""
        return np.minimum(self.realised / np.exp(self.logs[:-1]), realised_path.RATIO_MAX)


def read(realised: Vector, returns: Vector, volatility: Volatility | None, *, path: Path) -> Reading:
    """Fit the path on a window (T,) of realised variances above 0, percent squared, and returns, percent; row forecasts of its days.

    volatility: needed by Path.GARCH, fitted on days of the window or before. Raises ValueError without it.
    """
    if path is Path.GARCH and volatility is None:
        raise ValueError("the path with a GARCH state needs its parameters")
    state = None if volatility is None or path is not Path.GARCH else realised_garch.log_variances(volatility, returns)
    rows = realised_path.design(_columns(realised, returns, state, path))
    target = realised[LOST + 1 :]
    start = np.zeros(rows.shape[1])
    start[:4] = realised_path.har_fit(rows[:-1, :4], target)
    coefficients = start
    if path is not Path.HAR:
        weights = realised_path.day_weights(len(target))
        coefficients = realised_path.fit_path(rows[:-1], target, weights, start=start)
    logs = rows @ coefficients
    return Reading(
        coefficients=coefficients,
        start=start,
        logs=logs,
        inputs=_inputs(realised, returns, logs, rows=rows, garch=_garch(volatility, state), path=path),
        realised=target,
        bounds=(float(realised.min()), float(realised.max())),
    )


def _columns(realised: Vector, returns: Vector, state: Vector | None, path: Path) -> Matrix:
    columns = [realised_terms.har_logs(realised)]
    if path is not Path.HAR:
        columns += [realised_terms.shocks(realised, returns)[:, None], realised_terms.trends(realised, returns)]
    if state is not None:
        columns.append(state[LOST + 1 :, None])
    return np.concatenate(columns, axis=1)


def _garch(volatility: Volatility | None, state: Vector | None) -> tuple[Vector, Vector] | None:
    if volatility is None or state is None:
        return None
    return state[LOST + 1 :], realised_garch.carries(volatility, state)[LOST:]


def _inputs(realised: Vector, returns: Vector, logs: Vector, *, rows: Matrix, garch: tuple[Vector, Vector] | None, path: Path) -> Inputs:
    """(n, features) in the order of the scales."""
    day, week, month = rows[:, 1:4].T
    shock = realised_terms.shocks(realised, returns)
    surprise = np.concatenate(([0.0], day[1:] - logs[:-1]))  # of the row's own day, which its forecast of the day before is held to
    columns = [surprise, shock, np.abs(shock), day - month, week - month, month - month.mean(), logs - month]
    scales = list(_REALISED_SCALES.values())
    if path is not Path.HAR:
        columns += [rows[:, 6], rows[:, 8]]
        scales += _TREND_SCALES.values()
    if garch is not None:
        columns += [garch[0] - month, garch[1]]
        scales += _GARCH_SCALES.values()
    middle, width = np.array(scales).T
    return np.clip((np.column_stack(columns) - middle) / width, -_INPUT_MAX, _INPUT_MAX).astype(np.float32)
