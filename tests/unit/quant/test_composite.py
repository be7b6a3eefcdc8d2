"""The old gates, put right: units and length cancel, diagnostics point the right way, orders wait a bar, noise does not score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cases import market
from tandem.domain.ids import Symbol
from tandem.quant import composite as gates_module
from tandem.quant.cointegration import SpreadFit
from tandem.quant.composite import Composite, SeedRule, composite, gates, seed_picks
from tandem.quant.rejections import FitRejected

RULE = SeedRule()


def planted(bars: int = 1500, seed: int = 1):  # type: ignore[no-untyped-def]
    panel = market(bars, seed=seed)
    return panel.log_close("AAA"), panel.log_close("BBB")


def test_a_good_pair_passes_and_a_pair_of_walks_does_not():
    a, b = planted()
    good = composite(a, b, RULE)
    walks = market(1500, seed=4)
    bad = composite(walks.log_close("BBB"), walks.log_close("CCC"), RULE)
    assert good.score > RULE.composite_min > bad.score
    assert min(good.criteria, good.forecast) > 0.6


def test_the_unit_of_prices_and_of_the_spread_changes_nothing():
    """The old criteria changed with both."""
    a, b = planted()
    plain, scaled = composite(a, b, RULE), composite(a + 3, b - 2, RULE)
    tenfold = composite(10 * a, 10 * b, SeedRule(cost_bps=10 * RULE.cost_bps))
    for part in ("criteria", "forecast", "backtest", "diagnostics"):
        assert getattr(scaled, part) == pytest.approx(getattr(plain, part), abs=1e-5)
        assert getattr(tenfold, part) == pytest.approx(getattr(plain, part), abs=1e-5)


def test_the_number_of_bars_does_not_lift_the_criteria():
    """A constant variance, four times as many bars: about a half both times, where logistic(-AIC / 1000) goes to 1."""
    rng = np.random.default_rng(1)
    for bars in (800, 3200):
        b = 4 + np.cumsum(0.01 * rng.standard_normal(bars))
        a = b + 0.02 * rng.standard_normal(bars)
        assert composite(a, b, RULE).criteria == pytest.approx(0.4, abs=0.12)


def test_faults_in_the_residuals_cost_points_and_their_absence_does_not():
    rng = np.random.default_rng(2)
    clean, faulty = rng.standard_normal(1000), np.convolve(rng.standard_normal(1001), [1, 0.5], mode="valid")
    assert gates_module._diagnostics(clean) == 1.0
    assert gates_module._diagnostics(faulty) < 0.01


def spread_of(sd: float = 1.0) -> SpreadFit:
    return SpreadFit(beta=1.0, mu=0.0, spread=np.zeros(2), spread_sd=sd, intercept=0.0, phi=0.9, half_life_bars=6.6)


def test_an_order_is_filled_one_bar_after_the_bar_that_made_it():
    """The spread is back after one bar: who trades at the signal's own price earns it, who trades a bar later does not."""
    path = np.tile([0.0, 0.0, 0.0, 3.0, 0.0, 0.0], 20)
    assert gates_module._backtest(path, spread_of(), RULE) < 0.5
    slow = np.tile([0.0, 0.0, 3.0, 3.0, 0.0, 0.0], 20)
    assert gates_module._backtest(slow, spread_of(), RULE) > 0.9


def test_costs_lower_the_backtest_and_no_trade_is_a_half():
    slow = np.tile([0.0, 0.0, 3.0, 3.0, 0.0, 0.0, -1.0, 0.5], 20)
    free, dear = (gates_module._backtest(slow, spread_of(), SeedRule(cost_bps=cost)) for cost in (0.0, 3000.0))
    assert dear < free
    assert gates_module._backtest(np.zeros(50), spread_of(), RULE) == 0.5


@settings(max_examples=30, deadline=None)
@given(parts=st.tuples(*[st.floats(0, 1)] * 4))
def test_the_score_is_a_mean_of_its_parts(parts):
    score = Composite(criteria=parts[0], forecast=parts[1], backtest=parts[2], diagnostics=parts[3]).score
    assert min(parts) - 1e-12 <= score <= max(parts) + 1e-12


def test_picks_need_all_three_gates_and_come_best_first():
    panel = market(1500, symbols=("AAA", "BBB", "CCC", "DDD"))
    table = {name: panel.log_close(name) for name in panel.symbols}
    loose = SeedRule(correlation_min=0.3)
    picks, tested = seed_picks(table, loose)
    assert tested == 6
    assert [set(pick.pair.split("-")) for pick in picks] == [{"AAA", "BBB"}]
    assert picks[0].composite.score > loose.composite_min
    assert seed_picks(table, RULE)[0] == ()  # the planted pair's returns have a correlation of .6
    assert seed_picks(table, SeedRule(correlation_min=0.3, composite_min=0.99))[0] == ()
    assert seed_picks({Symbol("AAA"): table[Symbol("AAA")]}, RULE) == ((), 0)


def test_what_is_not_a_number_passes_no_gate():
    nan = np.array([np.nan, 0.9, 0.9])
    assert gates(nan, np.array([0.01, np.nan, 0.01]), RULE).tolist() == [False, False, True]


def test_a_span_too_short_to_hold_a_part_back_is_refused():
    a, b = planted(140)
    with pytest.raises(FitRejected, match="28 bars held back"):
        composite(a, b, RULE)
    with pytest.raises(ValueError, match="held_share"):
        SeedRule(held_share=0.6)
