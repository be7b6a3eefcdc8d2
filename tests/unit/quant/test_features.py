"""A feature row by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from model_cases import pair_model
from tandem.quant.bundle import PairModel
from tandem.quant.features import FEATURES, FilterState, Step, advance, not_begun, pair_arrays, scaled, started
from tandem.quant.volatility import Kind

PAIR = pair_model(slots=4)


def state_of(pair: PairModel, **start: object) -> FilterState:
    """The state of one pair at the end of its training, with some numbers changed."""
    return started([replace(pair, start=replace(pair.start, **start))])  # type: ignore[arg-type]


def stepped(pair: PairModel, state: FilterState, price_a: float, *, slot: int = 2, next_slot: int = 3, passed: int = 1) -> Step:
    """One bar in which leg b stands at 150."""
    prices = (np.array([price_a]), np.array([150.0]))
    return advance(pair_arrays([pair]), state, prices=prices, slot=slot, next_slot=next_slot, passed=passed)


def row(spread_last: float, price_a: float, *, slot: int = 2) -> dict[str, float]:
    """The named features of one bar; leg b stands at 150, the variance at 1.1."""
    moved = stepped(PAIR, state_of(PAIR, spread=spread_last), price_a, slot=slot)
    assert moved.valid.all()
    return dict(zip(FEATURES, moved.rows[0].tolist(), strict=True))


@pytest.mark.parametrize("spread_last", [0.03, -0.03])
def test_each_feature_is_what_its_name_says(spread_last: float) -> None:
    """Residual against the variance forecast for this bar and slot, log ratio of the next one, z of the spread, its change and side."""
    spread = math.log(61.5) - 0.8 * math.log(150.0) - 0.1
    innovation = (spread - 0.0004 - 0.95 * spread_last) / (0.01 * math.sqrt(PAIR.profile[2]))
    residual = innovation / math.sqrt(1.1)
    z, z_last = spread / 0.05, spread_last / 0.05
    variance = 0.05 + 0.1 * innovation**2 + 0.85 * 1.1
    leg_a = (math.log(61.5) - PAIR.start.leg_logs[0]) / (0.012 * math.sqrt(PAIR.profile[2]))
    leg_b = (math.log(150.0) - PAIR.start.leg_logs[1]) / (0.009 * math.sqrt(PAIR.profile[2]))
    assert max(abs(residual), abs(leg_a), abs(leg_b)) < 8
    assert row(spread_last, 61.5) == pytest.approx(
        {
            "residual": residual,
            "residual_size": math.log(1 + residual**2),
            "variance_log_ratio": math.log(variance),
            "z": z,
            "z_size": abs(z),
            "z_change": z - z_last,
            "moved_away": math.copysign(1, z_last) * (z - z_last),
            "slot_fraction": 0.5,
            "fast_log_ratio": math.log((0.8 * 1.2 + 0.2 * innovation**2) / variance),
            "slow_log_ratio": math.log((0.985 * 0.9 + 0.015 * innovation**2) / variance),
            "leg_a_level": math.log(0.94 + 0.06 * leg_a**2),
            "leg_b_level": math.log(0.94 + 0.06 * leg_b**2),
            "leg_a_shock": leg_a,
            "leg_b_shock": leg_b,
            "carry": 0.85 * 1.1 / variance,
        },
        rel=1e-12,
    )


def test_an_outlier_is_cut_for_the_network_but_not_for_the_variance() -> None:
    """A halt or a split must not throw the network; the GARCH recursion still sees all of it."""
    wild = row(0.0, 90.0)
    assert wild["residual"] == 8.0
    assert wild["residual_size"] == pytest.approx(math.log(65))
    assert wild["variance_log_ratio"] > math.log(0.1 * 100)


def test_a_session_longer_than_any_in_training_uses_the_last_slot() -> None:
    """Its factor is the best guess there is; the index never runs over."""
    assert row(0.01, 61.5, slot=9) == row(0.01, 61.5, slot=3)


def test_scaling_is_elementwise_in_float32() -> None:
    """(row - mean) / sd, rounded once at the end."""
    rows = np.array([[1.0, 2.0], [3.0, 5.0]])
    result = scaled(rows, np.array([1.0, 1.0]), np.array([2.0, 3.0]))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.array([[0.0, 1 / 3], [1.0, 4 / 3]], dtype=np.float32))


def test_after_a_gap_the_innovation_is_held_against_all_the_time_it_covers() -> None:
    """Three bars later: mean and variance are those of three steps of the AR(1) and the GARCH recursion, each in its own slot."""
    spread_last, level = 0.03, 0.05 / (1 - 0.95)
    moved = stepped(PAIR, state_of(PAIR, spread=spread_last), 61.5, slot=1, passed=3)
    spread = math.log(61.5) - 0.8 * math.log(150.0) - 0.1
    mean, total, variance = spread_last, 0.0, 1.1
    for slot in (3, 0, 1):
        mean = 0.0004 + 0.95 * mean
        total = 0.95**2 * total + variance * PAIR.profile[slot]
        now, variance = variance, level + 0.95 * (variance - level)
    residual = (spread - mean) / (0.01 * math.sqrt(total))
    assert moved.residual[0] == pytest.approx(residual, rel=1e-12)
    assert moved.state.variance[0] == pytest.approx(0.05 + 0.1 * residual**2 * now + 0.85 * now, rel=1e-12)
    assert moved.elapsed.tolist() == [3]


def test_bars_that_a_pair_skips_are_counted_until_it_trades_again() -> None:
    """One leg without a trade: the state stays, one bar older; the next bar with both is two bars on."""
    state = state_of(PAIR)
    skipped = stepped(PAIR, state, math.nan).state
    assert (skipped.missed.tolist(), skipped.spread.tolist()) == ([1], [0.01])
    later = stepped(PAIR, skipped, 61.5)
    assert later.elapsed.tolist() == [2]
    np.testing.assert_array_equal(later.rows, stepped(PAIR, state, 61.5, passed=2).rows)
    assert later.state.missed.tolist() == [0]


def test_a_pair_begins_with_its_first_prices() -> None:
    """They give no row, as there is no bar before them; the second bar does."""
    first = stepped(PAIR, not_begun(1), 61.0)
    assert (first.valid.tolist(), first.state.variance.tolist()) == ([False], [1.0])
    assert stepped(PAIR, first.state, 61.5).valid.all()


def test_the_last_bar_of_a_half_day_forecasts_the_next_morning() -> None:
    """Trap of the half day: its last bar is followed by the next session's first, which carries the night, not by the next slot."""
    ends, goes_on = (stepped(PAIR, state_of(PAIR), 61.5, slot=1, next_slot=n).garch_variance[0] for n in (0, 2))
    assert ends / goes_on == pytest.approx(PAIR.profile[0] / PAIR.profile[2], rel=1e-12)


@pytest.mark.parametrize("kind", [Kind.GJR, Kind.EGARCH])
def test_each_pair_follows_its_own_recursion(kind: Kind) -> None:
    """GJR reacts more to a fall, EGARCH moves in logarithms; both beside a GARCH pair in one step."""
    beta = 0.85 if kind is Kind.GJR else 0.9
    volatility = replace(PAIR.volatility, kind=kind, gamma=0.08 if kind is Kind.GJR else -0.08, beta=beta)
    other = replace(PAIR, volatility=volatility)
    prices = (np.array([60.5, 60.5]), np.array([150.0, 150.0]))
    moved = advance(pair_arrays([PAIR, other]), started([PAIR, other]), prices=prices, slot=2, next_slot=3)
    residual = moved.residual[1]
    x = residual * math.sqrt(1.1)
    if kind is Kind.GJR:
        expected = 0.05 + (0.1 + 0.08 * (x < 0)) * x**2 + 0.85 * 1.1
    else:
        expected = math.exp(0.05 + 0.1 * (abs(residual) - math.sqrt(2 / math.pi)) - 0.08 * residual + 0.9 * math.log(1.1))
    assert residual < 0
    assert moved.state.variance[1] == pytest.approx(expected, rel=1e-12)
    assert moved.state.variance[0] == pytest.approx(0.05 + 0.1 * x**2 + 0.85 * 1.1, rel=1e-12)
