"""One fit on one span: pairs, scaler, network, calibration. Sees nothing but the span that it is given.

Called once for each fold of the walk-forward and once for the bundle (trainer/main.py), and by the search over hyperparameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId
from tandem.quant import gru
from tandem.quant.bundle import Calibration, PairTest, RejectedSymbol
from tandem.quant.calibration import calibrate
from tandem.quant.features import FEATURES, Vector
from tandem.quant.history import PairHistory, Samples, fold, samples_of
from tandem.quant.panel import Panel
from tandem.trainer.onnx_graph import onnx_graph
from tandem.trainer.options import NetworkOptions, TrainingOptions
from tandem.trainer.pair_fits import PairFits, fit_pairs

TIMES_MIN = 10  # forecasts at different times in each part; Diebold-Mariano needs as many
_UNSCALED = frozenset({"carry"})  # a coefficient that the network multiplies with, not a feature that it compares


class NoPairs(Permanent):
    """No declared pair could be fitted and none passed screening: the sector has no model. `tests` holds what screening found."""

    def __init__(self, message: str, tests: tuple[PairTest, ...] = ()) -> None:
        super().__init__(message)
        self.tests = tests


class SpanTooShort(Permanent):
    """The training span leaves too little for one of its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorTask:
    """What to train besides the data and the options."""

    sector: SectorId
    bar: str
    slots: int  # bars in the longest session
    declared: tuple[PairId, ...]
    data_digest: str
    rejected: tuple[RejectedSymbol, ...] = ()  # symbols that the panel lacks because their prices are not fit to be used
    trial: int = 1  # which of the configurations tried for this study the options are
    trials: int = 1  # how many were tried


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A model as fitted on one span, before it becomes a bundle."""

    fits: PairFits
    feature_mean: Vector
    feature_sd: Vector
    onnx: bytes
    calibration: Calibration
    trained: gru.Trained

    @property
    def validation_loss(self) -> float:
        """The least loss on the validation part, mean over the members: what a search over hyperparameters compares."""
        return float(np.mean([member.losses[member.best_epoch] for member in self.trained.members]))


def fit_span(task: SectorTask, panel: Panel, options: TrainingOptions) -> Fitted:
    """Fit on the whole of `panel`: its last validation_share stops the training and calibrates, the rest is fitted on.

    Raises NoPairs or SpanTooShort, both Permanent.
    """
    fits = fit_pairs(panel, task.declared, task.slots, options, rejected=task.rejected)
    if not fits.pairs:
        reasons = "; ".join(f"{r.pair}: {r.reason}: {r.detail}" for r in fits.rejections)
        raise NoPairs(f"sector {task.sector}: no pair could be fitted ({reasons or 'none declared, none passed screening'})", fits.tests)
    samples = samples_for(fold(panel, fits.pairs), task, options)
    border_ns = int(panel.close_ns[int(len(panel.close_ns) * (1 - options.validation_share))])
    training = enough(samples.take(from_ns=0, to_ns=border_ns), "training")
    validation = enough(samples.take(from_ns=border_ns, to_ns=int(panel.close_ns[-1]) + 1), "validation")
    mean, sd = _scaler(training)
    parts = _network_samples(training, mean, sd), _network_samples(validation, mean, sd)
    trained = gru.train(*parts, network_config(options.network))
    graph = onnx_graph(trained.weights, options.network.sequence)
    outputs = OnnxNetwork(graph)(validation.windows(mean, sd))
    return Fitted(
        fits=fits,
        feature_mean=mean,
        feature_sd=sd,
        onnx=graph,
        calibration=calibrate(outputs, validation.realised / validation.garch_variance, validation.reverted, times=validation.close_ns),
        trained=trained,
    )


def network_config(options: NetworkOptions) -> gru.NetworkConfig:
    """The network's own record of its sizes and training rule."""
    known = {field.name for field in fields(gru.NetworkConfig)}
    values: dict[str, Any] = options.model_dump(exclude={"sequence"})
    return gru.NetworkConfig(**{name: value for name, value in values.items() if name in known})


def samples_for(histories: Sequence[PairHistory], task: SectorTask, options: TrainingOptions) -> Samples:
    """The windows of these histories with the labels that the options ask for."""
    return samples_of(histories, sequence=options.network.sequence, horizon_bars=options.horizon_bars(task.bar), cost_bps=options.cost_bps)


def enough(samples: Samples, part: str) -> Samples:
    """The samples. Raises SpanTooShort when they stand at too few times to say anything."""
    times = len(np.unique(samples.close_ns))
    if times < TIMES_MIN:
        raise SpanTooShort(
            f"the {part} part holds forecasts at {times} times after purging, at least {TIMES_MIN} are needed: train on more bars"
        )
    return samples


def _scaler(training: Samples) -> tuple[Vector, Vector]:
    """Mean and standard deviation (F,) of the rows that training windows end on; 1 where a feature does not vary."""
    rows = training.rows[training.last_row]
    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    unscaled = np.array([name in _UNSCALED for name in FEATURES])
    return np.where(unscaled, 0.0, mean), np.where(unscaled | (sd <= 1e-12), 1.0, sd)


def _network_samples(samples: Samples, mean: Vector, sd: Vector) -> gru.Samples:
    return gru.Samples(
        windows=samples.windows(mean, sd), variance_ratio=samples.realised / samples.garch_variance, reverted=samples.reverted
    )
