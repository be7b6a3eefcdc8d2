"""From a table of prices to a bundle: fit, score on the hold-out, fit again. No clock, no file, no server: same input, same digest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId
from tandem.quant import gru
from tandem.quant.bundle import Bundle, Calibration, PairTest
from tandem.quant.calibration import calibrate
from tandem.quant.features import FEATURES, Vector
from tandem.quant.history import PairHistory, Samples, fold, samples_of
from tandem.quant.panel import Panel
from tandem.trainer.evaluation import holdout_metrics
from tandem.trainer.onnx_graph import onnx_graph
from tandem.trainer.options import TrainingOptions
from tandem.trainer.pair_fits import PairFits, fit_pairs, with_start

_TIMES_MIN = 10  # forecasts at different times in each part; Diebold-Mariano needs as many


class NoPairs(Permanent):
    """No declared pair could be fitted and none passed screening: the sector has no model. `tests` holds what screening found."""

    def __init__(self, message: str, tests: tuple[PairTest, ...] = ()) -> None:
        super().__init__(message)
        self.tests = tests


class SpanTooShort(Permanent):
    """The training span leaves too little for one of its parts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A model as fitted on one span, before it becomes a bundle."""

    fits: PairFits
    feature_mean: Vector
    feature_sd: Vector
    onnx: bytes
    calibration: Calibration
    trained: gru.Trained


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorTask:
    """What to train besides the data and the options."""

    sector: SectorId
    bar: str
    slots: int  # bars in the longest session
    declared: tuple[PairId, ...]
    data_digest: str


def train_sector(task: SectorTask, panel: Panel, options: TrainingOptions) -> Bundle:
    """A sector's bundle from its training span, the whole of `panel`.

    The hold-out is the last part of the span: the scores come from a model that was fitted wholly before it. With options.refit the bundle
    is then fitted on all of the span. Raises NoPairs or SpanTooShort, both Permanent.
    """
    # One thread in BLAS: faster on matrices this small, and sums in one order, so that the digest does not depend on the number of cores.
    with threadpool_limits(limits=1):
        return _trained(task, panel, options)


def _trained(task: SectorTask, panel: Panel, options: TrainingOptions) -> Bundle:
    holdout_at = int(len(panel.close_ns) * (1 - options.holdout_share))
    scored = _fit(task, panel.before(holdout_at), options)
    samples = _samples(fold(panel, scored.fits.pairs), task, options)
    holdout = _enough(samples.take(from_ns=int(panel.close_ns[holdout_at]), to_ns=int(panel.close_ns[-1]) + 1), "hold-out")
    earlier = samples.take(from_ns=0, to_ns=int(panel.close_ns[holdout_at]))
    metrics = holdout_metrics(
        holdout,
        OnnxNetwork(scored.onnx)(holdout.windows(scored.feature_mean, scored.feature_sd)),
        scored.calibration,
        base_rate=float(earlier.reverted.mean()),
    )
    final = _fit(task, panel, options) if options.refit else scored
    return _bundle(task, panel, options, final=final, metrics=metrics)


def _fit(task: SectorTask, panel: Panel, options: TrainingOptions) -> Fitted:
    fits = fit_pairs(panel, task.declared, task.slots, options)
    if not fits.pairs:
        reasons = "; ".join(f"{r.pair}: {r.reason}: {r.detail}" for r in fits.rejections)
        raise NoPairs(f"sector {task.sector}: no pair could be fitted ({reasons or 'none declared, none passed screening'})", fits.tests)
    samples = _samples(fold(panel, fits.pairs), task, options)
    border_ns = int(panel.close_ns[int(len(panel.close_ns) * (1 - options.validation_share))])
    training = _enough(samples.take(from_ns=0, to_ns=border_ns), "training")
    validation = _enough(samples.take(from_ns=border_ns, to_ns=int(panel.close_ns[-1]) + 1), "validation")
    mean, sd = _scaler(training)
    config = gru.NetworkConfig(**options.network.model_dump(exclude={"sequence"}))
    trained = gru.train(_network_samples(training, mean, sd), _network_samples(validation, mean, sd), config)
    graph = onnx_graph(trained.weights, options.network.sequence)
    outputs = OnnxNetwork(graph)(validation.windows(mean, sd))
    return Fitted(
        fits=fits,
        feature_mean=mean,
        feature_sd=sd,
        onnx=graph,
        calibration=calibrate(outputs, validation.realised / validation.garch_variance, validation.reverted),
        trained=trained,
    )


def _samples(histories: Sequence[PairHistory], task: SectorTask, options: TrainingOptions) -> Samples:
    return samples_of(histories, sequence=options.network.sequence, horizon_bars=options.horizon_bars(task.bar), cost_bps=options.cost_bps)


def _enough(samples: Samples, part: str) -> Samples:
    times = len(np.unique(samples.close_ns))
    if times < _TIMES_MIN:
        raise SpanTooShort(
            f"the {part} part holds forecasts at {times} times after purging, at least {_TIMES_MIN} are needed: train on more bars"
        )
    return samples


def _scaler(training: Samples) -> tuple[Vector, Vector]:
    """Mean and standard deviation (F,) of the rows that training windows end on; 1 where a feature does not vary."""
    rows = training.rows[training.last_row]
    sd = rows.std(axis=0)
    return rows.mean(axis=0), np.where(sd > 1e-12, sd, 1.0)


def _network_samples(samples: Samples, mean: Vector, sd: Vector) -> gru.Samples:
    return gru.Samples(
        windows=samples.windows(mean, sd), variance_ratio=samples.realised / samples.garch_variance, reverted=samples.reverted
    )


def _bundle(task: SectorTask, panel: Panel, options: TrainingOptions, *, final: Fitted, metrics: dict[str, float]) -> Bundle:
    starts = [history.start(options.network.sequence, final.feature_mean, final.feature_sd) for history in fold(panel, final.fits.pairs)]
    training = {"best_epoch": float(final.trained.best_epoch), "epochs": float(len(final.trained.losses) - 1)}
    return Bundle(
        sector=task.sector,
        bar=task.bar,
        trained_from_ns=int(panel.close_ns[0]),
        trained_to_ns=int(panel.close_ns[-1]),
        holdout_from_ns=int(panel.close_ns[int(len(panel.close_ns) * (1 - options.holdout_share))]),
        data_digest=task.data_digest,
        seed=options.network.seed,
        horizon_bars=options.horizon_bars(task.bar),
        cost_bps=options.cost_bps,
        features=FEATURES,
        feature_mean=tuple(final.feature_mean.tolist()),
        feature_sd=tuple(final.feature_sd.tolist()),
        sequence=options.network.sequence,
        calibration=final.calibration,
        pairs=tuple(with_start(pair, start) for pair, start in zip(final.fits.pairs, starts, strict=True)),
        tests=final.fits.tests,
        rejections=final.fits.rejections,
        metrics=metrics | training,
        settings=options.model_dump(mode="json"),
        onnx=final.onnx,
    )
