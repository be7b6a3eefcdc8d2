"""The distance method against the project's own earlier measurement, on the closes of S&P 500 members 2013-2018.

Reference: 42 overlapping portfolios of 2014-2018, monthly return on committed capital 0.120 % with neither cost nor delay, 0.093 % with a
day's delay, 0.051 % and 0.009 % with that delay and 5 or 10 basis points per side and leg; 1.27 trades per pair. It was measured by other
code; the tolerance is its rounding. LNT is out: the file holds one close of it from before a split (2016-05-19).
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest_cases import request
from recorded_cases import CONFIG, shared_data
from tandem.quant.distance import DistanceRule, closest_pairs, study
from tandem.research.backtest_job import execute


@cache
def closes(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Closes (days, symbols)."""
    wide = pd.read_parquet(path, columns=["symbol", "date", "close"]).pivot(index="date", columns="symbol", values="close")
    wide = wide.drop(columns="LNT")
    return wide.to_numpy(), tuple(wide.columns)


@pytest.mark.parametrize(("delay_bars", "cost_bps", "percent"), [(0, 0.0, 0.120), (1, 0.0, 0.093), (1, 5.0, 0.051), (1, 10.0, 0.009)])
def test_the_distance_method_earns_what_was_measured_before(delay_bars: int, cost_bps: float, percent: float) -> None:
    close, symbols = closes(shared_data("daily_ohlcv_sp500_members_2013_2018.parquet"))
    found = study(close, symbols, DistanceRule(), delay_bars=delay_bars, cost_bps=cost_bps)

    assert len(symbols) == 375
    assert len(found.portfolio_returns) == 42
    assert round(found.monthly_percent, 3) == percent


def test_the_closest_pairs_are_utilities_and_trade_as_often_as_measured_before() -> None:
    close, symbols = closes(shared_data("daily_ohlcv_sp500_members_2013_2018.parquet"))
    first = close[:378]
    kept = np.flatnonzero(np.isfinite(first).all(axis=0))
    names = [(symbols[kept[pair.a]], symbols[kept[pair.b]]) for pair in closest_pairs(first[:252, kept], 3)]

    assert round(study(close, symbols, DistanceRule()).trades_per_pair, 2) == 1.27
    assert names == [("ES", "WEC"), ("CMS", "DTE"), ("ES", "XEL")]


def test_the_study_in_the_report_is_the_reference(tmp_path: Path) -> None:
    """What `tandem backtest --policy distance` writes; its account trades one short window."""
    data = shared_data("daily_ohlcv_sp500_members_2013_2018.parquet")
    changes = {"train_bars": None, "trade_bars": None, "pairs": 20, "exclude": ("LNT",), "from_day": "2018-01-22"}
    report = execute(request(data, tmp_path, **changes), config_dir=CONFIG, commit="")
    found = report["distance_study"]

    assert found["portfolios"] == 42
    assert [round(row["monthly_percent"], 3) for row in found["rows"]] == [0.120, 0.093, 0.051, 0.009]
    assert round(found["rows"][0]["trades_per_pair"], 2) == 1.27
