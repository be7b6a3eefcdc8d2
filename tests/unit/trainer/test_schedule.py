"""When a run is due: six in the morning in New York, on sessions, whatever the season."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.units import ns_of
from tandem.trainer.schedule import day_of, next_run_ns, occasion, run_ns, sessions_after, span_from_ns


def at(text: str) -> int:
    """Nanoseconds of "YYYY-MM-DD HH:MM" UTC."""
    return ns_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


# Clocks in New York go forward on 2025-03-09 and back on 2025-11-02, both Sundays.
@pytest.mark.parametrize(
    ("day", "utc_time"),
    [
        *(("2025-03-07", "11:00"), ("2025-03-09", "10:00"), ("2025-03-10", "10:00")),
        *(("2025-10-31", "10:00"), ("2025-11-02", "11:00"), ("2025-11-03", "11:00")),
    ],
)
def test_the_run_is_at_six_in_new_york_on_both_sides_of_the_clock_change(day, utc_time):
    assert run_ns(date.fromisoformat(day)) == at(f"{day} {utc_time}")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2025-03-08 10:59", "2025-03-08 11:00"),
        ("2025-03-08 11:00", "2025-03-09 10:00"),  # 23 hours later
        ("2025-11-01 10:00", "2025-11-02 11:00"),  # 25 hours later
        ("2025-07-01 03:00", "2025-07-01 10:00"),  # still the evening before in New York
    ],
)
def test_the_next_run_is_the_next_six_o_clock(after, expected):
    assert next_run_ns(at(after)) == at(expected)


@given(st.integers(at("2020-01-01 00:00"), at("2030-01-01 00:00")))
def test_the_next_run_is_later_and_at_most_25_hours_away(now_ns):
    """And nothing is due between now and then."""
    due = next_run_ns(now_ns)
    assert 0 < due - now_ns <= 25 * 3600 * 10**9
    assert next_run_ns(due - 1) == due


# NYSE's published calendar.
@pytest.mark.parametrize(
    ("day", "reason", "half_day", "first_of_week"),
    [
        ("2025-07-01", "", False, False),
        ("2025-07-03", "", True, False),
        ("2025-07-04", "exchange holiday", False, False),
        ("2025-07-05", "weekend", False, False),
        ("2025-07-06", "weekend", False, False),
        ("2025-07-07", "", False, True),
        ("2025-09-01", "exchange holiday", False, False),  # Labor Day
        ("2025-09-02", "", False, True),  # a Tuesday
        ("2025-11-28", "", True, False),
        ("2025-12-24", "", True, False),
        ("2026-01-02", "", False, False),  # Friday of a week that began in the old year
        ("2018-12-05", "exchange holiday", False, False),  # day of mourning
        ("2012-10-29", "exchange holiday", False, False),  # hurricane
        ("2012-10-31", "", False, True),  # the week began on Wednesday
    ],
)
def test_a_day_is_what_the_exchange_makes_of_it(day, reason, half_day, first_of_week):
    found = occasion(date.fromisoformat(day))
    assert (found.reason, found.half_day, found.first_of_week, found.is_session) == (reason, half_day, first_of_week, not reason)


@pytest.mark.parametrize(
    ("day", "previous"),
    [
        ("2025-07-07", "2025-07-03 17:00"),  # after a half day and a holiday
        ("2025-03-10", "2025-03-07 21:00"),  # winter time before, summer time after
        ("2025-11-03", "2025-10-31 20:00"),
        ("2001-09-17", "2001-09-10 20:00"),
    ],
)
def test_fresh_data_reach_to_the_close_of_the_session_before(day, previous):
    assert occasion(date.fromisoformat(day)).previous_close_ns == at(previous)


def test_the_day_is_that_of_new_york():
    """Midnight in London is still the evening before."""
    assert [str(day_of(at(text))) for text in ("2025-07-02 03:59", "2025-07-02 04:00")] == ["2025-07-01", "2025-07-02"]


@pytest.mark.parametrize(
    ("last", "until", "behind"),
    [
        ("2025-06-30 00:00", "2025-07-06 00:00", 4),  # the week of 4 July 2025
        ("2025-07-02 20:00", "2025-07-07 10:00", 1),  # the half day is missing
        ("2025-07-03 17:00", "2025-07-07 10:00", 0),
        ("2025-07-03 16:58", "2025-07-07 10:00", 0),  # nothing traded in the last minutes: the session is there all the same
        ("2025-07-03 17:00", "2025-07-07 19:59", 0),  # a session that still goes on is nobody's fault
        ("2025-07-08 00:00", "2025-07-07 00:00", 0),
    ],
)
def test_data_are_behind_by_the_whole_sessions_that_they_lack(last, until, behind):
    assert sessions_after(at(last), at(until)) == behind


@pytest.mark.parametrize("sessions", [1, 4, 60, 1260])
def test_a_span_holds_the_sessions_that_were_asked_for(sessions):
    until = at("2025-07-07 10:00")
    assert sessions_after(span_from_ns(until, sessions), until) == sessions
