"""Engle-Granger of every pair of a universe against statsmodels' coint, in one process. Run: python benchmarks/screening.py [FILE] [PAIRS]

FILE: daily Parquet (default: made random walks, 376 symbols x 1,258 days). PAIRS: how many statsmodels gets (default 60; it takes all lags
by AIC, as ours does). Prints both times per test and per core, their ratio, and the largest differences.
"""

import sys
import time
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
from statsmodels.tsa.stattools import coint

from tandem.adapters.market_file import load_market_data
from tandem.quant.engle_granger import engle_granger_many

SYMBOLS, DAYS = 376, 1258


def table(file: str | None) -> np.ndarray:
    """Log closes (T, S), NaN where there is none."""
    if file is None:
        return np.cumsum(0.01 * np.random.default_rng(0).standard_normal((DAYS, SYMBOLS)), axis=0) + 4
    data = load_market_data(Path(file), drop_bad=True)
    times, row = np.unique(data.ticks["event_ns"], return_inverse=True)
    found = np.full((len(times), len(data.symbols)), np.nan)
    found[row, data.ticks["symbol"]] = np.log(data.ticks["price"])
    return found[-DAYS:]


def main() -> None:
    """Print the comparison."""
    log_close = table(sys.argv[1] if len(sys.argv) > 1 else None)
    sample = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    pairs = np.array(list(combinations(range(log_close.shape[1]), 2)))
    engle_granger_many(log_close, pairs[:2])  # compiles, or loads from the cache
    # CPU time of this one thread: what else runs on the machine does not count.
    start = time.process_time()
    ours = engle_granger_many(log_close, pairs)
    ours_s = (time.process_time() - start) / (2 * len(pairs))
    chosen = np.random.default_rng(0).choice(len(pairs), min(sample, len(pairs)), replace=False)
    differences, theirs_s = [], 0.0
    for number in chosen.tolist():
        both = log_close[:, pairs[number]][np.isfinite(log_close[:, pairs[number]]).all(axis=1)]
        for way, (y, x) in enumerate(((both[:, 0], both[:, 1]), (both[:, 1], both[:, 0]))):
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                statistic, p_value, _ = coint(y, x, trend="c", autolag="aic")
            theirs_s += time.process_time() - start
            differences.append((abs(p_value - ours.p_value[number, way]), abs(statistic - ours.statistic[number, way])))
    theirs_s /= 2 * len(chosen)
    worst_p, worst_statistic = np.max(differences, axis=0)
    print(f"{log_close.shape[1]} symbols, {len(pairs)} pairs, {log_close.shape[0]} bars, both directions, lags by AIC, one thread")
    print(f"  ours         {1e6 * ours_s:10.1f} us a test, {ours_s * 2 * len(pairs):8.2f} s for all")
    print(f"  statsmodels  {1e6 * theirs_s:10.1f} us a test, {theirs_s * 2 * len(pairs):8.0f} s for all (from {len(chosen)} pairs)")
    print(f"  ratio {theirs_s / ours_s:.0f} x; largest difference: p-value {worst_p:.1e}, statistic {worst_statistic:.1e}")


if __name__ == "__main__":
    main()
