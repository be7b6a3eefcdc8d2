"""What is known at the close of a day about the next day's realised variance: the columns that linear models regress on.

Realised variances are in percent squared, returns in percent, both over the same part of the day; a row belongs to the day at whose close
it is known and uses that day and the 21 before it. Nothing is standardised by more than that, so no row can know a later one. Called by
research/spx_linear.py and quant/realised_reading.py.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.quant.har import HAR_DAYS, har_features

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

TREND_DAYS = (2, 5, 10, 22)
LOST = HAR_DAYS[-1] - 1  # days at the start of a series that have no row


def rolling_mean(values: Vector, days: int) -> Vector:
    """Mean of each value and the days - 1 before it: (T,) -> (T - LOST,), the first for day LOST. days: 1 to 22.

    Summed window by window, not by a running sum: a value's mean is the same bit for bit wherever the series starts.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, days)
    return np.ascontiguousarray(windows[LOST - days + 1 :].mean(axis=1))


def har_levels(realised: Vector) -> Matrix:
    """Means of the variance over day, week and month: (T,) -> (T - LOST, 3)."""
    return har_features(realised)[LOST:]


def har_logs(realised: Vector) -> Matrix:
    """Means of the logarithm of the variance over day, week and month: (T,) above 0 -> (T - LOST, 3)."""
    return har_features(realised, log=True)[LOST:]


def shocks(realised: Vector, returns: Vector) -> Vector:
    """Return of each day in realised standard deviations: (T,), (T,) -> (T - LOST,)."""
    return (returns / np.sqrt(realised))[LOST:]


def trends(realised: Vector, returns: Vector) -> Matrix:
    """Returns summed over 2, 5, 10 and 22 days, each in standard deviations by the month's mean variance: -> (T - LOST, 4).

    The leverage effect (Black 1976): falls raise variance. Signed and free of scale, so that a crash moves them by a few units only, while
    raw negative returns (Corsi and Reno 2012) extrapolate it.
    """
    month = rolling_mean(realised, HAR_DAYS[-1])
    return np.column_stack([rolling_mean(returns, days) * days / np.sqrt(days * month) for days in TREND_DAYS])
