"""The pictures of a model card, as PNG: the spreads with their bands, forecast against realised variance, calibration, QLIKE by fold.

Drawn from a training, not from a bundle, because a bundle holds no prices; not part of the digest. Called by trainer/sectors.py.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tandem.quant.bundle import Bundle
from tandem.quant.history import PairHistory
from tandem.trainer.card import model_card, model_summary
from tandem.trainer.forecasts import VARIANCE_MODELS, Forecasts, joined
from tandem.trainer.main import Training

_SPREADS_MAX = 12  # a card is read by a person
_BINS, _BIN_ROWS_MIN = 10, 20  # of the calibration curve
_DPI, _WIDTH, _HEIGHT = 90, 9.0, 3.2
_COLOURS = {"hybrid": "#0b5fa5", "garch": "#d1711f", "gjr": "#8a8a2b", "har": "#7a5aa6", "ewma": "#5b8c5a", "realised": "#b5b5b5"}
_LABELS = {"hybrid": "hybrid", "garch": "own GARCH", "gjr": "GJR", "har": "HAR", "ewma": "EWMA", "ar1": "AR(1) alone"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Card:
    """A model card with its pictures, as files that lie side by side."""

    text: str  # Markdown; names the figures
    summary: str  # its first part
    figures: Mapping[str, bytes]  # file -> PNG


def card_of(training: Training) -> Card:
    """The card of a training. The same training gives the same pixels with the same matplotlib."""
    drawn = figures(training)
    titles = {file: title for file, (title, _) in drawn.items()}
    return Card(
        text=model_card(training.bundle, titles),
        summary=model_summary(training.bundle),
        figures={file: png for file, (_, png) in drawn.items()},
    )


def figures(training: Training) -> dict[str, tuple[str, bytes]]:
    """File -> (title, PNG), in the order of the card. Those of the scores are left out where nothing was scored."""
    bundle = training.bundle
    drawn = {
        f"spread_{history.pair.pair}.png": (f"Spread of {history.pair.pair}", _png(partial(_spread, bundle, history)))
        for history in training.histories[:_SPREADS_MAX]
    }
    parts = [scored.forecasts for scored in training.folds if scored.forecasts is not None]
    if not parts:
        return drawn
    pooled = joined(parts)
    pair = str(pooled.pair[0])
    return drawn | {
        "variance.png": (f"Forecast against realised, {pair}", _png(partial(_variance, parts, pair))),
        "calibration.png": ("Calibration of the reversion probability", _png(partial(_calibration, bundle, pooled), width=4.6, height=4.2)),
        "qlike_by_fold.png": ("QLIKE by fold", _png(partial(_qlike_by_fold, bundle))),
    }


def _png(draw: Callable[[Axes], None], *, width: float = _WIDTH, height: float = _HEIGHT) -> bytes:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})  # without matplotlib's version: the pixels say it all
    return sink.getvalue()


def _spread(bundle: Bundle, history: PairHistory, axes: Axes) -> None:
    times, pair = _times(history.close_ns), history.pair
    axes.plot(times, history.spread, color=_COLOURS["hybrid"], linewidth=0.8)
    axes.axhline(0.0, color="black", linewidth=0.6)
    for z, style in ((bundle.thresholds.entry_z, "--"), (bundle.thresholds.exit_z, ":")):
        for side in (-z, z):
            axes.axhline(side * pair.spread_sd, color=_COLOURS["garch"], linewidth=0.8, linestyle=style)
    _dated(axes)
    axes.set_ylabel("spread, log price")
    rule = f"dashed: entry at {bundle.thresholds.entry_z:g} sd, dotted: exit at {bundle.thresholds.exit_z:g}"
    axes.set_title(f"{pair.pair}: log {pair.leg_a} - {pair.beta:.3f} log {pair.leg_b} - {pair.mu:.3f}; {rule}", fontsize=9, loc="left")


def _variance(parts: Sequence[Forecasts], pair: str, axes: Axes) -> None:
    highest = 0.0
    for number, part in enumerate(parts):  # one by one: nothing is drawn across the purged bars between them
        own = part.pair == pair
        times, deviation = _times(part.close_ns[own]), 1e4 * np.sqrt(part.realised[own])
        labels = {"realised": "next bar's |innovation|"} | _LABELS if number == 0 else {}
        axes.vlines(times, 0, deviation, color=_COLOURS["realised"], linewidth=0.8, label=labels.get("realised", ""))
        for model, width in (("garch", 1.0), ("hybrid", 1.2)):
            axes.plot(times, 1e4 * np.sqrt(part.variances[model][own]), color=_COLOURS[model], linewidth=width, label=labels.get(model, ""))
        highest = max(highest, float(np.quantile(deviation, 0.995)) if len(deviation) else 0.0)
    axes.set_ylim(0, 1.2 * highest)
    _dated(axes)
    axes.set_ylabel("standard deviation, bp")
    axes.set_title(f"{pair}: forecasts out of sample, all test parts", fontsize=9, loc="left")
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")


def _calibration(bundle: Bundle, pooled: Forecasts, axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.6)
    for model, colour, suffix in (("hybrid", _COLOURS["hybrid"], ""), ("ar1", _COLOURS["garch"], "_ar1")):
        forecast, observed = _reliability(pooled.probabilities[model], pooled.reverted)
        label = f"{_LABELS[model]}, Brier {bundle.metrics[f'holdout_brier{suffix}']:.4f}"
        axes.plot(forecast, observed, marker="o", markersize=4, linewidth=1.0, color=colour, label=label)
    rate = bundle.metrics["holdout_reversion_rate"]
    axes.axhline(rate, color=_COLOURS["realised"], linewidth=1.0, linestyle="--")
    axes.plot([], [], color=_COLOURS["realised"], linestyle="--", label=f"base rate, Brier {bundle.metrics['holdout_brier_base_rate']:.4f}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("forecast probability of a reversion")
    axes.set_ylabel("share that reverted")
    axes.set_title(f"{len(pooled)} forecasts, in equal parts by probability", fontsize=9, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _reliability(probability: NDArray[np.float64], reverted: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean forecast and share of reversions of equally many forecasts each."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, max(1, min(_BINS, len(order) // _BIN_ROWS_MIN)))
    return np.array([probability[part].mean() for part in parts]), np.array([reverted[part].mean() for part in parts])


def _qlike_by_fold(bundle: Bundle, axes: Axes) -> None:
    folds = [number for number, fold in enumerate(bundle.folds, start=1) if not fold.skipped]
    models = [model for model in VARIANCE_MODELS if f"holdout_qlike_{model}" in bundle.metrics]
    for place, model in enumerate(models):
        values = [bundle.metrics[f"fold_{number}_qlike_{model}"] for number in folds] + [bundle.metrics[f"holdout_qlike_{model}"]]
        beside = np.arange(len(values)) + 0.12 * (place - (len(models) - 1) / 2)
        axes.plot(beside, values, linestyle="none", marker="o", markersize=7, color=_COLOURS[model], label=_LABELS[model])
    axes.set_xlim(-0.5, len(folds) + 0.5)
    axes.grid(axis="y", linewidth=0.4)
    axes.set_xticks(range(len(folds) + 1), [*(f"fold {number}" for number in folds), "all"])
    axes.set_ylabel("QLIKE, lower is better")
    axes.legend(fontsize=8, frameon=False, ncols=len(models), loc="upper left", bbox_to_anchor=(0, 1.12))


def _times(close_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return close_ns.astype("datetime64[ns]")


def _dated(axes: Axes) -> None:
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
