"""The simplest rule that trades on the forecasts, for the profit that a model's card states: decided at a bar's close, filled at the next.

Not how the platform trades (flow/signals.py, flow/sizing.py): no stop, no sizes, no margin. One unit of spread or none.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.quant.bundle import Thresholds

Vector = NDArray[np.float64]


def positions(z: Vector, probability: Vector, thresholds: Thresholds) -> NDArray[np.int64]:
    """What the rule wants to hold after seeing each bar, (n,): +1 long the spread, -1 short, 0 nothing.

    In against a |z| from entry_z where the probability of a reversion is at least probability_min; out at |z| of exit_z or beyond the mean.
    """
    wanted = np.zeros(len(z), dtype=np.int64)
    held = 0
    for t, (level, chance) in enumerate(zip(z.tolist(), probability.tolist(), strict=True)):
        if held and -held * level <= thresholds.exit_z:
            held = 0
        if not held and abs(level) >= thresholds.entry_z and chance >= thresholds.probability_min:
            held = -1 if level > 0 else 1
        wanted[t] = held
    return wanted


def profits(wanted: NDArray[np.int64], spread: Vector, *, beta: float, cost_bps: float) -> Vector:
    """What each bar earned, (n - 2,) for bars 2 .. n - 1, per unit of gross exposure 1 + |beta|, after costs.

    A wish of bar t is filled at the close of t + 1 and earns the move to t + 2. Each change pays cost_bps per leg; what is held at the end
    is closed there and pays, too.
    """
    held = wanted[:-2]
    changes = np.abs(np.diff(held, prepend=0)).astype(np.float64)
    changes[-1:] += np.abs(held[-1:])
    return held * np.diff(spread)[1:] / (1 + abs(beta)) - changes * cost_bps * 1e-4
