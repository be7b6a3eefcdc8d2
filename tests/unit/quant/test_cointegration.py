"""Spread, tests and screening: what passes, what is declared, and that noise does not pass."""

import numpy as np
import pytest

from model_cases import market, with_gaps
from tandem.domain.ids import PairId, Symbol
from tandem.quant.cointegration import ScreeningRule, benjamini_hochberg, chosen, engle_granger, fit_spread, half_life_bars, screen
from tandem.quant.garch import ConstantSeries, NotStationary, TooFewBars

RULE = ScreeningRule(false_discovery_rate=0.05, half_life_min_bars=1.0, half_life_max_bars=250.0, lags_max=4, bars_min=200, screened_max=5)


def log_close(panel):  # type: ignore[no-untyped-def]
    """Log prices by symbol."""
    return {name: panel.log_close(name) for name in panel.symbols}


def test_a_cointegrated_pair_is_found_and_its_numbers_are_right() -> None:
    """The planted pair passes in its better direction, the others do not; beta .7, half-life of phi .9 is 6.6 bars."""
    panel = market(2000)
    tests = {frozenset(t.pair.split("-")): t for t in screen(log_close(panel), (), RULE)}
    assert len(tests) == 3
    assert [pair for pair, test in tests.items() if test.passed] == [frozenset({"AAA", "BBB"})]
    fitted = fit_spread(panel.log_close("AAA"), panel.log_close("BBB"), bars_min=200)
    assert fitted.beta == pytest.approx(0.7, abs=0.05)
    assert fitted.half_life_bars == pytest.approx(6.6, abs=3)
    assert abs(fitted.spread.mean()) < 1e-12


def test_noise_does_not_pass() -> None:
    """Trap of many tests: 300 pairs of 25 random walks. Nominal p-values pass by the dozen, under false-discovery control one at most."""
    rng = np.random.default_rng(3)
    walks = {Symbol(f"S{chr(65 + i)}"): np.cumsum(0.01 * rng.standard_normal(300)) + 4 for i in range(25)}
    tests = screen(walks, (), RULE)
    assert len(tests) == 300
    assert sum(min(t.p_value, t.p_value_reverse) < 0.05 for t in tests) > 10
    assert sum(t.passed for t in tests) <= 1


def test_both_directions_count_as_tests() -> None:
    """Trap of order: p-values differ by direction, and q-values are over all of them, not over the better ones."""
    tests = screen(log_close(market(400)), (), RULE)
    assert any(abs(t.p_value - t.p_value_reverse) > 1e-3 for t in tests)
    every = np.array([p for t in tests for p in (t.p_value, t.p_value_reverse)])
    q_values = benjamini_hochberg(every)
    assert [t.q_value for t in tests] == [pytest.approx(min(q_values[2 * i : 2 * i + 2])) for i in range(len(tests))]


def test_a_screened_pair_takes_its_better_direction() -> None:
    """The leg that is explained better comes first."""
    assert all(t.p_value <= t.p_value_reverse for t in screen(log_close(market(400)), (), RULE))


def test_each_test_carries_correlation_johansen_and_hurst() -> None:
    """Of the planted pair: returns go together, Johansen agrees, its spread wanders less than a random walk."""
    planted = next(t for t in screen(log_close(market(2000)), (), RULE) if set(t.pair.split("-")) == {"AAA", "BBB"})
    assert planted.correlation == pytest.approx(0.6, abs=0.2)
    assert planted.johansen_trace > planted.johansen_critical > 15
    assert planted.hurst < 0.45


def test_two_classes_of_one_share_and_a_frozen_symbol_are_not_tested() -> None:
    """Collinear legs have p = 0 by convention, a constant one none at all: both are left out, and an empty market has no tests."""
    table = log_close(market(400))
    table[Symbol("AAB")] = table[Symbol("AAA")] + 1e-7 * np.random.default_rng(0).standard_normal(400)
    table[Symbol("DDD")] = np.full(400, 4.0)
    pairs = {t.pair for t in screen(table, (), RULE)}
    assert len(pairs) == 5
    assert not {pair for pair in pairs if "DDD" in pair or {"AAA", "AAB"} <= set(pair.split("-"))}
    assert screen({}, (), RULE) == ()


def test_a_jump_at_the_edge_of_the_span_makes_no_pair() -> None:
    """Trap: a leg that jumps in the first days looks as if its spread came back, and passes with many others at once."""
    rng = np.random.default_rng(11)
    walks = {Symbol(f"S{chr(65 + i)}"): np.cumsum(0.01 * rng.standard_normal(300)) + 4 for i in range(12)}
    walks[Symbol("SA")] = np.cumsum(0.004 * rng.standard_normal(300)) + 4
    walks[Symbol("SA")][:5] -= 0.35
    tests = screen(walks, (), RULE)
    fooled = [t for t in tests if t.q_value <= RULE.false_discovery_rate]
    assert len(fooled) >= 5
    assert all("SA" in t.pair.split("-") for t in fooled)
    assert not any(t.passed for t in tests)


def test_legs_that_move_against_each_other_are_no_pair() -> None:
    """A negative hedge ratio buys both legs at once; the test passes, the pair does not."""
    table = log_close(market(2000))
    table[Symbol("BBB")] = 8 - table[Symbol("BBB")]
    planted = next(t for t in screen(table, (), RULE) if set(t.pair.split("-")) == {"AAA", "BBB"})
    assert planted.q_value < 1e-3
    assert not planted.passed


def test_declared_pairs_keep_their_order_and_are_always_chosen() -> None:
    """Declared, whatever the tests say; screened ones follow by q, at most screened_max."""
    declared = (PairId("CCC-AAA"),)
    tests = screen(log_close(market(700)), declared, RULE)
    by_pair = {t.pair: t for t in tests}
    assert by_pair[declared[0]].declared
    assert not by_pair[declared[0]].passed
    picked = chosen(tests, declared, RULE)
    assert picked[0] == declared[0]
    assert len(picked) == 2
    assert chosen(tests, declared, ScreeningRule(**{f: getattr(RULE, f) for f in RULE.__slots__} | {"screened_max": 0})) == declared


def test_a_declared_pair_is_not_tested_a_second_time_the_other_way_round() -> None:
    """One record per pair of symbols."""
    tests = screen(log_close(market(400)), (PairId("BBB-AAA"),), RULE)
    assert len({frozenset(t.pair.split("-")) for t in tests}) == len(tests) == 3


def test_only_common_bars_count() -> None:
    """With a third of the prices missing the planted pair is still found; below bars_min common bars it is not tested."""
    assert any(t.passed for t in screen(log_close(with_gaps(market(700), seed=2, share=0.2)), (), RULE))
    assert screen(log_close(with_gaps(market(700), seed=2, share=0.6)), (), RULE) == ()


def test_series_that_cannot_be_fitted_are_refused_by_name() -> None:
    """Too short, constant, explosive: each has its own error."""
    a, b = market(400).log_close("AAA"), market(400).log_close("BBB")
    with pytest.raises(TooFewBars, match="400 bars"):
        fit_spread(a, b, bars_min=401)
    with pytest.raises(ConstantSeries):
        fit_spread(a, np.full(400, 4.0), bars_min=200)
    with pytest.raises(ConstantSeries):
        fit_spread(2 * b + 1, b, bars_min=200)
    explosive = 1.05 ** np.arange(400) * 1e-3
    with pytest.raises(NotStationary):
        fit_spread(explosive, np.random.default_rng(0).standard_normal(400), bars_min=200)
    with pytest.raises(NotStationary):
        half_life_bars(1.0)


def test_a_spread_that_reverts_within_the_bar_has_the_shortest_half_life() -> None:
    """phi at or below 0 has no logarithm; it is the floor, not an error."""
    assert half_life_bars(-0.3) == half_life_bars(1e-9) == 0.25


def test_the_direction_matters_to_engle_granger() -> None:
    """The p-value of a on b is not that of b on a."""
    panel = market(400)
    a, b = panel.log_close("AAA"), panel.log_close("CCC")
    assert engle_granger(a, b, lags_max=4) != engle_granger(b, a, lags_max=4)
