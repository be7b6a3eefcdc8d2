"""From a table of prices to a bundle: score by walk-forward, then fit on all of it. No clock, file or server: same input, same digest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES
from tandem.quant.history import PairHistory, fold
from tandem.quant.panel import Panel
from tandem.trainer.evaluation import walk_forward_metrics
from tandem.trainer.forecasts import ScoredFold
from tandem.trainer.options import TrainingOptions
from tandem.trainer.pair_fits import with_start
from tandem.trainer.span_fit import Fitted, NoPairs, SectorTask, SpanTooShort, fit_span
from tandem.trainer.walk_forward import borders, walk_forward

__all__ = ["Fitted", "NoPairs", "Progress", "SectorTask", "SpanTooShort", "Training", "fit_span", "train", "train_sector"]

Progress = Callable[[int, int], None]  # fits that are done, fits in all


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """A bundle, and what its card is drawn from and the bundle does not hold."""

    bundle: Bundle
    folds: tuple[ScoredFold, ...]
    histories: tuple[PairHistory, ...]  # of the bundle's pairs over the training span


def train_sector(task: SectorTask, panel: Panel, options: TrainingOptions, *, progress: Progress | None = None) -> Bundle:
    """A sector's bundle from its training span, the whole of `panel`. See `train`."""
    return train(task, panel, options, progress=progress).bundle


def train(task: SectorTask, panel: Panel, options: TrainingOptions, *, progress: Progress | None = None) -> Training:
    """Score the options on the span by walk-forward, then fit the bundle on all of it.

    The scores are of models that were fitted wholly before what they are scored on. Raises NoPairs or SpanTooShort, both Permanent.
    """
    said = progress or (lambda _done, _all: None)
    count = options.walk_forward.folds + 1
    # One thread in BLAS: faster on matrices this small, and sums in one order, so that the digest does not depend on the number of cores.
    with threadpool_limits(limits=1):
        folds: list[ScoredFold] = []
        said(0, count)
        for scored in walk_forward(task, panel, options):
            folds.append(scored)
            said(len(folds), count)
        final = fit_span(task, panel, options)
        metrics = walk_forward_metrics(folds, trials=task.trials, horizon_bars=options.horizon_bars(task.bar))
    said(count, count)
    histories = fold(panel, final.fits.pairs)
    bundle = _bundle(task, panel, options, final=final, histories=histories, folds=folds, metrics=metrics)
    return Training(bundle=bundle, folds=tuple(folds), histories=histories)


def _bundle(
    task: SectorTask,
    panel: Panel,
    options: TrainingOptions,
    *,
    final: Fitted,
    histories: Sequence[PairHistory],
    folds: Sequence[ScoredFold],
    metrics: dict[str, float],
) -> Bundle:
    network = options.network
    starts = [history.start(network.sequence, final.feature_mean, final.feature_sd) for history in histories]
    training = {"best_epoch": float(final.trained.best_epoch), "epochs": float(len(final.trained.losses) - 1)}
    return Bundle(
        sector=task.sector,
        bar=task.bar,
        trained_from_ns=int(panel.close_ns[0]),
        trained_to_ns=int(panel.close_ns[-1]),
        holdout_from_ns=_tested_from_ns(panel, options),
        data_digest=task.data_digest,
        seed=network.seed,
        horizon_bars=options.horizon_bars(task.bar),
        cost_bps=options.cost_bps,
        features=FEATURES,
        feature_mean=tuple(final.feature_mean.tolist()),
        feature_sd=tuple(final.feature_sd.tolist()),
        sequence=network.sequence,
        calibration=final.calibration,
        pairs=tuple(with_start(pair, start) for pair, start in zip(final.fits.pairs, starts, strict=True)),
        tests=final.fits.tests,
        rejections=final.fits.rejections,
        metrics=metrics | training,
        settings=options.model_dump(mode="json"),
        onnx=final.onnx,
        rejected_symbols=task.rejected,
        folds=tuple(scored.fold for scored in folds),
        cell=network.cell,
        members=network.members,
        trial=task.trial,
        trials=task.trials,
    )


def _tested_from_ns(panel: Panel, options: TrainingOptions) -> int:
    """Close of the first bar that is scored; the last of the span when none is."""
    rule = options.walk_forward
    starts = [start for start, _ in borders(len(panel.close_ns), folds=rule.folds, test_share=rule.test_share)]
    return int(panel.close_ns[starts[0] if starts else -1])
