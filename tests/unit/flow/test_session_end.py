"""When a session counts as ending: by the exchange's own close, on half days and through daylight saving."""

import pandas as pd
import pytest

from tandem.adapters.calendar import session_grid
from tandem.flow.session_end import Policy, SessionEnd, closes_bar, ended_bar_ns, ended_session_ns, is_ending

CLOSE = SessionEnd(policy=Policy.CLOSE, margin_minutes=30)


def ns(text: str) -> int:
    return pd.Timestamp(text, tz="America/New_York").value


GRID = session_grid("5min", ns("2024-03-01"), ns("2025-01-10"))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-07-02 15:29", False),
        ("2024-07-02 15:30", True),
        ("2024-07-02 16:00", True),
        ("2024-07-02 16:01", False),  # after hours nothing ends
        ("2024-07-03 12:29", False),
        ("2024-07-03 12:30", True),  # a half day
        ("2024-07-03 15:45", False),
        ("2024-11-29 12:45", True),
        ("2024-07-04 12:45", False),  # a holiday
        ("2024-03-08 15:30", True),  # the last day before daylight saving and the first one in it
        ("2024-03-11 15:29", False),
        ("2024-03-11 15:30", True),
    ],
)
def test_a_session_is_ending_within_the_margin_before_its_own_close(at: str, expected: bool) -> None:
    assert is_ending(GRID, ns(at), CLOSE) is expected


def test_what_is_kept_over_night_never_ends_and_without_a_calendar_no_end_is_known() -> None:
    assert not is_ending(GRID, ns("2024-07-02 15:45"), SessionEnd())
    assert not is_ending(None, ns("2024-07-02 15:45"), CLOSE)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-07-02 09:30", False),
        ("2024-07-02 10:30", True),
        ("2024-07-02 10:34", False),
        ("2024-07-02 16:00", True),  # the last bar is cut at the close
        ("2024-07-03 13:00", True),
        ("2024-07-03 13:30", False),
    ],
)
def test_bars_end_each_length_from_the_open_and_at_the_close(at: str, expected: bool) -> None:
    assert closes_bar(GRID, ns(at)) is expected
    assert not closes_bar(None, ns(at))


@pytest.mark.parametrize(
    ("at", "bar", "session"),
    [
        ("2024-07-03 09:30", "2024-07-02 16:00", "2024-07-02 16:00"),
        ("2024-07-03 09:34:59", "2024-07-02 16:00", "2024-07-02 16:00"),
        ("2024-07-03 09:35", "2024-07-03 09:35", "2024-07-02 16:00"),
        ("2024-07-03 12:57", "2024-07-03 12:55", "2024-07-02 16:00"),
        ("2024-07-03 13:00", "2024-07-03 13:00", "2024-07-03 13:00"),
        ("2024-07-04 12:00", "2024-07-03 13:00", "2024-07-03 13:00"),
    ],
)
def test_the_newest_end_of_a_bar_and_of_a_session(at: str, bar: str, session: str) -> None:
    """Through the night, and on a half day."""
    assert (ended_bar_ns(GRID, ns(at)), ended_session_ns(GRID, ns(at))) == (ns(bar), ns(session))


def test_before_the_first_session_nothing_has_ended() -> None:
    early = ns("2024-02-01 12:00")
    assert max(ended_bar_ns(GRID, early), ended_session_ns(GRID, early), ended_bar_ns(GRID, int(GRID.open_ns[0]) + 1)) < 0


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_a_margin_that_is_none_cannot_exist(minutes: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        SessionEnd(margin_minutes=minutes)
