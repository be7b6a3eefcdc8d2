"""What QLIKE of two forecasts of the same pair differs by, and how much of its variance may not have shown itself yet.

Two versions of a model have hedge ratios of their own, so that each is scored on the innovation of its own spread. Arrays (n, p) of n bars
and p pairs, NaN where a version has nothing. Called by rollout/paired.py and rollout/promotion.py; simulated by research/rollout_gates.py.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.quant.losses import VARIANCE_FLOOR

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# A squared innovation below this share of its mean so far is counted as this share. A move of less than a sixth of the usual one says
# nothing about the variance, yet log(realised) of two almost equal spreads differs most just there: of the differences' variance between
# refits of daily pairs it is 98 % after a week, 94 % after a month and 78 % after a year (docs/rollout-gates.md).
SMALL_SHARE = 0.03
WARM_BARS = 20  # over which that mean is taken at first, and before which no gate looks
# Variance of a squared innovation over the square of its mean. Kurtosis less 1: 6 is that of Student's t with 5.5 degrees of freedom, and a
# normal one has 2.
SQUARE_VARIANCE = 6.0
SQUARE_MEAN_MAX = 4.0  # of the squared innovation over the first variance: that is a quarter of the truth at worst, over all the bars
# Correlation of squared innovations of pairs of one sector that large shocks share: Student's t of 5 degrees of freedom with one common
# scale and correlation .3 has .32, of 4.1 degrees .39.
SHOCK_CORRELATION = 0.4


def levels(realised: Matrix) -> Matrix:
    """Mean of each column so far, (n, p), over the first WARM_BARS bars until there are more. NaN counts for nothing.

    A bar is a row that has any value. A column that has few of them by then goes on from what it has: were its first values to wait
    for more of its own, what is known of bars that a gate has looked at would still change.
    """
    present = np.isfinite(realised)
    count = np.cumsum(present, axis=0)
    total = np.cumsum(np.where(present, realised, 0.0), axis=0)
    mean = np.divide(total, count, out=np.full(realised.shape, np.nan), where=count > 0)
    warm = int(np.searchsorted(np.cumsum(present.any(axis=1)), WARM_BARS))  # row of the last bar that the first mean is taken over
    if len(mean):
        mean[:warm] = mean[min(warm, len(mean) - 1)]
    return mean


def small_moves(realised: Matrix) -> Matrix:
    """log of how far each squared innovation is lifted, (n, p), see SMALL_SHARE; at least 0. What QLIKE is lowered by.

    It does not depend on the forecast, so the loss stays one that the true variance minimises (Patton 2011), and where both versions have
    the same spread it is the same for both.
    """
    floored = np.maximum(realised, VARIANCE_FLOOR)
    return np.log(np.maximum(floored, SMALL_SHARE * levels(realised))) - np.log(floored)


def tail_variance(log_ratio: Matrix, *, null: float, sign: int) -> Vector:
    """Variance of each bar's mean difference, (n,), that must be reckoned with whether it has shown itself or not.

    The difference is u (exp(-r) - 1) + r with r = log_ratio (n, p), known beforehand, and u the squared innovation over the first variance.
    For sign +1, the claim that its mean is below `null`, r below 0 is dangerous: most bars are slightly better, and a rare one is much
    worse. If the mean is `null`, the part with u has the mean null - r there and SQUARE_VARIANCE times its square as variance; a mean for
    which u would have to exceed SQUARE_MEAN_MAX is none to reckon with. For sign -1, the claim that the mean is above `null`, it is r above
    0 and r - null.
    """
    present = np.isfinite(log_ratio)
    pairs = np.maximum(present.sum(axis=-1), 1)
    ratio = np.where(present, log_ratio, 0.0)
    exposed = np.where(sign * ratio < 0, SQUARE_MEAN_MAX * np.abs(np.expm1(-ratio)), 0.0)
    mean = np.clip(sign * (null - ratio), 0.0, exposed)
    alone, together = (mean**2).sum(axis=-1) / pairs**2, (mean.sum(axis=-1) / pairs) ** 2
    return SQUARE_VARIANCE * ((1 - SHOCK_CORRELATION) * alone + SHOCK_CORRELATION * together)
