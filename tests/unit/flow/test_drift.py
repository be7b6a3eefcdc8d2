"""The drift monitor: quiet under a model that holds, loud under one that does not, and the same after a restart."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.forecasts import Forecast
from tandem.flow.drift import DriftLimits, DriftState, row, state_of, step
from trading_cases import forecast

LIMITS = DriftLimits()
HALF_LIFE = 10.0
PHI = 2 ** (-1 / HALF_LIFE)
SIGMA = 0.01


def forecasts(path: np.ndarray, phi: float = PHI) -> list[Forecast]:
    """What a model of this speed says of a spread at each bar."""
    return [
        forecast(spread=float(s), expected_spread=float(phi * s), variance=SIGMA**2, half_life_bars=HALF_LIFE, bar_index=i)
        for i, s in enumerate(path)
    ]


def spread(phi: float, bars: int, seed: int, *, mean: float = 0.0) -> np.ndarray:
    """An AR(1) with the innovations that the model expects, around a mean that may not be the model's."""
    random = np.random.default_rng(seed)
    path = np.empty(bars)
    path[0] = SIGMA / math.sqrt(1 - PHI**2) * random.standard_normal()
    for bar in range(1, bars):
        path[bar] = mean + phi * (path[bar - 1] - mean) + SIGMA * random.standard_normal()
    return path


def watched(path: np.ndarray, limits: DriftLimits = LIMITS) -> list[DriftState]:
    states: list[DriftState] = []
    for found in forecasts(path):
        states.append(step(states[-1] if states else None, found, "d", limits))
    return states


def test_the_statistic_is_near_standard_normal_while_the_model_holds() -> None:
    """400 spreads of 120 bars. The mean lies on the quiet side, as Dickey and Fuller's does near a unit root; alarms are rare."""
    found = [watched(spread(PHI, 120, seed)) for seed in range(400)]
    last = np.array([states[-1].t for states in found])

    assert -0.5 < last.mean() < 3 / math.sqrt(400)
    assert abs(last.std() - 1) < 0.15
    assert np.mean(last > 1.645) < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean([any(state.drifting for state in states) for states in found]) < 0.05


@pytest.mark.parametrize(("phi", "mean_sd", "least"), [(1.0, 0.0, 0.35), (PHI, 3.0, 0.9), (1.0, 3.0, 0.5)])
def test_a_spread_that_does_not_come_back_is_noticed(phi: float, mean_sd: float, least: float) -> None:
    """A random walk, and a mean that has moved by three standard deviations, over 12 half-lives."""
    mean = mean_sd * SIGMA / math.sqrt(1 - PHI**2)
    alarms = [any(state.drifting for state in watched(spread(phi, 120, seed, mean=mean))) for seed in range(100)]

    assert np.mean(alarms) >= least


def test_a_spread_that_reverts_faster_than_expected_is_no_alarm() -> None:
    assert not any(state.drifting for seed in range(50) for state in watched(spread(0.5, 120, seed)))


def test_an_alarm_stands_until_the_statistic_has_come_back() -> None:
    gone = watched(np.full(100, 0.2))
    assert gone[-1].drifting
    assert not gone[LIMITS.bars_min - 1].drifting

    state = gone[-1]
    seen = []
    for number, back in enumerate(forecasts(spread(PHI, 200, 1)), start=100):
        state = step(state, Forecast(**{**{f: getattr(back, f) for f in back.__slots__}, "bar_index": number}), "d", LIMITS)
        seen.append((state.t, state.drifting))
    assert not seen[-1][1]
    assert all(drifting == (t >= LIMITS.t_recovered) for t, drifting in seen)


def test_another_model_starts_anew_and_a_missing_bar_is_left_out() -> None:
    first, second, late = forecasts(np.array([0.1, 0.2, 0.3]))[0], forecasts(np.array([0.1, 0.2, 0.3]))[1], forecasts(np.full(9, 0.3))[8]
    state = step(step(None, first, "d", LIMITS), second, "d", LIMITS)

    assert state.bars == 1
    assert step(state, late, "d", LIMITS).bars == 1
    assert step(state, late, "other", LIMITS).bars == 0
    assert step(state, first, "d", LIMITS).bars == 0  # a replay that begins again


def test_a_model_that_claims_no_reversion_cannot_miss_any() -> None:
    states: list[DriftState] = []
    for found in forecasts(spread(1.0, 200, 3, mean=0.5), phi=1.0):
        states.append(step(states[-1] if states else None, found, "d", LIMITS))

    assert states[-1].t == 0
    assert not any(state.drifting for state in states)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(0, 59))
def test_a_state_read_back_goes_on_as_if_it_had_never_been_written(path: list[float], cut: int) -> None:
    state: DriftState | None = None
    again: DriftState | None = None
    for number, found in enumerate(forecasts(np.array(path))):
        state, again = step(state, found, "d", LIMITS), step(again, found, "d", LIMITS)
        if number == cut:
            again = state_of(json.loads(json.dumps(row(again))))

    assert again == state


@pytest.mark.parametrize("changes", [{"t_max": 0.0}, {"t_recovered": 4.0}, {"bars_min": 1}, {"window_half_lives": 0.0}])
def test_limits_that_make_no_sense_cannot_exist(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        DriftLimits(**changes)
