"""Made daily measures of an index, by seed: SYNTHETIC, for tests only. Log variance is a slow and a fast autoregression with leverage."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def made_measures(days: int, *, seed: int = 1, leverage: float = 0.15) -> tuple[Vector, Vector]:
    """Realised variances (days,) in percent squared, noisy, and open-to-close returns (days,) in percent."""
    random = np.random.default_rng(seed)
    shocks, slow_news, fast_news, noise = random.standard_normal((4, days))
    slow, fast = np.zeros(days), np.zeros(days)
    for t in range(1, days):
        slow[t] = 0.985 * slow[t - 1] + 0.08 * slow_news[t] - leverage * shocks[t - 1] / 2
        fast[t] = 0.6 * fast[t - 1] + 0.3 * fast_news[t] - leverage * shocks[t - 1]
    variance = np.exp(-0.7 + slow + fast)
    return variance * np.exp(0.3 * noise - 0.045), shocks * np.sqrt(variance)


def made_file(path: Path, days: int, *, seed: int = 1) -> Path:
    """The same as a file of daily fractions, on weekdays from 2001-01-01."""
    realised, returns = made_measures(days, seed=seed)
    dates = np.busday_offset(np.datetime64("2001-01-01"), np.arange(days), roll="forward")
    pq.write_table(pa.table({"date": pa.array(dates), "rv5": realised / 1e4, "open_to_close": returns / 100}), path)
    return path
