"""What the hybrid is held against: variance models and probabilities that need no network. Fitted on the bars before a fold's test part.

All of them see the same innovations as the hybrid and are filtered forward through the test part bar by bar: a baseline whose state stands
still between refits is weaker than it need be, and beating it says little.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tandem.quant import garch
from tandem.quant.bundle import PairModel
from tandem.quant.features import FEATURES
from tandem.quant.history import PairHistory, fold
from tandem.quant.panel import Panel
from tandem.quant.rejections import FitRejected
from tandem.quant.volatility import Kind, Shocks, Volatility, risk_metrics

Vector = NDArray[np.float64]

_HAR_BARS = (1, 5, 22)  # day, week and month of Corsi (2009); on intraday bars as many bars
_HAR_FLOOR = 0.05  # of the training variance: a linear forecast may fall below 0, and QLIKE has no mercy
_PATHS, _GRID, _Z_MAX = 2_000, 33, 5.0  # of the AR(1)'s simulation; its error of 1 % is far below what is compared
_PATH_SEED = 1927  # Yule's year; any would do


def baseline_variances(panel: Panel, histories: Sequence[PairHistory], *, trained_to_ns: int) -> dict[str, Vector]:
    """Forecasts of the next bar's variance by model, (R,) along the rows of all histories in turn. Fitted up to trained_to_ns only."""
    variances = {}
    for model, volatilities in (
        ("gjr", _gjr(histories, trained_to_ns)),
        ("ewma", [risk_metrics(h.pair.volatility.scale) for h in histories]),
    ):
        pairs = [replace(history.pair, volatility=own) for history, own in zip(histories, volatilities, strict=True)]
        variances[model] = np.concatenate([history.garch_variance for history in fold(panel, pairs)])
    return variances | {
        "har": np.concatenate([_har(history, trained_to_ns) for history in histories]),
    }


def ar1_probability(pair: PairModel, spread: Vector, *, horizon_bars: int, cost: float) -> Vector:
    """P(label of quant/history.py) after each bar of spread (n,), if the spread were the pair's AR(1) with normal innovations and no more.

    Simulated from a grid of starts with one fixed seed; symmetric in the sign of the spread.
    """
    starts = np.linspace(0.0, _Z_MAX, _GRID) * pair.spread_sd
    shocks = np.random.default_rng(_PATH_SEED).standard_normal((horizon_bars + 1, _PATHS)) * pair.volatility.scale
    chance = np.empty(_GRID)
    for place, start in enumerate(starts.tolist()):
        now = np.full(_PATHS, start)
        path = [now]
        for shock in shocks:
            now = pair.phi * now + shock
            path.append(now)
        entry, later = path[1], np.stack(path[2:])
        chance[place] = np.mean(entry - later.min(axis=0) > cost)
    return np.interp(np.abs(spread), starts, chance)


def unit_innovations(history: PairHistory) -> Vector:
    """Innovation of each bar (n,), divided by the pair's scale and its slot's profile: what the variance recursion is fed with.

    Of a bar after a gap, the standardised residual times the deviation that was forecast, because the innovation covers several bars.
    """
    last = np.concatenate(([1.0], history.variance[:-1]))
    residual = history.rows[:, FEATURES.index("residual")] * np.sqrt(last)
    factor = np.sqrt(history.garch_variance[:-1] / history.variance[:-1])
    direct = (history.spread[1:] - history.expected_spread[:-1]) / factor
    return np.concatenate((residual[:1], np.where(history.elapsed[1:] == 1, direct, residual[1:])))


def _gjr(histories: Sequence[PairHistory], trained_to_ns: int) -> list[Volatility]:
    """GJR with Student-t shocks of each pair, fitted up to trained_to_ns; the pair's own model where that does not converge."""
    trained = [unit_innovations(history)[: _count_to(history, trained_to_ns)] for history in histories]
    found = garch.fit_many(trained, Kind.GJR, Shocks.STUDENT_T)
    return [
        history.pair.volatility if isinstance(one, FitRejected) else replace(one, scale=one.scale * history.pair.volatility.scale)
        for history, one in zip(histories, found, strict=True)
    ]


def _count_to(history: PairHistory, trained_to_ns: int) -> int:
    """Bars up to trained_to_ns."""
    return int(np.searchsorted(history.close_ns, trained_to_ns, side="right"))


def _har(history: PairHistory, trained_to_ns: int) -> Vector:
    """HAR of the squared innovations: least squares on their means over a day, a week and a month, (n,) in spread units squared."""
    squares = unit_innovations(history) ** 2
    total = np.concatenate(([0.0], np.cumsum(squares)))
    place = np.arange(1, len(squares) + 1)
    means = [(total[place] - total[np.maximum(place - bars, 0)]) / np.minimum(place, bars) for bars in _HAR_BARS]
    design = np.column_stack((np.ones(len(squares)), *means))
    trained = _count_to(history, trained_to_ns)
    whole = slice(max(_HAR_BARS) - 1, trained - 1)
    weights, *_ = np.linalg.lstsq(design[whole], squares[1:][whole], rcond=None)
    floor = _HAR_FLOOR * float(squares[:trained].mean())
    return np.maximum(design @ weights, floor) * history.garch_variance / history.variance
