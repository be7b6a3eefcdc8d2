"""From a table of prices to a bundle: fit, score on the hold-out, fit again. No clock, no file, no server: same input, same digest."""

from threadpoolctl import threadpool_limits

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES
from tandem.quant.history import fold
from tandem.quant.panel import Panel
from tandem.trainer.evaluation import holdout_metrics
from tandem.trainer.options import TrainingOptions
from tandem.trainer.pair_fits import with_start
from tandem.trainer.span_fit import Fitted, NoPairs, SectorTask, SpanTooShort, enough, fit_span, samples_for

__all__ = ["Fitted", "NoPairs", "SectorTask", "SpanTooShort", "fit_span", "train_sector"]


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
    scored = fit_span(task, panel.before(holdout_at), options)
    samples = samples_for(fold(panel, scored.fits.pairs), task, options)
    holdout = enough(samples.take(from_ns=int(panel.close_ns[holdout_at]), to_ns=int(panel.close_ns[-1]) + 1), "hold-out")
    earlier = samples.take(from_ns=0, to_ns=int(panel.close_ns[holdout_at]))
    metrics = holdout_metrics(
        holdout,
        OnnxNetwork(scored.onnx)(holdout.windows(scored.feature_mean, scored.feature_sd)),
        scored.calibration,
        base_rate=float(earlier.reverted.mean()),
    )
    final = fit_span(task, panel, options) if options.refit else scored
    return _bundle(task, panel, options, final=final, metrics=metrics)


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
