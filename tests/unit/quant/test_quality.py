"""Defects of price histories: each has its code, real news survives, and one bad symbol does not stop the others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from model_cases import market
from recorded_cases import shared_data
from tandem.domain.ids import Symbol
from tandem.quant.quality import QualityRule, SymbolRejection, by_reason, check_panel, check_prices

DAY_NS = 86_400_000_000_000
START_NS = 1_400_000_000_000_000_000  # 2014-05-13
RULE = QualityRule()
KO = Symbol("KO")


def times(count: int) -> np.ndarray:
    return START_NS + DAY_NS * np.arange(count)


def walk(count: int = 400, *, sd: float = 0.015, seed: int = 1) -> np.ndarray:
    """A share without any defect."""
    return 50 * np.exp(np.cumsum(sd * np.random.default_rng(seed).standard_normal(count)))


def found(close: np.ndarray, rule: QualityRule = RULE) -> SymbolRejection | None:
    return check_prices(KO, times(len(close)), close, rule)


def reason(close: np.ndarray, rule: QualityRule = RULE) -> str | None:
    rejection = found(close, rule)
    return None if rejection is None else rejection.reason


def with_values(values: dict[int, float]) -> np.ndarray:
    close = walk()
    close[list(values)] = list(values.values())
    return close


def stepped(factor: float, *, bars: int = 200, sd: float = 0.015) -> np.ndarray:
    """A walk whose prices from bar 200 on, for `bars` bars, are multiplied."""
    close = walk(sd=sd)
    close[200 : 200 + bars] *= factor
    return close


def test_a_plain_history_has_no_defect():
    assert found(walk()) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [({5: np.inf}, "not_finite"), ({5: 0.0}, "not_positive"), ({5: -1.0}, "not_positive")],
)
def test_values_that_no_price_can_have_are_named_with_their_day(values, expected):
    rejection = found(with_values(values))
    assert (rejection.reason, "2014-05-18" in rejection.detail) == (expected, True)


def test_times_in_disorder_are_named():
    twice, back = times(400), times(400)
    twice[7], back[7] = twice[6], back[5]
    assert check_prices(KO, twice, walk(), RULE).reason == "duplicate_time"
    assert check_prices(KO, back, walk(), RULE).reason == "unsorted_time"


def test_a_short_a_constant_and_a_stale_history_are_named():
    assert found(walk(249)).detail == "249 bars, at least 250 are needed"
    assert reason(np.full(400, 7.0)) == "constant_series"
    stale = walk()
    stale[100:112] = stale[100]
    assert "stays the same for 11 bars from 2014-08-21, at most 10" in found(stale).detail
    assert reason(stale, QualityRule.for_bar("5min")) is None


def test_holes_after_the_first_close_make_a_symbol_stale_and_a_late_listing_does_not():
    late, gone = walk(800), walk(800)
    late[:400] = np.nan
    gone[500:] = np.nan
    assert reason(late) is None
    assert "37.5% of 800 bars are missing" in found(gone).detail
    assert reason(gone) == "stale"


@pytest.mark.parametrize(("factor", "name"), [(0.5, "2:1"), (1 / 3, "3:1"), (2 / 3, "3:2"), (2.0, "1:2"), (10.0, "1:10"), (0.1, "10:1")])
def test_a_split_that_prices_are_not_adjusted_for_is_suspected(factor, name):
    rejection = found(stepped(factor))
    assert rejection.reason == "split_suspected"
    assert "2014-11-29, " in rejection.detail
    assert f"split of {name} " in rejection.detail


def test_a_price_that_is_half_for_one_day_is_a_spike():
    assert reason(stepped(0.5, bars=1)) == "price_spike"


def test_a_spin_off_is_a_jump():
    assert reason(stepped(0.43)) == "jump_suspected"


@pytest.mark.parametrize(
    ("factor", "sd"),
    [
        (1.38, 0.03),  # AMD 2025-10-06
        (1.32, 0.02),  # ORCL 2025-09-10
        (0.481, 0.045),  # AAPL 2000-09-29
        (0.652, 0.06),  # WMB 2016-02-08: close to 3:2, in a wild month
        (0.7, 0.012),  # an earnings day of a quiet share
    ],
)
def test_real_news_survives(factor, sd):
    assert reason(stepped(factor, sd=sd)) is None


def test_a_panel_goes_on_without_its_bad_symbols():
    close = np.column_stack([walk(seed=1), np.full(400, 3.0), walk(seed=2), stepped(0.5)])
    panel = replace(market(400, symbols=("AAA", "BBB", "CCC", "DDD")), close=close)

    kept, rejections = check_panel(panel, RULE)

    assert kept.symbols == ("AAA", "CCC")
    assert np.array_equal(kept.close, close[:, [0, 2]])
    assert by_reason(rejections) == {"constant_series": ("BBB",), "split_suspected": ("DDD",)}


@pytest.mark.parametrize("values", [{"bars_min": 1}, {"missing_share_max": 1.0}, {"stale_run_max_bars": 0}])
def test_a_rule_out_of_range_is_refused(values):
    with pytest.raises(ValueError, match="bars_min from 2"):
        QualityRule(**values)


def test_the_known_defects_of_the_shared_members_are_found_and_little_else():
    rows = pd.read_parquet(shared_data("daily_ohlcv_sp500_members_2013_2018.parquet"), columns=["symbol", "date", "close"])
    table = rows.pivot(index="date", columns="symbol", values="close")
    close_ns = table.index.to_numpy("datetime64[ns]").astype(np.int64)

    rejections = [r for name in table if (r := check_prices(Symbol(name), close_ns, table[name].to_numpy(), RULE))]

    reasons = {r.symbol: (r.reason, r.detail) for r in rejections}
    assert reasons["LNT"][0] == "price_spike"
    assert "on 2016-05-19" in reasons["LNT"][1]
    assert {reasons[name][0] for name in ("DISCA", "DISCK")} == {"split_suspected"}
    assert "on 2014-08-07" in reasons["DISCA"][1]
    assert {reasons[name][0] for name in ("EBAY", "NI")} == {"jump_suspected"}
    assert not {"AMD", "NVDA", "CHK", "WMB", "NFLX"} & set(reasons)  # the largest real moves of the file
    assert len(reasons) <= 13
