"""What a training leaves in Postgres besides its model: its row of history, the features of its data, and how steady their variance was.

Diagnostics only: nothing that is found here keeps a symbol or a pair out of a model. Called after a training, by `tandem train` and
`tandem rebaseline`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.model_history import DataOrigin, Diagnosed, ModelHistory
from tandem.adapters.postgres import upgrade
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId
from tandem.quant.bundle import Bundle, model_name
from tandem.quant.drift import Drift, drift
from tandem.quant.features import Vector
from tandem.quant.history import PairHistory, fold
from tandem.quant.panel import Panel
from tandem.quant.stability import annualised_volatility, bars_per_year, features, stability

LOG_RETURN, INNOVATION, STANDARDISED = "log_return", "spread_innovation", "standardised_innovation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Rows that were new."""

    trainings: int
    features: int
    stability: int


def record_training_run(
    postgres_url: str,
    bundle: Bundle,
    ref: ModelRef | None,
    panel: Panel,
    *,
    slots: int,
    source: str = "file",
    replay_id: str = "",
    run_id: str = "",
) -> Recorded:
    """Record a training: history of the version and its pairs, features and stability of each symbol and spread over the training span.

    ref: as registered; None for a bundle that only went to a folder. panel, slots: as trainer/data.py gave them to the training.
    source: "file", else what the bars in Postgres are labelled with, with the replay's id if recycled. Brings the schema up to date first.
    The same run twice adds nothing. Raises Transient when Postgres is away.
    """
    upgrade(postgres_url)
    store = ModelHistory(postgres_url)
    data = DataOrigin(timeframe=bundle.bar, source=source, origin=bundle.data_digest if source == "file" else replay_id)
    known = ref or ModelRef(name=model_name(bundle.sector), version="", digest=bundle.digest)
    trainings = store.record_training(bundle, ref, data=data, run_id=run_id)
    yearly = bars_per_year(slots)
    span = panel.between(0, int(np.searchsorted(panel.close_ns, bundle.trained_to_ns, side="right")))
    rows = 0
    for subject, digest, close_ns, level in _levels(span, fold(span, bundle.pairs), known.digest):
        rows += store.record_features(subject, close_ns, features(level, bars_per_year=yearly), data=data, model_digest=digest)
    found = store.record_stability(diagnose(span, bundle, slots=slots), bundle.sector, known, data=data)
    return Recorded(trainings=trainings, features=rows, stability=found)


def diagnose(panel: Panel, bundle: Bundle, *, slots: int) -> tuple[Diagnosed, ...]:
    """Stability of each symbol's log returns and, for each pair, of its spread's innovations before and after GARCH.

    The innovations of a good pair model vary (that is what GARCH is for); divided by the forecast standard deviation they should not.
    """
    yearly = bars_per_year(slots)
    series = [(str(name), LOG_RETURN, *_returns(panel, name)) for name in panel.symbols]
    for history in fold(panel, bundle.pairs):
        close_ns, innovation, standardised = innovations(history)
        series += [(history.pair.pair, INNOVATION, close_ns, innovation), (history.pair.pair, STANDARDISED, close_ns, standardised)]
    return tuple(
        Diagnosed(
            subject=subject,
            series=name,
            from_ns=int(close_ns[0]),
            to_ns=int(close_ns[-1]),
            stability=stability(values),
            # Standardised innovations have no unit to annualise.
            volatility_annualised=annualised_volatility(values, bars_per_year=yearly) if name != STANDARDISED and len(values) > 1 else None,
        )
        for subject, name, close_ns, values in series
        if len(values)
    )


def innovations(history: PairHistory) -> tuple[NDArray[np.int64], Vector, Vector]:
    """Closes, innovations of the spread, and these over their forecast standard deviation, (m,) each.

    Only bars that follow the pair's last one without a gap: the forecast was of the next bar, not of the one after it.
    """
    follows = history.elapsed[1:] == 1
    innovation = (history.spread[1:] - history.expected_spread[:-1])[follows]
    return history.close_ns[1:][follows], innovation, innovation / np.sqrt(history.garch_variance[:-1][follows])


def drifts(panel: Panel, bundle: Bundle) -> dict[PairId, Drift | None]:
    """For each pair of a bundle whose legs the panel holds, the drift of its standardised innovations since the training."""
    held = [pair for pair in bundle.pairs if {pair.leg_a, pair.leg_b} <= set(panel.symbols)]
    found: dict[PairId, Drift | None] = {}
    for history in fold(panel, held) if held else ():
        close_ns, _, standardised = innovations(history)
        found[history.pair.pair] = drift(standardised[close_ns > bundle.trained_to_ns])
    return found


def _returns(panel: Panel, name: str) -> tuple[NDArray[np.int64], Vector]:
    """Log returns between neighbouring bars of the symbol, and their closes."""
    close_ns, level = _level(panel, name)
    return close_ns[1:], np.diff(level)


def _level(panel: Panel, name: str) -> tuple[NDArray[np.int64], Vector]:
    level = panel.log_close(name)
    traded = np.isfinite(level)
    return panel.close_ns[traded], level[traded]


def _levels(panel: Panel, histories: Sequence[PairHistory], digest: str) -> Iterator[tuple[str, str, NDArray[np.int64], Vector]]:
    """Subject, model digest, closes and level of each series whose features are stored."""
    for name in panel.symbols:
        yield (str(name), "", *_level(panel, name))
    for history in histories:
        yield history.pair.pair, digest, history.close_ns, history.spread
