"""The stop that moves with volatility, within a bound, and the rest after it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.flow.sizing import volatility_scale
from tandem.flow.stops import Rest, StopLimits, document, rest_of, rested, stop_z, widening
from trading_cases import SPEC, forecast
from trading_table import RISK

LIMITS = StopLimits(widening_max=1.25)
USUAL = 0.012 * math.sqrt(1 - 2 ** (-2 / 10))  # of a spread of 0.012 with a half-life of 10 bars: -0.03 / -2.5


@pytest.mark.parametrize(("times", "expected"), [(0.5, 1.0), (1.0, 1.0), (1.1, 1.1), (1.25, 1.25), (3.0, 1.25)])
def test_the_stop_widens_with_the_volatility_up_to_its_bound(times: float, expected: float) -> None:
    assert widening(forecast(variance=(times * USUAL) ** 2), LIMITS) == pytest.approx(expected)


@pytest.mark.parametrize("changes", [{"z": 0.0}, {"half_life_bars": 0.0}, {"spread": 0.0}])
def test_where_nothing_is_known_of_the_usual_the_stop_stays(changes: dict[str, float]) -> None:
    assert widening(forecast(variance=1.0, **changes), LIMITS) == 1.0


def test_the_distance_from_the_entry_widens_and_not_the_entry() -> None:
    assert [stop_z(SPEC, widened) for widened in (1.0, 1.25)] == [4.0, 4.5]


@given(st.floats(1e-8, 1.0), st.floats(1.0, 100.0), st.floats(1.0, 1.99))
def test_a_jump_of_the_volatility_never_doubles_what_is_at_risk(variance: float, times: float, bound: float) -> None:
    """Opened before the jump: the way to the stop grows by less than twice. Opened after it: the position shrinks by more."""
    limits = StopLimits(widening_max=bound)
    calm, loud = forecast(variance=variance), forecast(variance=variance * times**2)
    way = {found: stop_z(SPEC, widening(found, limits)) - SPEC.entry_z for found in (calm, loud)}
    size = {found: volatility_scale(found.variance, 1.0, RISK.limits) for found in (calm, loud)}

    assert way[loud] < 2 * way[calm]
    assert size[loud] * way[loud] <= bound * size[calm] * way[calm] * (1 + 1e-12)


def test_a_stopped_pair_rests_until_the_spread_has_been_back_and_time_has_passed() -> None:
    rest = Rest(reason="stop_z", digest="d", half_life_bars=3.0, at_ns=0)
    zs = [4.1, 3.9, 3.9, 3.9, 2.1, 1.9, 2.5]
    over = []
    for at_ns, z in enumerate(zs, start=1):
        rest = rested(rest, forecast(z=z), SPEC, digest="d", at_ns=at_ns)
        over.append(rest.is_over(LIMITS))

    assert over == [False, False, False, False, False, True, True]


def test_a_spread_that_is_back_at_once_still_rests_for_a_half_life() -> None:
    rest = Rest(reason="stop_z", digest="d", half_life_bars=3.0, at_ns=0)
    over = []
    for at_ns in range(1, 5):
        rest = rested(rest, forecast(z=0.1), SPEC, digest="d", at_ns=at_ns)
        over.append(rest.is_over(LIMITS))

    assert over == [False, False, True, True]


def test_a_newer_model_has_its_own_band() -> None:
    rest = replace(Rest(reason="stop_z", digest="d", half_life_bars=1.0, at_ns=0), bars=5)

    assert rested(rest, forecast(z=3.0), SPEC, digest="newer", at_ns=1).is_over(LIMITS)


def test_a_bar_that_is_decided_again_counts_once() -> None:
    rest = rested(Rest(reason="stop_z", digest="d", half_life_bars=3.0, at_ns=0), forecast(z=3.0), SPEC, digest="d", at_ns=1)

    assert rested(rest, forecast(z=0.1), SPEC, digest="d", at_ns=1) == rest


def test_a_rest_read_back_is_the_same() -> None:
    rest = Rest(reason="drift", digest="d", half_life_bars=3.5, at_ns=7, bars=2, returned=True)

    assert rest_of(document(rest)) == rest


@pytest.mark.parametrize("changes", [{"widening_max": 2.0}, {"widening_max": 0.9}, {"rest_half_lives": -1.0}])
def test_limits_that_make_no_sense_cannot_exist(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        StopLimits(**changes)
