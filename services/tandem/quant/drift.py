"""Whether a pair still behaves as it did when it was fitted: a cumulative sum of its standardised innovations since then.

While the fitted hedge ratio, mean and variance hold, each innovation over its own forecast standard deviation has mean 0 and variance 1.
When the spread moves to another level or loses its pull to the mean, the fitted AR(1) errs to one side bar after bar and the sum leaves the
band in which a Brownian motion stays (Brown, Durbin and Evans 1975). Called by trainer/rebaseline.py.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BARS_MIN = 20  # below, the limit theorem says little
_TERMS = 50  # of the series below; at the arguments that occur, ten are enough for double precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The largest excursion of the sum, in units of the root of its length, and how likely one as large is without drift."""

    bars: int
    statistic: float
    p_value: float


def drift(innovations: NDArray[np.float64]) -> Drift | None:
    """The test on standardised innovations (n,), finite, all of them after the fit. None with fewer than BARS_MIN.

    The sum is divided by the innovations' own spread around zero, so that a wrong level of the variance alone is no drift.
    """
    count = len(innovations)
    scale = math.sqrt(float(innovations @ innovations))
    if count < BARS_MIN or scale == 0:
        return None
    statistic = float(np.abs(np.cumsum(innovations)).max()) / scale
    return Drift(bars=count, statistic=statistic, p_value=sup_brownian_sf(statistic))


def sup_brownian_sf(level: float) -> float:
    """Probability that |W| exceeds `level` somewhere on [0, 1]; 5 % at 2.2414. Feller (1971), volume 2, section X.5."""
    if level <= 0:
        return 1.0
    k = np.arange(_TERMS)
    odd = 2 * k + 1
    inside = 4 / math.pi * float(np.sum((-1.0) ** k / odd * np.exp(-((math.pi * odd) ** 2) / (8 * level**2))))
    return min(1.0, max(0.0, 1 - inside))
