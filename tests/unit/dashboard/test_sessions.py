"""The sessions that a reader is shown: those of the exchange's calendar, whichever part of it is kept."""

from datetime import UTC, datetime

import pytest

from tandem.adapters.calendar import session_grid
from tandem.dashboard.sessions import sessions_ahead
from tandem.domain.units import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S


@pytest.mark.parametrize(
    "at",
    [
        datetime(2017, 1, 3, 15, tzinfo=UTC),
        datetime(2024, 7, 3, 17, tzinfo=UTC),  # after the close of a half day, before a holiday
        datetime(2001, 9, 12, tzinfo=UTC),  # closed for days
        datetime(1970, 1, 1, tzinfo=UTC).replace(year=1990),
        *(datetime.fromtimestamp(number * 366 * 86_400 + second, UTC) for number in (15, 47, 48, 55) for second in (-1, 0, 1)),
    ],
)
def test_sessions_are_those_of_the_calendar_around_that_time(at: datetime) -> None:
    """Also where one calendar ends and the next begins."""
    now_ns = int(at.timestamp()) * NS_PER_S
    grid = session_grid("1d", now_ns, now_ns + 5 * _DAY_NS)
    assert sessions_ahead(now_ns) == list(zip(grid.open_ns.tolist(), grid.close_ns.tolist(), strict=True))
