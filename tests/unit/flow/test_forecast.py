"""The forecast step: which bars count, what a forecast holds, and what is withheld."""

import math
from dataclasses import replace

import numpy as np
import pytest

from model_cases import DAY_NS, bar_set, bundle_of, pair_model
from tandem.flow.forecast import initial_forecasts, step
from tandem.quant.network import Outputs, Windows, neutral

PRICES = {"KO": 60.0, "PEP": 150.0}
BUNDLE = bundle_of(pair_model(), pair_model("XOM", "CVX"))


def constant(correction: float, logit: float):  # type: ignore[no-untyped-def]
    """A network that always says the same."""

    def network(windows: Windows) -> Outputs:
        return np.tile(np.array([[correction, logit]], dtype=np.float32), (len(windows), 1))

    return network


def test_a_forecast_holds_the_numbers_of_the_model() -> None:
    """Spread, mean of the next bar, z and variance by hand."""
    state, (forecast,) = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, PRICES), neutral)
    pair = pair_model()
    spread = math.log(60.0) - 0.8 * math.log(150.0) - 0.1
    shock = (spread - 0.0004 - 0.95 * 0.01) / 0.01
    variance = 0.05 + 0.1 * shock**2 + 0.85 * 1.1
    assert (forecast.pair, forecast.leg_a, forecast.leg_b) == (pair.pair, "KO", "PEP")
    assert (forecast.price_a, forecast.price_b, forecast.bar_index) == (60.0, 150.0, 0)
    assert forecast.spread == pytest.approx(spread, rel=1e-12)
    assert forecast.expected_spread == pytest.approx(0.0004 + 0.95 * spread, rel=1e-12)
    assert forecast.z == pytest.approx(spread / 0.05, rel=1e-12)
    assert forecast.garch_variance == pytest.approx(variance * 0.01**2, rel=1e-12)
    assert forecast.reversion_probability == pytest.approx(1 / (1 + math.exp(0.3)), rel=1e-12)
    assert state.close_ns == DAY_NS


def test_a_neutral_network_gives_the_garch_variance_exactly() -> None:
    """No correction, no rounding."""
    _, (forecast,) = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, PRICES), neutral)
    assert forecast.variance == forecast.garch_variance


def test_the_correction_multiplies_the_variance() -> None:
    """exp(shrink * correction)."""
    half = bundle_of(pair_model(), shrink=0.5)
    _, (forecast,) = step(initial_forecasts(half), bar_set(DAY_NS, PRICES), constant(0.8, 0.0))
    assert forecast.variance == pytest.approx(forecast.garch_variance * math.exp(0.4), rel=1e-6)


def test_bars_of_the_training_span_are_ignored() -> None:
    """The state at the end of training has seen them: taking them in twice would change it."""
    trained = bundle_of(trained_to_ns=5 * DAY_NS)
    start = initial_forecasts(trained)
    for close_ns in (DAY_NS, 5 * DAY_NS):
        state, forecasts = step(start, bar_set(close_ns, PRICES), neutral)
        assert state is start
        assert forecasts == ()
    assert len(step(start, bar_set(5 * DAY_NS + 1, PRICES), neutral)[1]) == 1


def test_a_bar_that_comes_twice_counts_once() -> None:
    """At-least-once delivery changes nothing."""
    once, _ = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, PRICES), neutral)
    twice, forecasts = step(once, bar_set(DAY_NS, PRICES), neutral)
    assert twice is once
    assert forecasts == ()


def test_a_pair_advances_only_when_both_legs_traded() -> None:
    """One leg alone changes nothing of the pair, and is no failure."""
    start = initial_forecasts(BUNDLE)
    state, forecasts = step(start, bar_set(DAY_NS, {"KO": 60.0, "XOM": 100.0, "CVX": 150.0, "ZZZ": 1.0}), neutral)
    assert [f.pair for f in forecasts] == ["XOM-CVX"]
    assert state.bars.tolist() == [0, 1]
    assert state.filter.spread[0] == start.filter.spread[0]
    assert state.withheld.tolist() == [0, 0]
    assert np.array_equal(state.window[0], start.window[0])


def test_a_bar_without_any_pair_asks_no_network() -> None:
    """An empty bar is answered without a call."""

    def never(windows: Windows) -> Outputs:
        raise AssertionError(f"called with {len(windows)} windows")

    state, forecasts = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, {"ZZZ": 1.0}), never)
    assert forecasts == ()
    assert state.close_ns == DAY_NS


@pytest.mark.parametrize("price", [0.0, -3.0, math.inf, 1e-320])
def test_a_price_that_cannot_be_is_withheld_and_leaves_the_state(price: float) -> None:
    """Not finite is never published, is counted, and the next good bar goes on from the old state."""
    start = initial_forecasts(BUNDLE, number=0)
    state, forecasts = step(start, bar_set(DAY_NS, PRICES | {"KO": price}), neutral)
    if forecasts:  # a tiny price is absurd, but its logarithm is finite
        assert all(math.isfinite(f.variance) for f in forecasts)
        return
    assert state.withheld.tolist() == [1, 0]
    assert state.filter.spread[0] == start.filter.spread[0]
    _, (after,) = step(state, bar_set(2 * DAY_NS, PRICES), neutral)
    _, (direct,) = step(start, bar_set(2 * DAY_NS, PRICES), neutral)
    assert after == direct


@pytest.mark.parametrize("correction", [math.nan, math.inf, -math.inf, 1e30])
def test_a_network_that_breaks_is_withheld_and_counted(correction: float) -> None:
    """A variance of NaN, infinity or 0 never leaves the step."""
    state, forecasts = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, PRICES), constant(correction, 0.0))
    assert forecasts == ()
    assert state.withheld.tolist() == [1, 0]
    assert state.bars.tolist() == [1, 0]


def test_a_probability_that_is_nan_is_withheld() -> None:
    """The second output is held to the same rule."""
    state, forecasts = step(initial_forecasts(BUNDLE), bar_set(DAY_NS, PRICES), constant(0.0, math.nan))
    assert forecasts == ()
    assert state.withheld.tolist() == [1, 0]


def test_the_state_before_a_step_is_not_changed_by_it() -> None:
    """Pure: a caller that keeps the old state can step again from it."""
    start = initial_forecasts(BUNDLE)
    first = step(start, bar_set(DAY_NS, PRICES), neutral)[1]
    assert step(start, bar_set(DAY_NS, PRICES), neutral)[1] == first


def test_the_variance_of_the_next_bar_is_that_of_the_next_slot() -> None:
    """Intraday: slot 1 of 4 is forecast with the factor of slot 2, the last slot with the one of the next session's first."""
    bundle = bundle_of(pair_model(slots=4))
    profile = bundle.pairs[0].profile
    for slot, following in ((1, 2), (3, 0)):
        state, (forecast,) = step(initial_forecasts(bundle), bar_set(DAY_NS, PRICES, slot=slot, next_slot=following), neutral)
        assert forecast.garch_variance == pytest.approx(float(state.filter.variance[0]) * 0.01**2 * profile[following], rel=1e-12)


def test_another_feature_schema_is_refused() -> None:
    """A bundle of an older generation of features must not be fed with new ones."""
    with pytest.raises(ValueError, match="features"):
        initial_forecasts(replace(BUNDLE, features=("z", *BUNDLE.features[1:])))
