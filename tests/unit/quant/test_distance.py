"""The distance method on prices that can be followed by eye, and on the 20 stocks of the skfolio wheel."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.quant.distance import DistanceRule, FormationUnusable, closest_pairs, round_trips, study

RULE = DistanceRule(formation_bars=60, trading_bars=30, step_bars=30, pairs=2)
prices = st.integers(1, 10_000).map(lambda seed: np.exp(np.cumsum(0.02 * np.random.default_rng(seed).standard_normal((150, 5)), axis=0)))


def test_the_nearest_pair_comes_first_and_two_equal_symbols_are_no_pair() -> None:
    a = np.linspace(10.0, 12.0, 50)
    wobble = 1 + 0.01 * np.sin(np.arange(50))
    close = np.column_stack((a, 3 * a, a * wobble, np.linspace(10.0, 20.0, 50)))

    found = closest_pairs(close, 10)

    assert {(pair.a, pair.b) for pair in found} == {(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}
    assert {(pair.a, pair.b) for pair in found[:2]} == {(0, 2), (1, 2)}
    assert (0, 1) not in {(pair.a, pair.b) for pair in found}
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


def test_a_pair_opens_beyond_its_band_and_closes_when_the_prices_cross() -> None:
    a = np.array([100.0, 104.0, 106.0, 102.0, 99.0, 100.0])
    b = np.full(6, 50.0)

    (trip,) = round_trips(a, b, band=0.05)

    assert (trip.entered, trip.left, trip.direction) == (2, 4, -1)
    assert trip.earned == pytest.approx(1 - 99 / 106)


def test_with_a_delay_both_ends_are_a_bar_later() -> None:
    a = np.array([100.0, 106.0, 105.0, 99.0, 98.0, 100.0])
    (trip,) = round_trips(a, np.full(6, 50.0), band=0.05, delay_bars=1)

    assert (trip.entered, trip.left) == (2, 4)
    assert trip.earned == pytest.approx(1 - 98 / 105)


def test_the_last_bar_closes_and_opens_nothing() -> None:
    b = np.full(4, 50.0)

    (held,) = round_trips(np.array([100.0, 110.0, 112.0, 111.0]), b, band=0.05)
    assert held.left == 3
    assert list(round_trips(np.array([100.0, 100.0, 100.0, 120.0]), b, band=0.05)) == []


@given(prices, st.floats(0, 50), st.floats(0, 50))
def test_more_cost_never_earns_more(close: np.ndarray, low: float, more: float) -> None:
    names = tuple("ABCDE")
    cheap = study(close, names, RULE, cost_bps=low)
    dear = study(close, names, RULE, cost_bps=low + more)

    assert dear.trades == cheap.trades
    assert np.all(dear.portfolio_returns <= cheap.portfolio_returns + 1e-12)


@given(prices)
def test_what_follows_a_formation_period_does_not_change_its_pairs(close: np.ndarray) -> None:
    """Pairs chosen on the period they trade on would fail here: the trading period is turned upside down."""
    other = close.copy()
    other[60:90] = other[60:90][::-1]
    names = tuple("ABCDE")

    assert study(close[:90], names, RULE).first_pairs == study(other[:90], names, RULE).first_pairs


@given(prices)
def test_prices_in_another_currency_change_nothing(close: np.ndarray) -> None:
    units = np.array([1.0, 2.0, 0.5, 8.0, 4.0])  # powers of two: the same floats after division
    names = tuple("ABCDE")
    assert np.allclose(study(close, names, RULE).portfolio_returns, study(close * units, names, RULE).portfolio_returns, atol=1e-12)


def test_a_symbol_with_a_hole_is_out_of_that_portfolio_only() -> None:
    close = np.exp(np.cumsum(0.02 * np.random.default_rng(3).standard_normal((150, 4)), axis=0))
    close[10, 0] = np.nan
    found = study(close, ("A", "B", "C", "D"), DistanceRule(formation_bars=60, trading_bars=30, step_bars=60, pairs=9))

    assert len(found.portfolio_returns) == 2
    assert found.pairs == 3 + 6


@pytest.mark.parametrize("close", [np.ones((89, 3)), np.full((90, 3), np.nan)])
def test_too_few_bars_or_symbols_are_a_named_error(close: np.ndarray) -> None:
    with pytest.raises(FormationUnusable, match=r"89 bars|0 symbols"):
        study(close, ("A", "B", "C"), RULE)


def test_thirty_years_of_twenty_stocks(tmp_path: Path) -> None:
    """Not a reference, a fence: on the stocks of the wheel a month earns little, and a day's delay costs some of it."""
    table = pq.read_table(skfolio_dataset(tmp_path / "stocks.parquet")).to_pandas().pivot(index="date", columns="symbol", values="close")
    rule = DistanceRule(pairs=5, step_bars=126)
    at_once = study(table.to_numpy(), tuple(table.columns), rule)
    delayed = study(table.to_numpy(), tuple(table.columns), rule, delay_bars=1, cost_bps=5.0)

    assert len(at_once.portfolio_returns) > 50
    assert abs(at_once.monthly_percent) < 1
    assert delayed.monthly_percent < at_once.monthly_percent
