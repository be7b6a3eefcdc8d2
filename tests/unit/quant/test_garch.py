"""Variance models: exact gradients, indifferent to the unit, bounded, and clear about what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cases import market, pair_model
from tandem.quant import garch
from tandem.quant.cointegration import fit_spread
from tandem.quant.features import advance, pair_arrays, started
from tandem.quant.garch_forecast import next_variance
from tandem.quant.garch_likelihood import KIND_CODE, SHOCKS_CODE, WORK_ROWS, Problem, evaluate, vector_of
from tandem.quant.garch_optimise import bounds
from tandem.quant.garch_search import objective
from tandem.quant.volatility import Kind, Shocks, Volatility

ALL = [(kind, shocks) for kind in Kind for shocks in Shocks]


def innovations(seed: int = 1, bars: int = 700) -> np.ndarray:
    """Of the cointegrated pair of the test market."""
    panel = market(bars, seed=seed)
    return fit_spread(panel.log_close("AAA"), panel.log_close("BBB"), bars_min=100).innovations


def model(kind: Kind, shocks: Shocks, **changed: float) -> Volatility:
    """A plausible one of each form, inside every bound."""
    recursion = {
        Kind.GARCH: {"omega": 0.05, "alpha": 0.08, "gamma": 0.0, "beta": 0.85},
        Kind.GJR: {"omega": 0.05, "alpha": 0.04, "gamma": 0.09, "beta": 0.85},
        Kind.EGARCH: {"omega": 0.01, "alpha": 0.15, "gamma": -0.08, "beta": 0.95},
    }[kind]
    shape = {"nu": None if shocks is Shocks.NORMAL else 6.0, "skew": -0.1 if shocks is Shocks.SKEWED_T else None}
    return Volatility(kind=kind, shocks=shocks, scale=1.0, **{**recursion, **shape, **changed})


def central_differences(value: object, at: np.ndarray, step: float = 1e-5) -> list[float]:
    """Slope of a function of a vector in each of its places."""
    return [(value(at + step * axis) - value(at - step * axis)) / (2 * step) for axis in np.eye(len(at))]


@pytest.mark.parametrize(("kind", "shocks"), ALL)
def test_the_gradient_is_that_of_the_likelihood(kind: Kind, shocks: Shocks) -> None:
    """By every parameter, against central differences."""
    unit, _ = garch.unit_scale(innovations())
    problem = Problem(KIND_CODE[kind], SHOCKS_CODE[shocks], unit, garch.backcast(unit), np.empty((WORK_ROWS, len(unit))))
    at, gradient = vector_of(model(kind, shocks)), np.zeros(6)
    evaluate(problem, at, gradient)
    numeric = central_differences(lambda theta: evaluate(problem, theta, np.empty(0)), at)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-6, atol=1e-4)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_gradient_in_the_optimisers_coordinates_is_that_of_its_objective(kind: Kind) -> None:
    """The change of variables is differentiated too."""
    unit, _ = garch.unit_scale(innovations())
    problem = Problem(KIND_CODE[kind], SHOCKS_CODE[Shocks.SKEWED_T], unit, garch.backcast(unit), np.empty((WORK_ROWS, len(unit))))
    at, gradient = np.array([0.05, 0.12, 0.3, 0.6, 0.2, 0.1]), np.zeros(6)
    objective(problem, at, gradient)
    numeric = central_differences(lambda w: objective(problem, w, np.empty(0)), at, step=1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("kind", "shocks"), ALL)
def test_percent_and_decimal_returns_give_the_same_model(kind: Kind, shocks: Shocks) -> None:
    """Trap: the unit must not change the optimum. Only the scale follows it."""
    decimal, percent = garch.fit(innovations(), kind, shocks), garch.fit(100 * innovations(), kind, shocks)
    assert percent.scale == pytest.approx(100 * decimal.scale, rel=1e-12)
    np.testing.assert_allclose(vector_of(percent), vector_of(decimal), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("seed", range(8))
def test_every_fit_is_stationary_and_in_bounds(kind: Kind, seed: int) -> None:
    """No parameter outside its range, on heavy tails, constant variance and a level that shifts alike."""
    rng = np.random.default_rng(seed)
    series = rng.standard_t(2.5, 400) if seed % 2 else rng.standard_normal(400)
    if seed > 5:
        series[200:] *= 10
    fitted = garch.fit(series, kind, Shocks.SKEWED_T)
    assert fitted.persistence <= garch.PERSISTENCE_MAX + 1e-12  # the sum rounds
    assert fitted.nu >= 2.05
    assert garch.at_limit(fitted) == (fitted.persistence > garch.PERSISTENCE_MAX - 1e-9)


@pytest.mark.parametrize(("kind", "shocks"), ALL)
def test_a_fit_is_a_maximum_inside_its_bounds(kind: Kind, shocks: Shocks) -> None:
    """No small step to either side in any of the optimiser's coordinates is better."""
    unit, _ = garch.unit_scale(innovations(seed=4))
    fitted = garch.fit(unit, kind, shocks)
    best, theta = garch.log_likelihood(unit, fitted), vector_of(fitted)
    problem = Problem(KIND_CODE[kind], SHOCKS_CODE[shocks], unit, garch.backcast(unit), np.empty((WORK_ROWS, len(unit))))
    for place in range(6):
        for step in (-1e-3, 1e-3):
            moved = theta.copy()
            moved[place] += step
            feasible = kind is Kind.EGARCH or (moved[[0, 1, 3]].min() > 0 and moved[1] + moved[2] >= 0)
            has = not (kind is Kind.GARCH and place == 2)
            if feasible and has and (kind is not Kind.EGARCH or (moved[1] >= 0 and moved[3] >= 0)):
                assert evaluate(problem, moved, np.empty(0)) <= best + 1e-9


@pytest.mark.parametrize("kind", list(Kind))
def test_the_filter_step_by_step_is_the_batch(kind: Kind) -> None:
    """O(1) step, filter from a state, path from the backcast, and the serving step of all pairs: the same variances."""
    unit, _ = garch.unit_scale(innovations())
    volatility = model(kind, Shocks.STUDENT_T)
    path = garch.variance_path(unit, volatility)
    stepped = [path[0]]
    for value in unit[:-1].tolist():
        stepped.append(next_variance(volatility, value, stepped[-1]))
    np.testing.assert_allclose(stepped, path, rtol=1e-12)
    on = garch.filter_from(volatility, unit[300:], path[300])
    np.testing.assert_allclose(on[:-1], path[300:], rtol=1e-12)
    assert on[-1] == pytest.approx(next_variance(volatility, unit[-1], path[-1]), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Kind)), st.floats(-20, 20), st.floats(1e-2, 1e3))
def test_the_serving_step_is_the_filters_step(kind: Kind, x: float, variance: float) -> None:
    """quant/features.py advances with the same recursion; up to 200 standard deviations, where an egarch nears the filter's bound."""
    pair = replace(pair_model(), volatility=model(kind, Shocks.STUDENT_T), intercept=0.0, phi=0.0, mu=0.0, beta=1.0, profile=(1.0,))
    state = replace(started([pair]), spread=np.zeros(1), variance=np.array([variance]), leg_logs=np.zeros((1, 2)))
    step = advance(pair_arrays([pair]), state, prices=(np.array([np.exp(x)]), np.array([1.0])), slot=0, next_slot=0)
    assert step.valid.all()
    assert step.state.variance[0] == pytest.approx(next_variance(pair.volatility, x, variance), rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(list(Kind)),
    st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=40),
    st.floats(1e-6, 1e6),
    st.floats(0, 0.3),
    st.floats(0, 0.69),
)
def test_a_variance_is_always_positive_and_finite(kind: Kind, values: list[float], start: float, alpha: float, beta: float) -> None:
    """Whatever comes in: zeros, jumps of ten thousand standard deviations, any stationary model."""
    path = garch.filter_from(model(kind, Shocks.NORMAL, alpha=alpha, beta=beta), np.array(values), start)
    assert np.isfinite(path).all()
    assert (path > 0).all()


def test_many_series_are_fitted_as_each_alone_and_a_bad_one_stops_none() -> None:
    """Series of unequal length; each kind of bad one gives its reason in its place."""
    good, short = innovations(1), innovations(2, bars=300)
    broken = good.copy()
    broken[5] = np.nan
    infinite = good.copy()
    infinite[5] = np.inf
    outcomes = garch.fit_many([good, broken, short, infinite, good[:50], np.zeros(500)], Kind.GJR, Shocks.STUDENT_T)
    assert outcomes[0] == garch.fit(good, Kind.GJR)
    assert outcomes[2] == garch.fit(short, Kind.GJR)
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, garch.FitRejected)]
    assert reasons == ["not_finite", "not_finite", "too_few_bars", "constant_series"]
    assert garch.fit_many([], Kind.GARCH, Shocks.NORMAL) == ()


def test_a_series_that_does_not_move_is_refused() -> None:
    """A halted or stale symbol gives a named reason, not a division by zero."""
    with pytest.raises(garch.ConstantSeries):
        garch.fit(np.zeros(300))
    mostly_stale = np.zeros(300)
    mostly_stale[::10] = 0.01
    with pytest.raises(garch.ConstantSeries):
        garch.fit(mostly_stale)


def test_a_short_series_is_refused() -> None:
    """The parameters of 99 values are noise."""
    with pytest.raises(garch.TooFewBars, match="99 innovations"):
        garch.fit(innovations()[:99])


def test_a_hole_in_a_series_is_refused_by_the_filter_too() -> None:
    """A NaN would silence every later variance."""
    with pytest.raises(garch.NotFinite, match="1 of 3"):
        garch.filter_from(model(Kind.GARCH, Shocks.NORMAL), np.array([0.1, np.nan, 0.2]), 1.0)


def test_a_frozen_state_is_not_the_filtered_one() -> None:
    """Trap: a variance that stands still between refits is another, weaker forecast. `filter_from` goes on from the old state."""
    unit, _ = garch.unit_scale(innovations())
    old, new = garch.fit(unit[:400]), garch.fit(unit[:500])
    state = garch.filter_from(old, unit[400:500], garch.variance_path(unit[:401], old)[-1])[-1]
    carried = garch.filter_from(new, unit[500:], state)
    frozen = np.full(len(carried), state)
    restarted = garch.variance_path(unit, new)[500:]
    assert np.abs(np.log(carried[50:-1] / restarted[50:])).max() < 0.05  # refit or not, the state is that of the whole past
    assert np.abs(np.log(frozen / carried)).max() > 0.1


def test_bounds_hold_the_record_together() -> None:
    """Every corner of the box of each model is a valid record's neighbourhood: persistence below 1, nu above 2."""
    for kind, shocks in ALL:
        box = bounds(kind, shocks)
        assert (box.low <= box.high).all()
        assert 1 / box.high[4] > 2


def test_the_persistence_limit_can_be_moved_but_not_to_1() -> None:
    """A variance that only grows stands at any limit that is given."""
    series = np.random.default_rng(1).standard_normal(600) * np.exp(np.linspace(-1, 1, 600))
    assert garch.fit(series).persistence == pytest.approx(garch.PERSISTENCE_MAX, rel=1e-12)
    assert garch.fit(series, persistence_max=0.98).persistence == pytest.approx(0.98, rel=1e-12)
    with pytest.raises(ValueError, match="persistence_max 1"):
        garch.fit(series, persistence_max=1.0)
