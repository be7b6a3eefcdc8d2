"""Sessions of the real calendar: half days, daylight saving, the night."""

import pandas as pd
import pytest

from tandem.adapters.calendar import session_grid
from tandem.flow.sessions import session_at, session_number


def ns(text: str) -> int:
    return pd.Timestamp(text, tz="America/New_York").value


GRID = session_grid("1min", ns("2024-03-01"), ns("2025-01-10"))


@pytest.mark.parametrize(
    ("at", "open_at", "close_at"),
    [
        ("2024-07-03 12:59", "2024-07-03 09:30", "2024-07-03 13:00"),  # half days
        ("2024-11-29 13:00", "2024-11-29 09:30", "2024-11-29 13:00"),
        ("2024-12-24 10:00", "2024-12-24 09:30", "2024-12-24 13:00"),
        ("2024-03-08 16:00", "2024-03-08 09:30", "2024-03-08 16:00"),  # the last day before daylight saving and the first one in it
        ("2024-03-11 09:31", "2024-03-11 09:30", "2024-03-11 16:00"),
        ("2024-11-04 09:30", "2024-11-04 09:30", "2024-11-04 16:00"),
    ],
)
def test_a_moment_lies_in_its_session(at: str, open_at: str, close_at: str) -> None:
    found = session_at(GRID, ns(at))

    assert found is not None
    assert (found.open_ns, found.close_ns) == (ns(open_at), ns(close_at))


@pytest.mark.parametrize("at", ["2024-07-03 13:01", "2024-07-04 12:00", "2024-07-06 12:00", "2024-07-08 09:29", "2024-11-29 15:00"])
def test_after_hours_holidays_and_weekends_have_none(at: str) -> None:
    assert session_at(GRID, ns(at)) is None


def test_a_session_has_one_number_from_the_night_before_to_its_close() -> None:
    night, noon, close = (session_number(GRID, ns(f"2024-07-{at}")) for at in ("02 20:00", "03 12:00", "03 13:00"))

    assert night == noon == close
    assert session_number(GRID, ns("2024-07-03 13:01")) == close + 1
