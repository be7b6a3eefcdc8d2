"""Which time heartbeats go by when the machine's clock is set, sleeps or lies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.units import NS_PER_S
from tandem.ingestor.clock import STEP_NS_MAX, WallClock

S, HOUR = NS_PER_S, 3_600 * NS_PER_S
START_NS = 1_720_000_000 * S


def started() -> WallClock:
    clock = WallClock()
    assert clock.believed_ns(START_NS, 0, 0) == START_NS
    return clock


@pytest.mark.parametrize("off_ns", [0, 1, -1, STEP_NS_MAX, -STEP_NS_MAX])
def test_a_clock_that_is_mended_a_little_is_followed(off_ns: int) -> None:
    clock = started()

    assert clock.believed_ns(START_NS + S + off_ns, S, 0) == START_NS + S + off_ns
    assert clock.step_ns == 0


def test_a_step_of_hours_in_a_quiet_market_moves_nothing() -> None:
    clock = started()

    assert clock.believed_ns(START_NS + S + 3 * HOUR, S, START_NS) == START_NS + S
    assert clock.step_ns == 3 * HOUR
    assert clock.believed_ns(START_NS + 2 * S + 3 * HOUR, 2 * S, START_NS) == START_NS + 2 * S  # time goes on all the same
    assert clock.believed_ns(START_NS + 3 * S, 3 * S, START_NS) == START_NS + 3 * S  # and the clock was put right again
    assert clock.step_ns == 0


def test_a_machine_that_slept_is_believed_when_the_market_says_so() -> None:
    """The steady clock stood still meanwhile; the first trade is hours later."""
    clock = started()
    awake_ns = START_NS + S + 3 * HOUR
    assert clock.believed_ns(awake_ns, S, START_NS) == START_NS + S

    assert clock.believed_ns(awake_ns + S, 2 * S, awake_ns) == awake_ns + S
    assert clock.believed_ns(awake_ns + 2 * S, 3 * S, awake_ns) == awake_ns + 2 * S


def test_a_step_back_holds_the_time_until_the_clock_is_there_again() -> None:
    clock = started()

    assert clock.believed_ns(START_NS + S - HOUR, S, START_NS) == START_NS + S - HOUR
    assert clock.step_ns == -HOUR
    assert clock.believed_ns(START_NS + 2 * S, 2 * S, START_NS) == START_NS + 2 * S


@given(steps=st.lists(st.integers(-5 * HOUR, 5 * HOUR), max_size=30))
def test_without_a_market_no_row_of_steps_gets_ahead_of_what_each_may_add(steps: list[int]) -> None:
    """However the clock is set, a look a second adds a second and at most the step that is taken for mending."""
    clock, wall_ns, believed_ns = started(), START_NS, START_NS
    for number, step_ns in enumerate(steps, start=1):
        wall_ns += S + step_ns
        found_ns = clock.believed_ns(wall_ns, number * S, 0)
        assert found_ns <= wall_ns
        believed_ns = max(believed_ns, found_ns)
    assert believed_ns <= START_NS + len(steps) * (S + STEP_NS_MAX)
