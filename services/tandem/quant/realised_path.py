"""Linear forecasts of the next day's realised variance: HAR, log-HAR, and the path of a network, which is log-HAR with more columns.

    log f = b_0 + sum_j b_j x_j

HAR and log-HAR are fitted by least squares (Corsi 2009), the path by the loss it is judged by, QLIKE: with log link that loss is convex,
and its minimum is that of a gamma regression (McCullagh and Nelder 1989, chapter 8), found by Newton's method. Called by
research/spx*.py and quant/realised_reading.py.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

HALF_LIFE_DAYS = 400.0  # of a day's weight in the path's fit
RIDGE = 0.005  # pull of a slope to its start, per unit of its column's variance: halves nothing, keeps near-collinear columns apart
RATIO_MAX = 50.0  # realised over forecast, beyond which a day counts no more in a step: a crash must not throw the fit
_CURVATURE_MIN = 0.2  # of a day: keeps the first steps bounded where forecasts are far too high
_MOVE_MAX = 2.0  # of any day's log forecast in one step
_STEPS_MAX, _TOLERANCE = 50, 1e-9


def design(columns: Matrix) -> Matrix:
    """A constant before the columns: (n, k) -> (n, k + 1)."""
    return np.column_stack((np.ones(len(columns)), columns))


def least_squares(rows: Matrix, target: Vector) -> Vector:
    """Coefficients (k,) of target (n,) on rows (n, k); the shortest where they are not unique."""
    return np.asarray(np.linalg.lstsq(rows, target, rcond=None)[0], dtype=np.float64)


def har_fit(rows: Matrix, realised: Vector) -> Vector:
    """Log-HAR: coefficients (k,) of log realised (n,) on rows (n, k), the constant raised by half the residual variance.

    The raise makes exp(row @ coefficients) the mean of a lognormal variance instead of its median.
    """
    logs = np.log(realised)
    coefficients = least_squares(rows, logs)
    coefficients[0] += (logs - rows @ coefficients).var() / 2
    return coefficients


def day_weights(days: int, half_life_days: float = HALF_LIFE_DAYS) -> Vector:
    """Weights (days,) that halve each half-life into the past; sum 1."""
    weights = 0.5 ** (np.arange(days)[::-1] / half_life_days)
    return weights / weights.sum()


def fit_path(rows: Matrix, realised: Vector, weights: Vector, *, start: Vector) -> Vector:
    """Coefficients (k,) of least weighted QLIKE of exp(rows @ b) against realised (n,), each slope with RIDGE towards `start`.

    rows: (n, k) with the constant first. Raises InvariantBroken when Newton's method does not settle: the loss is convex, so it must.
    """
    spread = RIDGE * rows.var(axis=0)
    coefficients = start.copy()
    for _ in range(_STEPS_MAX):
        ratio = np.minimum(realised * np.exp(-(rows @ coefficients)), RATIO_MAX)
        slope = rows.T @ (weights * (1 - ratio)) + spread * (coefficients - start)
        curved = rows.T @ (rows * (weights * np.maximum(ratio, _CURVATURE_MIN))[:, None])
        # A column that repeats another leaves the curvature singular up to the ridge; a hair on the diagonal picks the near solution.
        step = np.linalg.solve(curved + np.diag(spread + 1e-10), slope)
        move = float(np.abs(rows @ step).max())
        coefficients -= step * min(1.0, _MOVE_MAX / max(move, 1e-300))
        if move < _TOLERANCE:
            return coefficients
    raise InvariantBroken(f"QLIKE fit still moves a log forecast by {move:.3g} after {_STEPS_MAX} steps, must be below {_TOLERANCE:g}")
