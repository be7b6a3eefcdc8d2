"""The labels of the spread protocol: of each bar of a pair the squared innovation, what every model said of it, and its z-score bands.

Called by research/spread.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId
from tandem.quant.history import PairHistory
from tandem.research.records import TailForecast

Vector = NDArray[np.float64]

BANDS = (0.05, 0.01)  # probability outside both ends of a z-score band
BAND_BARS = 1_000  # before a refit: how far a model's standardised residuals are looked at for the width of its bands


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """One pair's labels in one block: times (n,), squared innovations, forecasts by model, half widths of the bands in deviations."""

    close_ns: NDArray[np.int64]
    realised: Vector
    forecasts: dict[str, Vector]
    widths: dict[str, dict[float, Vector]]  # model -> level -> (n,)


def labels_of(history: PairHistory, forecasts: Mapping[str, Vector], *, from_ns: int) -> Labels:
    """Bar k's label belongs to the forecasts of bar k - 1; a bar after a gap has none, because they were for the bar that is missing.

    Nor has one that some model made no forecast for.
    """
    realised = (history.spread[1:] - history.expected_spread[:-1]) ** 2
    known = np.logical_and.reduce([np.isfinite(variance[:-1]) for variance in forecasts.values()])
    close_ns, next_bar = history.close_ns[1:], (history.elapsed[1:] == 1) & known
    test = (close_ns >= from_ns) & next_bar
    before = (close_ns < from_ns) & next_bar
    count = int(test.sum())
    widths: dict[str, dict[float, Vector]] = {}
    for model, variance in forecasts.items():
        size = np.sqrt(realised[before] / variance[:-1][before])[-BAND_BARS:]
        widths[model] = {level: np.full(count, np.quantile(size, 1 - level)) for level in BANDS}
    return Labels(
        close_ns=close_ns[test],
        realised=realised[test],
        forecasts={model: variance[:-1][test] for model, variance in forecasts.items()},
        widths=widths,
    )


def joined_labels(blocks: Sequence[Mapping[PairId, Labels]]) -> dict[PairId, Labels]:
    """The pairs that every block holds, over all blocks, at the times at which all of them have a label."""
    kept = [pair for pair in blocks[0] if all(pair in block for block in blocks)]
    whole = {pair: _concatenated([block[pair] for block in blocks]) for pair in kept}
    if not whole:
        return {}
    common = reduce(np.intersect1d, [labels.close_ns for labels in whole.values()])
    return {pair: _at(labels, np.isin(labels.close_ns, common)) for pair, labels in whole.items()}


def _concatenated(parts: Sequence[Labels]) -> Labels:
    models = parts[0].forecasts
    return Labels(
        close_ns=np.concatenate([part.close_ns for part in parts]),
        realised=np.concatenate([part.realised for part in parts]),
        forecasts={model: np.concatenate([part.forecasts[model] for part in parts]) for model in models},
        widths={model: {level: np.concatenate([part.widths[model][level] for part in parts]) for level in BANDS} for model in models},
    )


def _at(labels: Labels, rows: NDArray[np.bool_]) -> Labels:
    return Labels(
        close_ns=labels.close_ns[rows],
        realised=labels.realised[rows],
        forecasts={model: values[rows] for model, values in labels.forecasts.items()},
        widths={model: {level: values[rows] for level, values in by_level.items()} for model, by_level in labels.widths.items()},
    )


def bands(labels: Labels) -> dict[str, tuple[TailForecast, ...]]:
    """The z-score bands as lower tails of minus the innovation's size."""
    return {
        model: tuple(TailForecast(level=level, quantile=-widths[level] * np.sqrt(labels.forecasts[model])) for level in BANDS)
        for model, widths in labels.widths.items()
    }
