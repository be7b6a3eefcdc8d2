"""What a forecaster counts of itself since its state was rebuilt: what the operational gates of a rollout look at, shown at /state.

Written by the pump's thread, read by others: each number is replaced as a whole. Forecasts and withheld ones are counted over the same bars
of the replay that the state belongs to, so that their ratio is one. Latency is of live bars only: what is forecast again
while the state is rebuilt was received long ago.
"""

from collections import deque
from typing import Any

import numpy as np

from tandem.domain.forecasts import ForecastBatch
from tandem.flow.sector import SectorState

_LATENCIES = 2_000  # newest ones; the 99th percentile of fewer than 100 is their largest


class HealthCounts:
    """Counts of one version's life."""

    def __init__(self) -> None:
        self.errors = 0  # records that could not be used, whether published about or not
        self.forecasts = 0
        self.withheld = 0  # forecasts that were not finite
        self.lag_records: int | None = None
        self._replay_id: str | None = None
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)

    def step(self, state: SectorState, batches: tuple[ForecastBatch, ...]) -> None:
        """The state after a record, and what it made."""
        if state.replay_id != self._replay_id:
            self._replay_id, self.forecasts = state.replay_id, 0
        self.forecasts += sum(len(batch.forecasts) for batch in batches)
        self.withheld = int(state.forecasts.withheld.sum())

    def bad_record(self) -> None:
        """A record that could not be used."""
        self.errors += 1

    def published(self, elapsed_s: float) -> None:
        """A batch with forecasts went out, so long after the ingestor's receipt of what completed it."""
        self._latencies_s.append(elapsed_s)

    def report(self) -> dict[str, Any]:
        """As /state shows it; null where nothing was measured."""
        latencies_s = list(self._latencies_s)
        return {
            "errors": self.errors,
            "forecasts": self.forecasts,
            "withheld": self.withheld,
            "latency_p99_s": float(np.quantile(latencies_s, 0.99, method="higher")) if latencies_s else None,
            "lag_records": self.lag_records,
        }
