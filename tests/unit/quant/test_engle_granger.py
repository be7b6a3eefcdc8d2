"""Laws of the compiled tests: scale, order, gaps, and what cannot be tested."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.quant.dickey_fuller import adf, mackinnon_p, schwert_lags
from tandem.quant.engle_granger import engle_granger_many

PAIR = np.array([[0, 1]])


def legs(seed: int = 1, bars: int = 300) -> np.ndarray:
    """A random walk and one that follows it."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(0.01 * rng.standard_normal(bars))
    return np.column_stack([4 + walk, 3 + 0.8 * walk + 0.02 * rng.standard_normal(bars)])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), factors=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)))
def test_the_unit_of_a_price_changes_nothing(seed, factors):
    plain = engle_granger_many(legs(seed), PAIR)
    scaled = engle_granger_many(legs(seed) + np.log(factors), PAIR)
    assert scaled.p_value == pytest.approx(plain.p_value, abs=1e-9)
    assert scaled.beta == pytest.approx(plain.beta, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_two_ways_change_places_with_the_legs_and_differ(seed):
    forth, back = engle_granger_many(legs(seed), PAIR), engle_granger_many(legs(seed), PAIR[:, ::-1])
    assert forth.statistic[0, ::-1].tolist() == back.statistic[0].tolist()
    assert forth.statistic[0, 0] != forth.statistic[0, 1]


def test_a_pair_is_tested_on_the_bars_that_both_have_whoever_else_is_there():
    both, rng = legs(), np.random.default_rng(2)
    third = np.cumsum(rng.standard_normal(300))
    table = np.column_stack([third, both])
    table[rng.random(table.shape) < 0.1] = np.nan
    common = np.isfinite(table[:, 1:]).all(axis=1)
    alone = engle_granger_many(table[common, 1:], PAIR)
    among = engle_granger_many(table, np.array([[0, 1], [1, 2], [2, 0]]))
    assert among.bars[1] == common.sum()
    assert among.statistic[1].tolist() == alone.statistic[0].tolist()


def test_what_cannot_be_tested_is_not_a_number():
    table = np.column_stack([legs(), np.full(300, 4.0)])
    short = table.copy()
    short[39:, 0] = np.nan
    assert np.isnan(engle_granger_many(table, np.array([[0, 2]])).p_value).all()
    few = engle_granger_many(short, PAIR)
    assert (few.bars.tolist(), bool(np.isnan(few.p_value).all())) == ([39], True)
    assert np.isnan(adf(np.full(100, 1.5)).p_value)


def test_random_walks_pass_at_the_size_of_the_test():
    """2,000 independent pairs at 5 % without lags. Lags chosen by AIC make the test reject more often, which screening reports."""
    walks = np.cumsum(np.random.default_rng(5).standard_normal((500, 4000)), axis=0)
    pairs = np.arange(4000).reshape(-1, 2)
    fixed = (engle_granger_many(walks, pairs, lags_max=0).p_value < 0.05).mean()
    chosen = (engle_granger_many(walks, pairs).p_value < 0.05).mean()
    assert fixed == pytest.approx(0.05, abs=0.01)
    assert 0.05 < chosen < 0.09


def test_a_spread_that_reverts_is_found_and_its_phi_measured():
    rng, spread = np.random.default_rng(3), np.zeros(2000)
    for t in range(1, 2000):
        spread[t] = 0.9 * spread[t - 1] + 0.01 * rng.standard_normal()
    walk = np.cumsum(0.01 * rng.standard_normal(2000))
    tests = engle_granger_many(np.column_stack([1.5 * walk + spread, walk]), PAIR)
    assert tests.p_value[0, 0] < 1e-6
    assert (tests.beta[0, 0], tests.phi[0, 0]) == (pytest.approx(1.5, abs=0.05), pytest.approx(0.9, abs=0.03))


def test_more_evidence_means_a_smaller_p_value():
    statistics = np.linspace(-15, 0.5, 200)
    assert (np.diff(mackinnon_p(statistics, series=2)) >= 0).all()


def test_lags_are_bounded_by_the_length_and_by_the_caller():
    assert (schwert_lags(1258), schwert_lags(1258, 12), schwert_lags(100), schwert_lags(12)) == (23, 12, 12, 5)
