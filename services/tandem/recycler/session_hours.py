"""Sessions around a moment, as orders need them: when they end, how long a night is. Alpaca's extended hours run from 04:00 to 20:00."""

import numpy as np

from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow.exchange_records import Hours, TimeInForce

_HOUR_NS = 3_600 * NS_PER_S
_DAY_NS = 24 * _HOUR_NS
_EVENING_NS = 4 * _HOUR_NS  # after the close, at which extended hours end
_GTC_NS = 90 * _DAY_NS  # Alpaca ends such orders after 90 days


def hours_at(grid: SessionGrid, now_ns: int) -> Hours:
    """The session that is on or comes next; at a close it is the next one."""
    later = int(np.searchsorted(grid.close_ns, now_ns, side="right"))
    return Hours(
        closed_ns=int(grid.close_ns[later - 1]) if later else None,
        open_ns=int(grid.open_ns[later]) if later < len(grid.open_ns) else None,
        close_ns=int(grid.close_ns[later]) if later < len(grid.close_ns) else None,
    )


def expiry_ns(grid: SessionGrid, now_ns: int, force: TimeInForce, *, extended: bool) -> int | None:
    """When an order ends that comes in now; None for those that the next trade decides, or where the calendar ends."""
    if force is TimeInForce.GTC:
        return now_ns + _GTC_NS
    if force in (TimeInForce.IOC, TimeInForce.FOK):
        return None
    hours = hours_at(grid, now_ns)
    if not extended:
        return hours.close_ns
    if hours.closed_ns is not None and now_ns < hours.closed_ns + _EVENING_NS:
        return hours.closed_ns + _EVENING_NS
    return None if hours.close_ns is None else hours.close_ns + _EVENING_NS


def nights_after(grid: SessionGrid, close_ns: int) -> int:
    """Calendar days from the session that closes then to the next one; 1 where the calendar ends."""
    place = int(np.searchsorted(grid.close_ns, close_ns))
    if place + 1 >= len(grid.open_ns):
        return 1
    # The open of a session and its date agree in UTC, as New York is west of Greenwich.
    return int(grid.open_ns[place + 1] // _DAY_NS - grid.open_ns[place] // _DAY_NS)
