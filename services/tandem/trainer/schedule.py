"""When rebaselining is due: 06:00 in New York on each session of the exchange. Holidays, half days and daylight saving by the calendar.

Reads no clock: the caller says what time it is.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from tandem.adapters.calendar import session_grid
from tandem.adapters.new_york import NEW_YORK
from tandem.domain.units import NS_PER_S, ns_of, utc

_RUN_AT = time(6)
_DAY_NS = 86_400 * NS_PER_S
_FULL_SESSION_NS = 23_400 * NS_PER_S  # 09:30 to 16:00
_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One day: when its run is due, and what the exchange does on it."""

    day: date  # in New York
    run_ns: int  # 06:00
    reason: str  # why there is no session; "" when there is one
    half_day: bool = False
    first_of_week: bool = False  # no session before it since Monday
    close_ns: int = 0  # of its session, 0 without one
    previous_close_ns: int = 0  # of the session before the day: what fresh data reach to

    @property
    def is_session(self) -> bool:
        """Whether the exchange opens on the day."""
        return not self.reason


def day_of(now_ns: int) -> date:
    """The date in New York."""
    return utc(now_ns).astimezone(NEW_YORK).date()


def run_ns(day: date) -> int:
    """06:00 of a day in New York: 10:00 UTC in summer, 11:00 UTC in winter."""
    return ns_of(datetime.combine(day, _RUN_AT, NEW_YORK))


def next_run_ns(after_ns: int) -> int:
    """The first 06:00 after this time, on whatever day."""
    day = day_of(after_ns)
    return run_ns(day) if run_ns(day) > after_ns else run_ns(day + timedelta(days=1))


def occasion(day: date) -> Occasion:
    """What a day is."""
    due_ns = run_ns(day)
    grid = session_grid("1d", due_ns - 14 * _DAY_NS, due_ns + _DAY_NS)
    days = [day_of(open_ns) for open_ns in grid.open_ns.tolist()]
    before = int(np.searchsorted(grid.open_ns, due_ns)) - 1  # 06:00 is before every open
    previous_close_ns = int(grid.close_ns[before])
    if day not in days:
        reason = "weekend" if day.weekday() >= _SATURDAY else "exchange holiday"
        return Occasion(day=day, run_ns=due_ns, reason=reason, previous_close_ns=previous_close_ns)
    open_ns, close_ns = int(grid.open_ns[before + 1]), int(grid.close_ns[before + 1])
    return Occasion(
        day=day,
        run_ns=due_ns,
        reason="",
        half_day=close_ns - open_ns < _FULL_SESSION_NS,
        first_of_week=days[before].isocalendar()[:2] != day.isocalendar()[:2],
        close_ns=close_ns,
        previous_close_ns=previous_close_ns,
    )


def sessions_after(last_ns: int, until_ns: int) -> int:
    """Sessions that opened at or after `last_ns` and closed by `until_ns`: how far a last bar is behind, at any bar length."""
    if until_ns <= last_ns:
        return 0
    grid = session_grid("1d", last_ns, until_ns)
    return int(np.count_nonzero((grid.open_ns >= last_ns) & (grid.close_ns <= until_ns)))


def span_from_ns(until_ns: int, sessions: int) -> int:
    """The open of the `sessions`-th session before `until_ns`, counting those that closed by then."""
    days = 14 + sessions * 366 // 250  # a year has about 252 sessions
    grid = session_grid("1d", until_ns - days * _DAY_NS, until_ns)
    closed = int(np.searchsorted(grid.close_ns, until_ns, side="right"))
    return int(grid.open_ns[max(closed - sessions, 0)])
