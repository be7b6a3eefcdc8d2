"""The figure of a volatility report: QLIKE of each model, and when each gained on the baseline. Agg only, no state of pyplot."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tandem.research.records import ProtocolResult
from tandem.research.scoring import Scores, qlike_losses

_BARS_MAX, _LINES_MAX = 24, 8  # more cannot be told apart
_IN_SET, _OUTSIDE = "#1f6f8b", "#b8c4c9"


def save_figure(result: ProtocolResult, found: Scores, path: Path) -> None:
    """Write the PNG. Left: mean QLIKE, dark where in the 90 % confidence set. Right: cumulated QLIKE less the baseline's, best models."""
    figure = Figure(figsize=(12, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    bars, lines = figure.subplots(1, 2)
    losses = qlike_losses(result, result.headline)
    ranked = sorted(losses, key=lambda model: float(losses[model].mean()))
    _draw_bars(bars, found, ranked[:_BARS_MAX], {model: float(losses[model].mean()) for model in ranked})
    days = np.arange(len(result.dates))
    for model in [model for model in ranked if model != result.baseline][:_LINES_MAX]:
        lines.plot(days, np.cumsum(losses[model] - losses[result.baseline]), label=model, linewidth=1.2)
    lines.axhline(0, color="black", linewidth=0.8)
    ticks = np.unique(np.linspace(0, len(days) - 1, min(6, len(days))).astype(int))
    lines.set_xticks(ticks, [result.dates[tick] for tick in ticks], fontsize=8)
    lines.set_title(f"cumulated QLIKE less that of {result.baseline} (down: better)", fontsize=10)
    if len(ranked) > 1:
        lines.legend(fontsize=8)
    figure.suptitle(f"protocol {result.protocol}, {result.dates[0]} to {result.dates[-1]}")
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_bars(axes: Any, found: Scores, ranked: list[str], losses: dict[str, float]) -> None:
    colours = [_IN_SET if isinstance(p := found.pooled[model]["mcs_p"], float) and p > 0.1 else _OUTSIDE for model in ranked]
    places = np.arange(len(ranked))[::-1]
    axes.barh(places, [losses[model] for model in ranked], color=colours)
    axes.set_yticks(places, ranked, fontsize=8)
    axes.set_title("mean QLIKE (dark: in the 90 % confidence set)", fontsize=10)
