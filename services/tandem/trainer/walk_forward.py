"""The purged walk-forward: for each fold a model is fitted wholly before its test part, then says what it thinks of each bar there.

Nothing of a test part reaches the model that is scored on it: not the choice of pairs, the parameters, the scaler, the stopping of the
training or the calibration. Windows and labels that reach across a border are purged. A fold whose span yields no model is recorded with
its reason; the others go on. Called by trainer/main.py; scores are made of the result by trainer/evaluation.py.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.quant.bundle import Fold, PairModel, Thresholds
from tandem.quant.features import Vector, scaled
from tandem.quant.history import PairHistory, Samples, fold
from tandem.quant.hybrid import hybrid
from tandem.quant.panel import Panel
from tandem.trainer.baselines import ar1_probability, baseline_variances
from tandem.trainer.forecasts import Forecasts, ScoredFold
from tandem.trainer.next_bar import positions, profits
from tandem.trainer.options import TrainingOptions
from tandem.trainer.span_fit import Fitted, NoPairs, SectorTask, SpanTooShort, enough, fit_span, samples_for

Borders = tuple[int, int]  # first bar of a test part, first bar after it


def borders(bars: int, *, folds: int, test_share: float) -> tuple[Borders, ...]:
    """The test parts, in order of time: side by side, the last one ending with the span."""
    return tuple(pairwise([*(round(bars * (1 - (folds - i) * test_share)) for i in range(folds)), bars]))


def walk_forward(task: SectorTask, panel: Panel, options: TrainingOptions) -> Iterator[ScoredFold]:
    """The folds one by one, as they are done. Raises the last fold's NoPairs or SpanTooShort when no fold has a model."""
    rule = options.walk_forward
    members = min(rule.members, options.network.members)
    lean = options.model_copy(update={"network": options.network.model_copy(update={"members": members})})
    scored = 0
    failure: NoPairs | SpanTooShort | None = None
    for border in borders(len(panel.close_ns), folds=rule.folds, test_share=rule.test_share):
        try:
            fitted = fit_span(task, panel.before(border[0]), lean)
            result = score(task, panel, options, fitted=fitted, border=border)
        except (NoPairs, SpanTooShort) as error:
            failure = error
            yield ScoredFold(fold=_fold(panel, border, skipped=str(error)), forecasts=None)
            continue
        scored += 1
        yield result
    if failure is not None and not scored:
        raise failure


def score(task: SectorTask, panel: Panel, options: TrainingOptions, *, fitted: Fitted, border: Borders) -> ScoredFold:
    """What a model that was fitted on the bars before border[0] says of those from there up to border[1]. Raises SpanTooShort."""
    start, stop = border
    seen = panel.before(stop)
    histories = fold(seen, fitted.fits.pairs)
    samples = samples_for(histories, task, options)
    from_ns, trained_to_ns = int(panel.close_ns[start]), int(panel.close_ns[start - 1])
    test = enough(samples.take(from_ns=from_ns, to_ns=int(panel.close_ns[stop - 1]) + 1), "test")
    base_rate = float(samples.take(from_ns=0, to_ns=from_ns).reverted.mean())
    rows = _Rows(histories)
    variance, probability = _hybrid(fitted, histories, test, rows)
    variances = {"hybrid": variance, "garch": rows.garch_variance} | baseline_variances(seen, histories, trained_to_ns=trained_to_ns)
    horizon_bars = options.horizon_bars(task.bar)
    chances = {
        "hybrid": probability,
        "ar1": np.concatenate(
            [
                ar1_probability(h.pair, h.spread, horizon_bars=horizon_bars, cost=2 * (1 + abs(h.pair.beta)) * options.cost_bps * 1e-4)
                for h in histories
            ]
        ),
        "base_rate": np.full(len(rows), base_rate),
    }
    traded = _traded(histories, rows, test, probability=probability, options=options)
    names = np.array([pair.pair for pair in fitted.fits.pairs])
    return ScoredFold(
        fold=_fold(panel, border, pairs=fitted.fits.pairs, windows=len(test)),
        forecasts=Forecasts(
            pair=names[rows.pair[test.last_row]],
            close_ns=test.close_ns,
            unit_variance=np.array([pair.volatility.scale**2 for pair in fitted.fits.pairs])[rows.pair[test.last_row]],
            realised=test.realised,
            variances={name: values[test.last_row] for name, values in variances.items()},
            reverted=test.reverted,
            probabilities={name: values[test.last_row] for name, values in chances.items()},
            **traded,
        ),
    )


class _Rows:
    """The bars of all histories in turn, as Samples counts them."""

    def __init__(self, histories: Sequence[PairHistory]) -> None:
        lengths = [len(history.spread) for history in histories]
        self.first = np.concatenate(([0], np.cumsum(lengths)))  # (P + 1,)
        self.pair = np.repeat(np.arange(len(histories)), lengths)
        self.garch_variance = np.concatenate([history.garch_variance for history in histories])

    def __len__(self) -> int:
        return len(self.pair)

    def tested(self, place: int, test: Samples) -> tuple[int, int]:
        """First and last row of a pair's test part, both included; (0, -1) when it has none."""
        own = test.last_row[self.pair[test.last_row] == place]
        return (int(own.min()), int(own.max())) if len(own) else (0, -1)


def _hybrid(fitted: Fitted, histories: Sequence[PairHistory], test: Samples, rows: _Rows) -> tuple[Vector, Vector]:
    """(variance, probability) of each row of the test part, (R,); NaN elsewhere."""
    network = OnnxNetwork(fitted.onnx)
    features = scaled(test.rows, fitted.feature_mean, fitted.feature_sd)
    variance, probability = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for place in range(len(histories)):
        first, last = rows.tested(place, test)
        part = np.arange(first, last + 1)
        outputs = network(features[part[:, None] + np.arange(1 - test.sequence, 1)])
        variance[part], probability[part] = hybrid(fitted.calibration, rows.garch_variance[part], outputs)
    return variance, probability


def _traded(
    histories: Sequence[PairHistory], rows: _Rows, test: Samples, *, probability: Vector, options: TrainingOptions
) -> dict[str, Any]:
    """The columns of Forecasts on the next-bar rule, with the hybrid's probability and with certainty in its place."""
    certain, thresholds = np.ones(len(rows)), Thresholds()
    times: list[NDArray[np.int64]] = []
    earned: dict[str, list[Vector]] = {"hybrid": [], "always_1": []}
    entries = dict.fromkeys(earned, 0)
    for place, history in enumerate(histories):
        first, last = rows.tested(place, test)
        own = slice(first - int(rows.first[place]), last + 1 - int(rows.first[place]))
        spread = history.spread[own]
        if last - first < 2:
            continue
        times.append(history.close_ns[own][2:])
        for name, chance in (("hybrid", probability), ("always_1", certain)):
            wanted = positions(spread / history.pair.spread_sd, chance[first : last + 1], thresholds)
            earned[name].append(profits(wanted, spread, beta=history.pair.beta, cost_bps=options.cost_bps))
            entries[name] += int(np.count_nonzero(np.diff(wanted[:-2], prepend=0) * wanted[:-2] > 0))
    profit_ns, place_of = np.unique(np.concatenate(times), return_inverse=True)
    pairs = np.bincount(place_of)
    return {
        "profit_ns": profit_ns,
        "profits": {name: np.bincount(place_of, weights=np.concatenate(parts)) / pairs for name, parts in earned.items()},
        "entries": entries,
    }


def _fold(panel: Panel, border: Borders, *, pairs: Sequence[PairModel] = (), windows: int = 0, skipped: str = "") -> Fold:
    start, stop = border
    return Fold(
        trained_to_ns=int(panel.close_ns[start - 1]),
        tested_from_ns=int(panel.close_ns[start]),
        tested_to_ns=int(panel.close_ns[stop - 1]),
        pairs=tuple(pair.pair for pair in pairs),
        windows=windows,
        skipped=skipped,
    )
