"""The loss that a variance forecast is scored by, apart from the tests upon it: what scores live forecasts needs no statistics library."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
VARIANCE_FLOOR = 1e-12  # of a squared log price: a move of one millionth; keeps the logarithm finite on bars without a move


def qlike(realised: Vector, forecast: Vector, floor: float = VARIANCE_FLOOR) -> Vector:
    """y/f - log(y/f) - 1 for each variance y and forecast f, both not below `floor`. 0 when equal. Patton (2011), equation 24."""
    ratio = np.maximum(realised, floor) / np.maximum(forecast, floor)
    return ratio - np.log(ratio) - 1
