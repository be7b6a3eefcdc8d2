"""What the models of a walk-forward said about bars that they had not seen, beside what then came: the rows that scores are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.quant.bundle import Fold

Vector = NDArray[np.float64]

VARIANCE_MODELS = ("hybrid", "garch", "gjr", "har", "ewma")  # garch: the pair's own choice, filtered forward
PROBABILITY_MODELS = ("hybrid", "ar1", "base_rate")
RULES = ("hybrid", "always_1")  # always_1: the same rule with every reversion taken for certain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecasts:
    """N forecasts of several pairs in order of time, and M bars of a rule that traded on them."""

    pair: NDArray[np.str_]  # (N,)
    close_ns: NDArray[np.int64]  # (N,) when the forecast was made
    unit_variance: Vector  # (N,) of the pair's training innovations: makes the squared errors of several pairs comparable
    realised: Vector  # (N,) squared innovation of the next bar, spread units squared
    variances: dict[str, Vector]  # by VARIANCE_MODELS, (N,) of the next bar
    reverted: NDArray[np.bool_]  # (N,)
    probabilities: dict[str, Vector]  # by PROBABILITY_MODELS, (N,) of a reversion
    profit_ns: NDArray[np.int64]  # (M,) close of the bar that earned it
    profits: dict[str, Vector]  # by RULES, (M,) mean over the pairs, per unit of gross exposure, after costs
    entries: dict[str, int]  # by RULES

    def __len__(self) -> int:
        return len(self.close_ns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredFold:
    """A fold and what its model said; None where it has no model."""

    fold: Fold
    forecasts: Forecasts | None


def joined(parts: Sequence[Forecasts]) -> Forecasts:
    """Those of several folds, in order of time, as one."""
    columns: dict[str, Any] = {}
    for name in (field.name for field in fields(Forecasts)):
        values = [getattr(part, name) for part in parts]
        if name == "entries":
            columns[name] = {rule: sum(value[rule] for value in values) for rule in values[0]}
        elif isinstance(values[0], dict):
            columns[name] = {model: np.concatenate([value[model] for value in values]) for model in values[0]}
        else:
            columns[name] = np.concatenate(values)
    return Forecasts(**columns)


def by_time(close_ns: NDArray[np.int64], values: Vector) -> Vector:
    """Mean over the pairs at each time, (times,), because losses of one bar move together and count once."""
    _, place = np.unique(close_ns, return_inverse=True)
    return np.bincount(place, weights=values) / np.bincount(place)
