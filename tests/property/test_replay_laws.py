"""Laws of the replay's schedule over random recordings: each tick exactly once, in order, before the watermark of its bar."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.market import SessionGrid
from tandem.flow.bars import bar_closes
from tandem.flow.replay import market_time_ns, position, schedule

GRID = SessionGrid(open_ns=np.array([0, 100, 200, 300, 900]), close_ns=np.array([10, 170, 250, 301, 901]), bar_ns=20)
TIMES = st.lists(st.integers(5, 850), min_size=1, max_size=80).map(lambda times: np.sort(np.array(times, np.int64)))


@given(TIMES)
def test_every_tick_is_in_exactly_one_step_in_order(times):
    """The steps' slices put together are the tape."""
    plan = schedule(times, GRID)
    places = [place for step in plan.steps() for place in range(step.start, step.stop)]
    assert places == list(range(len(times)))


@given(TIMES)
def test_a_watermark_comes_after_all_ticks_before_it_and_before_all_others(times):
    """Strictly ascending watermarks, each of which splits the tape where it says."""
    plan = schedule(times, GRID)
    assert np.all(np.diff(plan.watermark_ns) > 0)
    for step in plan.steps():
        assert np.all(times[: step.stop] < step.watermark_ns)
        assert np.all(times[step.stop :] >= step.watermark_ns)


@given(TIMES)
def test_watermarks_are_the_closes_of_the_bars_that_have_ticks(times):
    """No heartbeat for a bar without a tick, one for each bar with one, and the end last."""
    plan = schedule(times, GRID)
    closes = bar_closes(GRID, times)
    assert plan.watermark_ns[:-1].tolist() == sorted(set(closes[closes > 0].tolist()))
    assert [step.end_of_stream for step in plan.steps()] == [False] * (len(plan) - 1) + [True]


@given(TIMES, st.integers(0, 900), st.integers(1, 900))
def test_a_range_holds_the_ticks_in_it_and_nothing_else(times, start, length):
    """The steps over a range carry the ticks of [from, to)."""
    inside = times[(times >= start) & (times < start + length)]
    if len(inside) == 0:
        return
    plan = schedule(times, GRID, from_ns=start, to_ns=start + length)
    played = [time for step in plan.steps() for time in times[step.start : step.stop].tolist()]
    assert played == inside.tolist()


@given(TIMES, st.integers(0, 1000))
def test_seeking_skips_the_steps_that_have_closed_and_no_other(times, moment):
    """Where a replay goes on, the watermark is the first after the moment; past the end it is the end."""
    plan = schedule(times, GRID)
    number = position(plan, moment)
    assert plan.step(number).watermark_ns > moment or number == len(plan) - 1
    assert number == 0 or plan.step(number - 1).watermark_ns <= moment


@given(TIMES)
def test_the_pace_never_goes_back(times):
    """Market time ascends with event time, by no more than it."""
    passed = np.diff(market_time_ns(GRID, times))
    assert np.all(passed >= 0)
    assert np.all(passed <= np.diff(times))
