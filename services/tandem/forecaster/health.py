"""What a forecaster counts of itself since its state was rebuilt: what the operational gates of a rollout look at, shown at /state.

Written by the pump's thread, read by others: each number is replaced as a whole. Forecasts and withheld ones are counted over the same bars
of the replay that the state belongs to, so that their ratio is one. Latency is of live bars only: what is forecast again
while the state is rebuilt was received long ago, and what came meanwhile has waited for that.
"""

from collections import deque
from typing import Any

import numpy as np

from tandem.flow.forecast import ForecastState
from tandem.flow.sector import SectorState

_LATENCIES = 2_000  # newest ones; the 99th percentile of fewer than 100 is their largest


def live_latency_s(received_ns: int, *, published_ns: int, live_from_ns: int | None) -> float | None:
    """From the receipt of what completed a batch to its publication; None unless it was received after the state was rebuilt."""
    if live_from_ns is None or received_ns < live_from_ns:
        return None
    return (published_ns - received_ns) / 1e9


class HealthCounts:
    """Counts of one version's life."""

    def __init__(self) -> None:
        self.errors = 0  # records that could not be used, whether published about or not
        self.lag_records: int | None = None
        self._state: ForecastState | None = None
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)
        self._withheld_told = 0

    def step(self, state: SectorState) -> None:
        """The state after a record."""
        self._state = state.forecasts

    @property
    def forecasts(self) -> int:
        """That were made."""
        return int(self._state.shown.sum()) if self._state is not None else 0

    @property
    def withheld(self) -> int:
        """That were not finite."""
        return int(self._state.withheld.sum()) if self._state is not None else 0

    def newly_withheld(self) -> int:
        """Withheld since the last time that this was asked; none where the count has gone back, with another replay or a rewind."""
        before, self._withheld_told = self._withheld_told, self.withheld
        return max(0, self._withheld_told - before)

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
