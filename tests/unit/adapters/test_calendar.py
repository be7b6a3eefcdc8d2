"""The session grid of the New York Stock Exchange: half days, daylight saving, holidays, and that it covers what it was asked for."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tandem.adapters.calendar import MarketHours, bar_ns, service_grid, session_grid
from tandem.domain.errors import BadSetting
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S, ns_of, utc


def at(text: str) -> int:
    """Nanoseconds of "YYYY-MM-DD HH:MM" UTC."""
    return ns_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def sessions(grid: SessionGrid) -> dict[str, tuple[str, str]]:
    """Open and close in UTC by date."""
    pairs = zip(grid.open_ns.tolist(), grid.close_ns.tolist(), strict=True)
    return {f"{utc(a):%Y-%m-%d}": (f"{utc(a):%H:%M}", f"{utc(b):%H:%M}") for a, b in pairs}


# 13:00 closes: NYSE's published calendar of 2025. The offset to UTC is 4 h in summer, 5 h in winter.
@pytest.mark.parametrize(
    ("day", "expected"),
    [("2025-07-03", ("13:30", "17:00")), ("2025-11-28", ("14:30", "18:00")), ("2025-12-24", ("14:30", "18:00"))],
)
def test_half_days_close_at_13_new_york(day, expected):
    grid = session_grid("1min", at(f"{day} 12:00"), at(f"{day} 23:00"))
    assert sessions(grid)[day] == expected


@pytest.mark.parametrize(
    ("friday", "monday", "expected"),
    [
        ("2025-03-07", "2025-03-10", [("14:30", "21:00"), ("13:30", "20:00")]),
        ("2025-10-31", "2025-11-03", [("13:30", "20:00"), ("14:30", "21:00")]),
    ],
)
def test_sessions_move_in_utc_when_new_york_changes_its_clocks(friday, monday, expected):
    held = sessions(session_grid("1min", at(f"{friday} 00:00"), at(f"{monday} 23:59")))
    assert [held[friday], held[monday]] == expected


def test_holidays_and_weekends_have_no_session():
    held = sessions(session_grid("1d", at("2025-06-30 00:00"), at("2025-07-07 23:59")))
    assert {"2025-07-04", "2025-07-05", "2025-07-06"}.isdisjoint(held)
    assert {"2025-07-03", "2025-07-07"} <= set(held)


def test_a_closure_of_days_is_no_gap_in_the_grid():
    """After 2001-09-10 the exchange opened again on 2001-09-17; a time in between is covered by the sessions around it."""
    grid = session_grid("1d", at("2001-09-13 00:00"), at("2001-09-14 00:00"))
    assert list(sessions(grid)) == ["2001-09-10", "2001-09-17"]


@pytest.mark.parametrize("text", ["2025-07-03 13:30", "2025-07-03 17:00", "2025-07-05 12:00", "1990-01-01 00:00"])
def test_a_grid_covers_the_time_it_was_made_for(text):
    grid = session_grid("1min", at(text), at(text))
    assert grid.open_ns[0] <= at(text) <= grid.close_ns[-1]


def test_bars_of_a_session_are_counted_by_its_length():
    full = session_grid("5min", at("2025-07-02 15:00"), at("2025-07-02 15:00"))
    half = session_grid("5min", at("2025-07-03 15:00"), at("2025-07-03 15:00"))
    assert (full.slots_max, half.slots_max) == (78, 42)
    assert session_grid("1d", at("2025-07-02 15:00"), at("2025-07-02 15:00")).slots_max == 1


def test_decades_are_one_grid():
    """1990-2019 has as many sessions as skfolio's daily price file of that span has rows."""
    grid = session_grid("1d", at("1990-01-02 14:30"), at("2019-12-31 21:00"))
    assert len(grid.open_ns) == 7_559
    assert np.all(np.diff(grid.open_ns) > 0)


def test_a_services_grid_reaches_from_1980_to_a_year_ahead():
    now_ns = at("2026-11-22 12:00")
    grid = service_grid("1min", now_ns)
    assert grid.open_ns[0] <= at("1980-01-02 14:30")
    assert grid.close_ns[-1] > now_ns + 365 * 86_400 * NS_PER_S


def test_an_unknown_bar_is_refused_with_what_is_allowed():
    with pytest.raises(BadSetting, match="1min, 5min, 1d"):
        bar_ns("2min")


def test_times_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="is after"):
        session_grid("1d", 2, 1)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2024-07-03 16:59:59", True),  # a half day: closes at 13:00 New York, 17:00 UTC
        ("2024-07-03 17:00:00", False),
        ("2024-07-04 15:00:00", False),  # a holiday
        ("2024-11-29 17:59:59", True),  # the day after Thanksgiving, in winter time
        ("2024-11-29 18:00:00", False),
        ("2024-03-08 14:29:59", False),  # the Friday before clocks go forward
        ("2024-03-08 14:30:00", True),
        ("2024-03-11 13:30:00", True),  # the Monday after
        ("2024-11-01 13:30:00", True),  # the Friday before clocks go back
        ("2024-11-04 13:30:00", False),
        ("2024-11-04 14:30:00", True),
        ("2024-07-06 15:00:00", False),  # a Saturday
    ],
)
def test_whether_the_exchange_is_open_knows_half_days_and_daylight_saving(moment, is_open):
    """By this a silent stream is mute or not, and a symbol without trades stale or not."""
    assert MarketHours().is_open(at(moment)) is is_open
