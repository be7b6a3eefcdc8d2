"""The exchange's sessions (New York Stock Exchange, XNYS of exchange_calendars): holidays, half days and daylight saving, as a SessionGrid.

The only place that knows the calendar. Called by every composition root that makes bars; the grid then goes into pure code.
"""

import exchange_calendars
import numpy as np
import pandas as pd

from tandem.domain.errors import BadSetting
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S
_BAR_NS = {"1min": 60 * NS_PER_S, "5min": 300 * NS_PER_S, "1d": _DAY_NS}
# Wider than the longest closure since 1970 (four sessions in September 2001, six days with the weekend).
_MARGIN_NS = 14 * _DAY_NS
SERVICE_FROM_NS = 315_532_800 * NS_PER_S  # 1980-01-01: before any data that a service may be given
_SERVICE_AHEAD_NS = 366 * _DAY_NS


def bar_ns(bar: str) -> int:
    """The length of a bar by its name; a day for "1d", which a session's close cuts short. Raises BadSetting for another name."""
    if bar not in _BAR_NS:
        raise BadSetting(f"bar {bar!r}: allowed are {', '.join(_BAR_NS)}")
    return _BAR_NS[bar]


def session_grid(bar: str, from_ns: int, to_ns: int) -> SessionGrid:
    """Sessions and bars that cover every time from `from_ns` to `to_ns`, both inclusive.

    The first session opens at or before `from_ns` and the last closes at or after `to_ns`, so that no event time between them is beyond
    the grid. Raises BadSetting for an unknown bar, ValueError if the times are in the wrong order.
    """
    if from_ns > to_ns:
        raise ValueError(f"from_ns {from_ns} is after to_ns {to_ns}")
    length_ns = bar_ns(bar)
    calendar = exchange_calendars.get_calendar(
        "XNYS", start=pd.Timestamp(from_ns - _MARGIN_NS).normalize(), end=pd.Timestamp(to_ns + _MARGIN_NS).normalize()
    )
    opens = calendar.opens.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    closes = calendar.closes.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    first = int(np.searchsorted(opens, from_ns, side="right")) - 1
    last = int(np.searchsorted(closes, to_ns, side="left"))
    return SessionGrid(open_ns=opens[first : last + 1], close_ns=closes[first : last + 1], bar_ns=length_ns)


def service_grid(bar: str, now_ns: int) -> SessionGrid:
    """The grid of a long-running service: from 1980, so that any replay fits, to a year after its start.

    A service that runs past its end stops with InvariantBroken (flow/bars.py) and gets the next year at its restart.
    """
    return session_grid(bar, SERVICE_FROM_NS, now_ns + _SERVICE_AHEAD_NS)


class MarketHours:
    """Whether the exchange is open, for a process that runs for years: the calendar is renewed when it is used up or a replay goes back."""

    def __init__(self) -> None:
        self._grid: SessionGrid | None = None
        self._from_ns = 0

    def is_open(self, now_ns: int) -> bool:
        """Whether `now_ns` is within a session."""
        if self._grid is None or now_ns > self._grid.close_ns[-1] or now_ns < self._from_ns:
            self._from_ns = now_ns
            self._grid = session_grid("1d", self._from_ns, now_ns + _SERVICE_AHEAD_NS)
        session = int(np.searchsorted(self._grid.open_ns, now_ns, side="right")) - 1
        return session >= 0 and bool(now_ns < self._grid.close_ns[session])
