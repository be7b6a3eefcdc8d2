"""Protocol C: one-step variance of the spread of every pair of a sector, walked forward, the network against the pair's own GARCH.

Every `refit_bars` bars everything is fitted again on the window before: hedge ratio, AR(1), variance models, and the network by the
trainer's own `fit_span`, pooled over the pairs. Between refits each model's state moves with every bar. A label is the squared innovation
of one bar by the hedge ratio and mean of the last refit; its forecast is made at the bar before. Nothing at or after a label's bar is seen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId, pair_legs
from tandem.domain.units import rfc3339
from tandem.quant.features import scaled
from tandem.quant.history import PairHistory, fold
from tandem.quant.hybrid import hybrid
from tandem.quant.panel import Panel
from tandem.research.records import ProtocolResult
from tandem.research.spread_labels import BAND_BARS, Labels, bands, joined_labels, labels_of
from tandem.research.spread_models import classical
from tandem.research.spread_universe import SpreadUniverse, only_symbols
from tandem.trainer.options import TrainingOptions
from tandem.trainer.span_fit import Fitted, SectorTask, fit_span

Vector = NDArray[np.float64]

NETWORK = "garch_gru"
BASELINE = "garch"
_BLOCK = 10  # mean block of the confidence set's bootstrap, as in protocol B


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRule:
    """How the walk goes."""

    window_bars: int = 2_520  # fitted on before each refit, ten years of days; fewer where the file begins later
    refit_bars: int = 252
    pooled: bool = True  # one network for all sectors; else one for each

    def __post_init__(self) -> None:
        if self.window_bars < 1 or self.refit_bars < 1:
            raise ValueError(f"window_bars and refit_bars must be at least 1; found {self}")


OnRefit = Callable[[int, int], None]  # blocks done, blocks in all


def run(
    universe: SpreadUniverse, *, bar: str, options: TrainingOptions, rule: SpreadRule | None = None, on_refit: OnRefit | None = None
) -> ProtocolResult:
    """Forecasts of all models for every pair on the bars from universe.first_test on that all pairs have a label at.

    A pair that some refit cannot fit is left out with a note. Raises Permanent when none is left, NoPairs or SpanTooShort from the trainer.
    """
    rule = rule or SpreadRule()
    bars = len(universe.panel.close_ns)
    starts = range(universe.first_test, bars, rule.refit_bars)
    blocks = []
    for start in starts:
        with threadpool_limits(limits=1):  # as in training: faster on matrices this small, and the same bits with any number of cores
            blocks.append(_block(universe, start, min(start + rule.refit_bars, bars), bar=bar, options=options, rule=rule))
        if on_refit is not None:
            on_refit(len(blocks), len(starts))
    joined = joined_labels([block.labels for block in blocks])
    wanted = [pair for pairs in universe.pairs.values() for pair in pairs]
    kept = [pair for pair in wanted if pair in joined]
    if not kept:
        raise Permanent(f"none of the {len(wanted)} pairs could be fitted at all of the {len(starts)} refits")
    return _result(universe, joined, blocks, kept=kept, bar=bar, options=options, rule=rule)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    labels: dict[PairId, Labels]
    seconds: dict[str, float]
    shrinks: dict[str, float]  # what was fitted together -> part of the correction kept


def _block(universe: SpreadUniverse, start: int, stop: int, *, bar: str, options: TrainingOptions, rule: SpreadRule) -> _Block:
    """Fit on the window before bar `start`, forecast the labels from there up to bar `stop`."""
    begin = max(0, start - rule.window_bars)
    span, trained = universe.panel.between(begin, stop), start - begin
    lean = options.model_copy(update={"screening": options.screening.model_copy(update={"screened_max": 0})})
    labels: dict[PairId, Labels] = {}
    seconds: dict[str, float] = {}
    shrinks: dict[str, float] = {}
    for name, pairs in _fitted_together(universe.pairs, rule).items():
        begun = time.process_time()
        task = SectorTask(sector=name, bar=bar, slots=universe.slots, declared=pairs, data_digest=universe.data_digest)
        fitted = fit_span(task, _legs_of(span.before(trained), pairs), lean)
        histories = fold(span, fitted.fits.pairs)
        network = _network_variances(fitted, histories, sequence=options.network.sequence, bars=BAND_BARS + stop - start)
        spent = time.process_time() - begun
        others = classical(span, histories, trained=trained)
        by_model = {NETWORK: network} | others.variances
        for place, history in enumerate(histories):
            forecasts = {model: variances[place] for model, variances in by_model.items()}
            labels[history.pair.pair] = labels_of(history, forecasts, from_ns=int(span.close_ns[trained]))
        for model, cost in ({NETWORK: spent} | others.seconds).items():
            seconds[model] = seconds.get(model, 0.0) + cost
        shrinks[name] = fitted.calibration.shrink
    return _Block(labels=labels, seconds=seconds, shrinks=shrinks)


def _fitted_together(pairs: Mapping[SectorId, Sequence[PairId]], rule: SpreadRule) -> dict[SectorId, tuple[PairId, ...]]:
    if rule.pooled:
        return {SectorId("all"): tuple(pair for found in pairs.values() for pair in found)}
    return {sector: tuple(found) for sector, found in pairs.items()}


def _legs_of(panel: Panel, pairs: Sequence[PairId]) -> Panel:
    """Without the symbols that none of these pairs names: the trainer would screen them."""
    named = {leg for pair in pairs for leg in pair_legs(pair)}
    return only_symbols(panel, [name for name in panel.symbols if name in named])


def _network_variances(fitted: Fitted, histories: Sequence[PairHistory], *, sequence: int, bars: int) -> list[Vector]:
    """The served forecast on the last `bars` bars, the pair's own filter before them; one (n,) per pair."""
    network, found = OnnxNetwork(fitted.onnx), []
    for history in histories:
        variance = history.garch_variance.copy()
        if len(history.rows) >= sequence:
            rows = scaled(history.rows, fitted.feature_mean, fitted.feature_sd)
            last = np.arange(max(sequence - 1, len(rows) - bars), len(rows))
            windows = rows[last[:, None] + np.arange(1 - sequence, 1)]
            variance[last], _ = hybrid(fitted.calibration, variance[last], network(windows))
        found.append(variance)
    return found


def _result(
    universe: SpreadUniverse,
    joined: Mapping[PairId, Labels],
    blocks: Sequence[_Block],
    *,
    kept: Sequence[PairId],
    bar: str,
    options: TrainingOptions,
    rule: SpreadRule,
) -> ProtocolResult:
    network = options.network
    days = [rfc3339(int(ns))[: 10 if bar == "1d" else None] for ns in joined[kept[0]].close_ns]
    return ProtocolResult(
        protocol="spread",
        data_digest=universe.data_digest,
        dates=tuple(days),
        realised={pair: joined[pair].realised for pair in kept},
        forecasts={pair: joined[pair].forecasts for pair in kept},
        baseline=BASELINE,
        block=_BLOCK,
        horizon=1,
        seeds={NETWORK: tuple(range(network.seed, network.seed + network.members))},
        settings=_settings(universe, kept, blocks, bar=bar, options=options, rule=rule),
        cpu_seconds={model: sum(block.seconds[model] for block in blocks) for model in blocks[0].seconds},
        notes=_notes(universe, kept),
        returns={pair: -np.sqrt(joined[pair].realised) for pair in kept},
        tails={pair: bands(joined[pair]) for pair in kept},
        nested={"gjr": "garch"},
        groups={sector: tuple(pairs) for sector, pairs in _sectors(universe, kept).items()},
    )


def _settings(
    universe: SpreadUniverse, kept: Sequence[PairId], blocks: Sequence[_Block], *, bar: str, options: TrainingOptions, rule: SpreadRule
) -> dict[str, Any]:
    return {
        "bar": bar,
        "sectors": _sectors(universe, kept),
        **asdict(rule),
        "validation_share": options.validation_share,
        "network": options.network.model_dump(mode="json"),
        "correction_kept": [block.shrinks for block in blocks],
    }


def _sectors(universe: SpreadUniverse, kept: Sequence[PairId]) -> dict[str, list[PairId]]:
    groups = {str(sector): [pair for pair in pairs if pair in kept] for sector, pairs in universe.pairs.items()}
    return {sector: pairs for sector, pairs in groups.items() if pairs}


def _notes(universe: SpreadUniverse, kept: Sequence[PairId]) -> tuple[str, ...]:
    lost = [pair for pairs in universe.pairs.values() for pair in pairs if pair not in kept]
    notes = [f"{found.symbol} left out: {found.reason}: {found.detail}" for found in universe.rejections]
    return (*notes, *([f"not fitted at each refit, left out: {', '.join(lost)}"] if lost else []))
