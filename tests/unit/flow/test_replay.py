"""The schedule of a replay: which ticks go before which watermark, ranges, seeking, and the pace."""

import numpy as np
import pytest

from tandem.domain.errors import BadSetting
from tandem.domain.market import SessionGrid
from tandem.flow.replay import Step, market_time_ns, position, replay_id, schedule

# Two sessions with bars of 4 ns: [100,104) [104,108) [108,110) and [200,204) [204,207).
GRID = SessionGrid(open_ns=np.array([50, 100, 200, 300]), close_ns=np.array([51, 110, 207, 301]), bar_ns=4)


def plan(*times: int, **options: int):
    return schedule(np.array(times, np.int64), GRID, **options)


def steps(found):
    return [(s.start, s.stop, s.watermark_ns, s.end_of_stream) for s in found.steps()]


def test_each_bar_with_a_tick_is_a_step_and_the_end_is_one_more():
    assert steps(plan(100, 103, 104, 205)) == [(0, 2, 104, False), (2, 3, 108, False), (3, 4, 207, False), (4, 4, 208, True)]


def test_a_tick_at_a_close_belongs_after_its_watermark():
    assert steps(plan(103, 104))[:2] == [(0, 1, 104, False), (1, 2, 108, False)]


def test_ticks_outside_the_sessions_go_with_the_next_step_and_the_last_ones_with_the_end():
    assert steps(plan(90, 100, 150, 200, 220)) == [(0, 2, 104, False), (2, 4, 204, False), (4, 5, 221, True)]


def test_a_recording_without_any_bar_is_the_end_alone():
    assert steps(plan(120, 130)) == [(0, 2, 131, True)]


def test_a_range_is_a_part_of_the_tape_with_its_own_end():
    found = plan(100, 103, 104, 205, from_ns=103, to_ns=205)
    assert steps(found) == [(1, 2, 104, False), (2, 3, 108, False), (3, 3, 109, True)]
    assert found.ticks == 2


def test_an_empty_range_is_refused_with_what_the_data_hold():
    with pytest.raises(
        BadSetting, match=r"no tick from 1970-01-01T00:00:00\.000000300Z up to the start.*to 1970-01-01T00:00:00\.000000205Z"
    ):
        plan(100, 205, from_ns=300)


@pytest.mark.parametrize(("event_ns", "number"), [(0, 0), (103, 0), (104, 1), (206, 2), (207, 3), (10_000, 3)])
def test_seeking_goes_to_the_first_step_that_closes_after_a_time(event_ns, number):
    assert position(plan(100, 103, 104, 205), event_ns) == number


def test_steps_are_numbered_from_0():
    assert plan(100).step(0) == Step(number=0, start=0, stop=1, watermark_ns=104, end_of_stream=False)


def test_only_time_in_sessions_passes():
    times = np.array([40, 50, 99, 100, 104, 110, 150, 200, 207, 400])
    assert market_time_ns(GRID, times).tolist() == [0, 0, 1, 1, 5, 11, 11, 11, 18, 19]


def test_a_replay_id_depends_on_what_decides_and_on_the_pass():
    assert replay_id("digest", 1, pass_number=0) == replay_id("digest", 1, pass_number=0)
    assert len({replay_id("digest", 1, pass_number=0), replay_id("digest", 2, pass_number=0), replay_id("digest", 1, pass_number=1)}) == 3
