"""The variance profile of a session: how much more or less a spread moves in each slot than on average."""

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Neighbouring slots share their observations within this part of the session: a mean of some sixty heavy-tailed squares alone is noise.
_SMOOTH_PART = 1 / 40


def variance_profile(squares: Vector, slot: NDArray[np.int64], slots: int, prior_observations: float) -> Vector:
    """Variance factor of each slot (slots,), mean 1 over the observations; (1.0,) for one slot.

    squares: (T,) squared innovations of the training span, slot: (T,) in [0, slots). Slot 0 stands alone, because it carries the gap since
    the last session; the others are averaged with their neighbours. A slot with n observations is drawn to 1 with the weight of
    `prior_observations` of them, and is 1 without any.
    """
    if slots == 1:
        return np.ones(1)
    level = float(squares.mean())
    count = np.bincount(slot, minlength=slots).astype(np.float64)
    total = np.bincount(slot, weights=squares / level, minlength=slots)
    width = min(math.ceil(slots * _SMOOTH_PART), (slots - 2) // 2)
    kernel = np.ones(2 * width + 1)
    smooth_count = np.convolve(count[1:], kernel, mode="same")
    smooth_total = np.convolve(total[1:], kernel, mode="same")
    mean = np.concatenate((total[:1] / max(count[0], 1.0), smooth_total / np.maximum(smooth_count, 1.0)))
    profile = (count * mean + prior_observations) / (count + prior_observations)
    return profile * (len(squares) / float((profile * count).sum()))
