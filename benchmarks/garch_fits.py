"""Variance models fitted to daily returns of many stocks: ours against `arch`, one thread, in one run. Run: python benchmarks/garch_fits.py

The series: the 376 S&P 500 members of daily_ohlcv_sp500_members_2013_2018.parquet where TANDEM_SHARED_DATA holds it, else the 20 stocks of
the skfolio wheel in 19 spans each. arch fits every ARCH_EVERY-th series, ours all of them; the ratio is of the processor time of a fit.
"""

import gzip
import os
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from arch import arch_model

from tandem.domain.errors import BadSetting
from tandem.quant import garch
from tandem.quant.volatility import Kind, Shocks, Volatility

ARCH_EVERY = 4
SPANS = 19  # of the wheel's 8,312 days: some 437 each, 380 series
MODELS = [(kind, Shocks.STUDENT_T) for kind in Kind]


def returns() -> tuple[str, list[np.ndarray]]:
    """Name of the source, and each series (T,) without its mean."""
    default = Path(__file__).parents[1] / "shared" / "data"
    members = Path(os.environ.get("TANDEM_SHARED_DATA", default)) / "daily_ohlcv_sp500_members_2013_2018.parquet"
    if members.is_file():
        closes = [group["close"].to_numpy() for _, group in pd.read_parquet(members).groupby("symbol")]
        series = [np.diff(np.log(close)) for close in closes]
    else:
        spec = find_spec("skfolio")  # its path only: importing it takes seconds
        if spec is None or spec.origin is None:
            raise BadSetting("no data: set TANDEM_SHARED_DATA or install tandem-trading[local]")
        with gzip.open(Path(spec.origin).parent / "datasets/data/sp500_dataset.csv.gz", "rt") as file:
            prices = np.log(pd.read_csv(file, index_col=0).to_numpy())
        series = [span for column in np.diff(prices, axis=0).T for span in np.array_split(column, SPANS)]
    return members.name if members.is_file() else "skfolio wheel", [one - one.mean() for one in series]


def by_arch(unit: np.ndarray, kind: Kind, shocks: Shocks) -> float:
    """arch's log likelihood, with its default settings."""
    family = "EGARCH" if kind is Kind.EGARCH else "GARCH"
    model = arch_model(unit, mean="Zero", vol=family, p=1, o=int(kind is not Kind.GARCH), q=1, dist=shocks.value, rescale=False)
    return float(model.fit(disp="off", show_warning=False).loglikelihood)


def measure(series: list[np.ndarray], kind: Kind, shocks: Shocks) -> None:
    """Print one line."""
    garch.fit_many(series[:1], kind, shocks)  # compiles, or loads what was compiled
    start = time.process_time()
    ours = garch.fit_many(series, kind, shocks)
    ours_s = (time.process_time() - start) / len(series)
    fitted = [(one / model.scale, model) for one, model in zip(series, ours, strict=True) if isinstance(model, Volatility)]
    compared = fitted[::ARCH_EVERY]
    start = time.process_time()
    theirs = np.array([by_arch(unit, kind, shocks) for unit, _ in compared])
    theirs_s = (time.process_time() - start) / len(compared)
    gains = (np.array([garch.log_likelihood(unit, model) for unit, model in compared]) - theirs) / np.abs(theirs)
    held = np.array([garch.at_limit(model) or (kind is Kind.EGARCH and model.alpha == 0) for _, model in compared])
    speed = f"ours {1 / ours_s:5.0f} fits/s  arch {1 / theirs_s:3.0f} fits/s  ratio {theirs_s / ours_s:5.1f}"
    print(
        f"  {kind.value + '-' + shocks.value:9s} {speed}"
        f"  {len(fitted)} fitted; log likelihood of {len(compared)}, relative: {np.count_nonzero(np.abs(gains) <= 1e-6)} equal to 1e-6,"
        f" {np.count_nonzero(gains > 1e-6)} better, {np.count_nonzero((gains < -1e-6) & held)} lower at a limit that arch has not,"
        f" {np.count_nonzero((gains < -1e-6) & ~held)} lower elsewhere (by up to {max(-gains[~held].min(), 0):.0e})"
    )


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # arch's, about its own convergence
    name, series = returns()
    days = int(np.median([len(one) for one in series]))
    print(f"variance models of {len(series)} series of {days} daily returns ({name}), one thread; goal: ratio 20")
    for kind, shocks in MODELS:
        measure(series, kind, shocks)


if __name__ == "__main__":
    main()
